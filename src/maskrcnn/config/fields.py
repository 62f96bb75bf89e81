"""What all configurations share: replacing nested fields, checking values, dictionaries."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args, get_origin, get_type_hints


def replace(config: Any, **changes: Any) -> Any:
    """A copy of a frozen config with fields changed; `section__field=value` reaches one level down.

    Example: `replace(config, detect__max_detections=400, image__short_side=512)`.

    Raises:
        ValueError: for a field that does not exist, naming those that do; for a value of another kind than the field's.
    """
    hints = get_type_hints(type(config))
    nested: dict[str, dict[str, Any]] = {}
    plain: dict[str, Any] = {}
    for key, value in changes.items():
        section, _, rest = key.partition("__")
        if section not in {known.name for known in dataclasses.fields(config)}:
            possible = ", ".join(known.name for known in dataclasses.fields(config))
            raise ValueError(f"{type(config).__name__} has no field {section!r}; possible: {possible}.")
        if rest:
            nested.setdefault(section, {})[rest] = value
        else:
            plain[section] = checked(f"{type(config).__name__}.{section}", hints[section], value)
    for section, inner in nested.items():
        plain[section] = replace(getattr(config, section), **inner)
    return dataclasses.replace(config, **plain)


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain containers, ready for JSON."""
    return dataclasses.asdict(config)


def checked(name: str, hint: Any, value: Any) -> Any:
    """The value, lists made tuples, if it is of the kind that the field's annotation names."""
    value = _frozen(value)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{name} is one of {', '.join(map(repr, get_args(hint)))}; received {value!r}.")
        return value
    kind = get_origin(hint) or hint
    if kind is float and type(value) is int:
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} takes {kind.__name__} values; received {value!r}.")
    return value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value

"""Names of matterport/Mask_RCNN without a counterpart here: scripts import them, and calling one names its successor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def successors(module: str, sentences: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` for names that are gone.

    Args:
        module: what matterport calls it.
        sentences: by name, what does the same here.

    Returns:
        A function that gives for each of these names one that raises NotImplementedError when it is called.
    """

    def find(name: str) -> Any:
        if name not in sentences:
            raise AttributeError(f"module {module!r} of matterport has no name {name!r} here")

        def gone(*_: Any, **__: Any) -> None:
            raise NotImplementedError(f"{module}.{name} is not here; {sentences[name]}")

        return gone

    return find

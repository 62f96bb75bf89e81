"""Which layers a run leaves as they are."""

from __future__ import annotations

from collections.abc import Sequence

from maskrcnn.model.mask_rcnn import Network


def freeze(network: Network, prefixes: str | Sequence[str]) -> list[str]:
    """Stops layers from learning, on top of what the model's configuration freezes. Call it before `compile`.

    Frozen batch norm uses its stored mean and variance in training too. This belongs to the run: what is frozen is saved with
    the optimizer's state, so that a loaded model goes on as it was, and not with the model's configuration.

    Example:
        freeze(model, ["backbone", "fpn"])
        freeze(model, ["backbone/conv2_", "box_head/fc1"])

    Args:
        network: changed in place.
        prefixes: beginning, or beginnings, of layers' names, as `network.named_layers()` gives them.

    Returns:
        Names of the layers that the prefixes mean.

    Raises:
        ValueError: for a prefix that no layer's name begins with, or where nothing would be left to learn; nothing is changed.
    """
    prefixes = [prefixes] if isinstance(prefixes, str) else prefixes
    named = network.named_layers()
    for prefix in prefixes:
        if not prefix or not any(name.startswith(prefix) for name in named):
            part = prefix.split("/")[0]
            within = [name for name in named if name.startswith(f"{part}/")]
            possible = within or [name for name in named if "/" not in name]
            shown = ", ".join(possible[:10]) + (", …" if len(possible) > 10 else "")
            raise ValueError(f"No layer begins with {prefix!r}, so it cannot be frozen; possible: {shown}.")
    frozen = [name for name in named if name.startswith(tuple(prefixes))]
    before = [name for name in named if not named[name].trainable]
    network.set_frozen({*before, *frozen})
    if not network.trainable_weights:
        network.set_frozen(before)
        raise ValueError(f"Frozen are {', '.join(prefixes)}: nothing is left to learn. Freeze less.")
    return frozen

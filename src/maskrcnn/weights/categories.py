"""What the labels of weights from elsewhere mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maskrcnn.config.keypoints import PERSON, PERSON_SKELETON
from maskrcnn.config.model import Category
from maskrcnn.config.presets import placeholder_categories

_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, parking meter,
bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee,
skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass,
cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch,
potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
"""
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # ids that COCO's annotations of 2014 and 2017 leave out

_names = iter(" ".join(_NAMES.split()).split(", "))
# A row for every id of COCO from 1 to 90, as torchvision's models have: the unused ones take part in the softmax.
COCO_WITH_GAPS = tuple(Category(id, f"unused {id}" if id in _UNUSED else next(_names)) for id in range(1, 91))
COCO = tuple(category for category in COCO_WITH_GAPS if category.id not in _UNUSED)  # its 80 classes, with its ids

COCO_PERSON = Category(1, "person", PERSON, PERSON_SKELETON)  # of COCO's keypoints


def named_categories(class_names: Sequence[str | Category]) -> tuple[Category, ...]:
    """Classes of these names, numbered from 1 where they are names alone.

    Raises:
        ValueError: for a name that stands alone, or is no text.
    """
    if isinstance(class_names, str) or not all(isinstance(name, (str, Category)) for name in class_names):
        raise ValueError(f"Classes are a list of names such as ['car', 'bus']; received {class_names!r:.100}.")
    return tuple(
        name if isinstance(name, Category) else Category(number, name) for number, name in enumerate(class_names, start=1)
    )


def categories_of(
    num_classes: int,
    class_names: Sequence[str | Category] | None = None,
    *,
    published: Mapping[int, tuple[Category, ...]] | None = None,
) -> tuple[Category, ...]:
    """The classes of a file.

    Args:
        num_classes: that the file's shapes tell, background not counted.
        class_names: what the caller says they are.
        published: by their number, the classes of this source's published weights; other numbers get placeholders.

    Raises:
        ValueError: where there are more or fewer names than classes.
    """
    if class_names is None:
        return (published or {}).get(num_classes) or placeholder_categories(num_classes)
    categories = named_categories(class_names)
    if len(categories) != num_classes:
        raise ValueError(
            f"The file knows {num_classes} classes, background not counted, and {len(categories)} names were given; "
            "name each of them, in the file's order."
        )
    return categories

"""CVAT's XML of images."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import CAT, DOG, MASKS, SIZE, assert_scene, found, write_images

from maskrcnn.data.dataset import load_dataset

LABELS = "".join(f"<label><name>{name}</name></label>" for name in ("tree", "cat", "dog", "bird"))


def points(corners: list[list[int]]) -> str:
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in corners)


def runs(mask: np.ndarray) -> str:
    """Lengths of runs, row by row, background first, counted by hand."""
    counts, value = [0], False
    for pixel in mask.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return ", ".join(map(str, counts))


TREE = f'<mask label="tree" rle="{runs(MASKS["tree"][4:24, 30:50])}" left="30" top="4" width="20" height="20" z_order="0"/>'
SHAPES = (
    f'<polygon label="cat" points="{points(CAT)}"/>{TREE}'
    f'<polygon label="dog" group_id="4" points="{points(DOG[0])}"/>'
    f'<polygon label="dog" group_id="4" points="{points(DOG[1])}"/>'
)


def write(folder, shapes: str = SHAPES, **fields):
    fields = {"width": SIZE[1], "height": SIZE[0]} | fields
    sides = " ".join(f'{key}="{value}"' for key, value in fields.items())
    text = f'<image id="0" name="a.png" {sides}>{shapes}</image><image id="1" name="b.png" width="60" height="40"/>'
    (folder / "annotations.xml").write_text(
        f"<annotations><meta><task><labels>{LABELS}</labels></task></meta>{text}</annotations>"
    )
    write_images(folder / "images", "a.png", "b.png")
    return folder


def test_polygons_masks_and_groups_are_objects_and_labels_keep_their_order(tmp_path):
    data = load_dataset(write(tmp_path), strict=True)
    assert [category.name for category in data.categories] == ["tree", "cat", "dog", "bird"]
    assert len(data) == 2 and len(data.samples[1].labels) == 0
    assert_scene(data)


def test_boxes_turned_boxes_and_ellipses_are_drawn(tmp_path):
    box = '<box label="cat" xtl="4.0" ytl="5.0" xbr="20.0" ybr="15.0"/>'
    turned = '<box label="tree" xtl="30" ytl="10" xbr="50" ybr="20" rotation="90"/>'
    ellipse = '<ellipse label="dog" cx="15" cy="30" rx="8" ry="5"/>'
    masks = found(load_dataset(write(tmp_path, box + turned + ellipse), strict=True))
    np.testing.assert_array_equal(masks["cat"], MASKS["cat"])
    standing = np.zeros(SIZE, bool)
    standing[5:25, 35:45] = True  # about its middle, 40, 15
    np.testing.assert_array_equal(masks["tree"], standing)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    inside = ((x - 15) / 8) ** 2 + ((y - 30) / 5) ** 2 <= 1
    assert np.count_nonzero(masks["dog"] & inside) / np.count_nonzero(masks["dog"] | inside) > 0.93


@pytest.mark.parametrize(
    "wrong",
    [
        '<polyline label="cat" points="1,1;5,5;9,1"/>',
        '<polygon label="cat" points="1,1;5,5"/>',
        '<polygon label="cat" points="1,1;5,x;9,1"/>',
        '<mask label="cat" rle="3, 4" left="0" top="0" width="9" height="9"/>',
        '<mask label="cat" rle="0, 1" left="0" top="0" width="1000000" height="1000000"/>',
        '<mask label="cat" rle="99999999999999999999, 4" left="0" top="0" width="9" height="9"/>',
        f'<mask label="cat" rle="{", ".join([str(2**62)] * 4)}, 81" left="0" top="0" width="9" height="9"/>',
        '<box label="cat" xtl="nan" ytl="1" xbr="2" ybr="3"/>',
    ],
)
def test_a_shape_that_cannot_be_used_is_reported(tmp_path, wrong):
    data = load_dataset(write(tmp_path, SHAPES + wrong))
    assert [fault.kind for fault in data.faults] == ["broken mask"] and "'cat'" in data.faults[0].message
    assert_scene(data)


def test_an_image_of_another_size_is_left_out(tmp_path):
    data = load_dataset(write(tmp_path, height=SIZE[0] + 1))
    assert [sample.file_name for sample in data.samples] == ["b.png"]


def test_tracks_of_a_video_are_named(tmp_path):
    (tmp_path / "annotations.xml").write_text('<annotations><track id="0" label="cat"/></annotations>')
    with pytest.raises(ValueError, match="CVAT's XML of a video"):
        load_dataset(tmp_path)

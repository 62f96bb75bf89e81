"""Pascal VOC's folders."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import MASKS, SIZE, assert_scene, numbers, save, write_images
from PIL import Image

from maskrcnn.annotations.voc_writing import palette
from maskrcnn.data.dataset import load_dataset

BOXES = {"cat": (5, 6, 20, 15), "tree": (31, 5, 50, 24), "dog": (6, 26, 28, 36)}  # from 1, the last pixel included


def xml(name: str, boxes: dict[str, tuple[int, ...]]) -> str:
    objects = "".join(
        f"<object><name>{kind}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{u}</xmax><ymax>{v}</ymax></bndbox></object>"
        for kind, (x, y, u, v) in boxes.items()
    )
    return f"<annotation><filename>{name}</filename>{objects}</annotation>"


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "JPEGImages", "a.png", "b.png")
    (tmp_path / "Annotations").mkdir()
    for stem in ("a", "b"):
        (tmp_path / f"Annotations/{stem}.xml").write_text(xml(f"{stem}.png", BOXES))
        values = numbers().astype(np.uint8)
        values[0, 0] = 255  # the border that belongs to nobody
        image = Image.fromarray(values).convert("P")
        image.putpalette(palette().ravel().tolist())
        (tmp_path / "SegmentationObject").mkdir(exist_ok=True)
        image.putdata(values.ravel().tolist())
        image.save(tmp_path / f"SegmentationObject/{stem}.png")
    return tmp_path


def test_masks_get_their_classes_from_the_boxes(folder):
    data = load_dataset(folder, strict=True)
    assert len(data) == 2
    assert_scene(data, 1)


def test_a_list_names_the_images_of_a_split(folder):
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    (folder / "ImageSets/Segmentation/val.txt").write_text("b\n")
    assert [sample.file_name for sample in load_dataset(folder, split="val", strict=True).samples] == ["b.png"]
    with pytest.raises(ValueError, match=r"ImageSets/Segmentation/train\.txt"):
        load_dataset(folder, split="train")


def test_colours_and_a_table_as_cvat_exports_them_name_the_classes(folder):
    colours = {"cat": (10, 200, 3), "tree": (1, 2, 250), "dog": (90, 90, 0)}
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in colours.items()]
    (folder / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", "background:0,0,0::", *lines]))
    for stem in ("a", "b"):
        (folder / f"Annotations/{stem}.xml").unlink()
        save(folder / f"SegmentationClass/{stem}.png", sum(MASKS[name][..., None] * np.uint8(c) for name, c in colours.items()))
        things = sum(MASKS[name][..., None] * np.uint8((k, 255 - k, k)) for k, name in enumerate(MASKS, start=3))
        save(folder / f"SegmentationObject/{stem}.png", things)
    assert_scene(load_dataset(folder, strict=True))


def test_boxes_alone_are_ignored_regions(folder):
    for file in (folder / "SegmentationObject").iterdir():
        file.unlink()
    (folder / "SegmentationObject").rmdir()
    data = load_dataset(folder)
    assert data.samples[0].crowd.tolist() == [True] * 3
    np.testing.assert_array_equal(data.samples[0].boxes[0], [4, 5, 20, 15])
    with pytest.raises(ValueError, match="all 6 objects are crowd regions; .* --crowds-are-objects"):
        data.check_trainable()


def test_xml_with_entities_is_refused_and_named(folder):
    bomb = '<!DOCTYPE a [<!ENTITY b "cat"><!ENTITY c "&b;&b;&b;">]><annotation><filename>&c;</filename></annotation>'
    (folder / "Annotations/a.xml").write_text(bomb)
    data = load_dataset(folder)
    assert [fault.kind for fault in data.faults] == ["broken annotations"] and "document type" in data.faults[0].message
    assert len(data) == 2


def test_a_mask_of_another_size_leaves_its_image_out(folder):
    save(folder / "SegmentationObject/a.png", np.ones((SIZE[0], SIZE[1] + 1), np.uint8))
    data = load_dataset(folder)
    assert [sample.file_name for sample in data.samples] == ["b.png"]
    assert "40×61" in data.faults[0].message

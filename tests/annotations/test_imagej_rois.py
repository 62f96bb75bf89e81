"""ImageJ's regions of interest."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import roifile
from drawn import CAT, DOG, MASKS, SIZE, TREE, TREE_HOLE, assert_scene, found, write_images

from maskrcnn.data.dataset import load_dataset


def roi(name: str, corners: list[list[int]], **fields) -> roifile.ImagejRoi:
    made = roifile.ImagejRoi.frompoints(np.array(corners, np.float32), name=name)
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def composite(name: str, *rings: list[list[int]]) -> roifile.ImagejRoi:
    steps = [value for ring in rings for k, (x, y) in enumerate(ring) for value in (min(k, 1), x, y)]
    closed: list[float] = []
    for ring in rings:
        for k, (x, y) in enumerate(ring):
            closed += [min(k, 1), x, y]
        closed.append(4)
    assert len(closed) == len(steps) + len(rings)
    return roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.RECT, name=name, multi_coordinates=np.array(closed, np.float32), shape_roi_size=len(closed)
    )


def write(folder, rois: list[roifile.ImagejRoi], name: str = "a_RoiSet.zip"):
    write_images(folder, "a.png", "b.png")
    with zipfile.ZipFile(folder / name, "w") as archive:
        for made in rois:
            archive.writestr(f"{made.name}.roi", made.tobytes())
    return folder


SCENE = [roi("cat-1", CAT), composite("tree-2", TREE, TREE_HOLE), composite("dog-3", *DOG)]


def test_outlines_holes_and_parts_are_objects(tmp_path):
    data = load_dataset(write(tmp_path, SCENE), strict=True)
    assert [sample.file_name for sample in data.samples] == ["a.png"]
    assert_scene(data)


def test_names_of_numbers_alone_are_no_classes(tmp_path):
    for k, made in enumerate(SCENE):
        made = roi(f"0012-003{k}", CAT) if made.multi_coordinates is None else made
    data = load_dataset(write(tmp_path, [roi("0012-0030", CAT)]), strict=True)
    assert [category.name for category in data.categories] == ["object"]


def test_ovals_and_rectangles_are_drawn(tmp_path):
    box = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, name="cat-1", left=4, top=5, right=20, bottom=15)
    oval = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, name="dog-2", left=20, top=10, right=40, bottom=30)
    masks = found(load_dataset(write(tmp_path, [box, oval], "a.zip"), strict=True))
    np.testing.assert_array_equal(masks["cat"], MASKS["cat"])
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    inside = (x - 30) ** 2 + (y - 20) ** 2 <= 100
    assert np.count_nonzero(masks["dog"] & inside) / np.count_nonzero(masks["dog"] | inside) > 0.95


def test_regions_without_area_of_other_planes_and_damaged_ones_are_reported(tmp_path):
    line = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, name="cat-7", x1=1, y1=1, x2=9, y2=9)
    write(tmp_path, [*SCENE, line, roi("cat-8", CAT, position=3)])
    with zipfile.ZipFile(tmp_path / "a_RoiSet.zip", "a") as archive:
        archive.writestr("cat-9.roi", b"Iout damaged")
    data = load_dataset(tmp_path)
    assert sorted(fault.kind for fault in data.faults) == ["broken mask", "broken mask", "region of another plane"]
    assert_scene(data)


def test_a_damaged_zip_loses_its_region_or_its_image(tmp_path):
    archive = write(tmp_path, SCENE) / "a_RoiSet.zip"
    whole = archive.read_bytes()
    place = whole.index(b"Iout")
    archive.write_bytes(whole[: place + 20] + b"\xff" + whole[place + 21 :])
    data = load_dataset(tmp_path)
    assert [fault.kind for fault in data.faults] == ["broken mask"] and "Bad CRC" in data.faults[0].message
    assert len(data.samples[0].labels) >= 1
    write_images(tmp_path, "c.png")
    (tmp_path / "c_RoiSet.zip").write_bytes(whole[: len(whole) // 2])
    assert [fault.kind for fault in load_dataset(tmp_path).faults] == ["damaged file", "broken mask"]


@pytest.mark.parametrize("name", ["RoiSet.zip", "a.roi"])
def test_a_set_or_a_single_region_beside_its_image_is_read(tmp_path, name):
    write_images(tmp_path, "a.png")
    if name.endswith(".roi"):
        (tmp_path / name).write_bytes(SCENE[0].tobytes())
    else:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("cat-1.roi", SCENE[0].tobytes())
    np.testing.assert_array_equal(found(load_dataset(tmp_path, strict=True))["cat"], MASKS["cat"])

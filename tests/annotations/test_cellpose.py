"""Cellpose's `_seg.npy`, read without running anything in it."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import SIZE, assert_scene, numbers, save, write_images

from maskrcnn.annotations.cellpose import read_masks
from maskrcnn.data.dataset import load_dataset


def write_seg(path, masks: np.ndarray) -> None:
    """As Cellpose's `masks_flows_to_seg` writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {
        "outlines": np.zeros(masks.shape, np.uint16),
        "colors": np.zeros((3, 3), np.uint8),
        "masks": masks,
        "current_channel": 0,
        "chan_choose": [0, 0],
        "filename": str(path),
        "flows": [np.zeros((*masks.shape, 3), np.uint8), [], np.zeros(0, np.float32)],
        "ismanual": np.zeros(3, bool),
        "manual_changes": [],
        "diameter": np.float32(17.5),
        "normalize_params": {"lowhigh": None, "percentile": [1.0, 99.0], "norm3D": True},
        "est_diam": np.float64(30),
    }
    np.save(path, held)


def test_masks_are_the_objects_of_the_image_beside(tmp_path):
    write_images(tmp_path, "a.png", "b.c.png")
    write_seg(tmp_path / "a_seg.npy", numbers())
    write_seg(tmp_path / "b.c_seg.npy", numbers().astype(np.uint32)[None])
    data = load_dataset(tmp_path, strict=True)
    assert [sample.file_name for sample in data.samples] == ["a.png", "b.c.png"]
    for number in range(2):
        assert_scene(data, number, named=False)


def test_images_elsewhere_are_named_and_what_is_missing_is_told(tmp_path):
    write_images(tmp_path / "photos", "a.png", "c.png")
    for name in ("a", "lost"):
        write_seg(tmp_path / f"segs/{name}_seg.npy", numbers())
    data = load_dataset(tmp_path / "segs", images=tmp_path / "photos")
    assert [sample.file_name for sample in data.samples] == ["a.png"]
    assert sorted(fault.kind for fault in data.faults) == ["image without annotations", "missing image"]


def test_where_masks_were_saved_as_images_too_those_are_read(tmp_path):
    write_images(tmp_path, "a.png")
    write_seg(tmp_path / "a_seg.npy", np.zeros(SIZE, np.uint16))
    save(tmp_path / "a_cp_masks.png", numbers())
    assert_scene(load_dataset(tmp_path, strict=True), 0, named=False)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (np.zeros(SIZE, np.uint16), "not Cellpose's dict"),
        (np.array({"outlines": []}, dtype=object), "it holds no masks"),
        (np.array({"masks": np.zeros((2, *SIZE), np.int32)}, dtype=object), "of one plane; received int32 of shape"),
        (np.array({"masks": np.full(SIZE, -1)}, dtype=object), "from 1, 0 = background; received -1 to -1"),
        (np.array({"masks": np.full(SIZE, 2**63, np.uint64)}, dtype=object), "from 1, 0 = background; received 92233"),
        (
            np.array({"masks": np.zeros(SIZE, int), "a": print}, dtype=object),
            "a_seg.npy wants to run 'builtins.print'.*from Cellpose",
        ),
        (np.array({"masks": np.zeros(SIZE)}, dtype=object), "whole numbers of one plane; received float64"),
    ],
)
def test_what_is_no_masks_is_one_line(tmp_path, held, message):
    np.save(tmp_path / "a_seg.npy", held)
    with pytest.raises(ValueError, match=message) as told:
        read_masks(tmp_path / "a_seg.npy")
    assert "\n" not in str(told.value)


def test_damaged_files_leave_their_image_out(tmp_path):
    write_images(tmp_path, "a.png", "b.png", "c.png")
    write_seg(tmp_path / "a_seg.npy", numbers())
    whole = (tmp_path / "a_seg.npy").read_bytes()
    (tmp_path / "b_seg.npy").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c_seg.npy").write_bytes(b"")
    data = load_dataset(tmp_path)
    assert [sample.file_name for sample in data.samples] == ["a.png"]
    assert [fault.kind for fault in data.faults] == ["broken label map"] * 2

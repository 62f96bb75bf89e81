"""OME-NGFF's labels."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import SIZE, assert_scene, numbers

from maskrcnn.config.model import ImageConfig
from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.reading import read_sample
from maskrcnn.inference.given import as_pixels, each_image

zarr = pytest.importorskip("zarr")
IMAGE = np.random.default_rng(0).integers(0, 256, (3, *SIZE), np.uint8)


def write(folder, labels: np.ndarray, version: str = "0.4", names: tuple[str, ...] = ("cells",)) -> None:
    """An image of three channels and its labels, written array by array."""

    def attributes(**values) -> dict:
        return {"ome": {"version": version, **values}} if version == "0.5" else values

    def scales(axes: str) -> list[dict]:
        return [{"axes": [{"name": axis} for axis in axes], "datasets": [{"path": "0"}]}]

    root = zarr.open_group(folder, mode="w", zarr_format=3 if version == "0.5" else 2)
    root.attrs.update(attributes(multiscales=scales("cyx")))
    root.create_array("0", data=IMAGE, chunks=(1, 16, 16))
    group = root.create_group("labels")
    group.attrs.update(attributes(labels=list(names)))
    for name in names:
        label = group.create_group(name)
        label.attrs.update(attributes(multiscales=scales("cyx"[3 - labels.ndim :])))
        label.create_array("0", data=labels, chunks=labels.shape)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_objects_and_the_image_is_read(tmp_path, version):
    write(tmp_path / "a.zarr", numbers(), version)
    write(tmp_path / "b.zarr", numbers()[None], version)
    for path, count in ((tmp_path, 2), (tmp_path / "a.zarr", 1)):
        data = load_dataset(path, strict=True)
        assert len(data) == count
        assert_scene(data, count - 1, named=False)
    image = read_sample(data.samples[0], ImageConfig()).image
    np.testing.assert_array_equal(image, np.moveaxis(IMAGE, 0, 2))


def test_several_label_images_are_told_and_several_planes_left_out(tmp_path):
    write(tmp_path / "a.zarr", numbers(), names=("cells", "nuclei"))
    write(tmp_path / "b.zarr", np.stack([numbers()] * 2))
    write(tmp_path / "c.zarr", numbers()[1:])
    data = load_dataset(tmp_path)
    assert [sample.file_name for sample in data.samples] == ["a.zarr"]
    assert [fault.kind for fault in data.faults] == ["several label images", "broken annotations", "broken annotations"]
    assert "several planes" in data.faults[1].message and "39×60" in data.faults[2].message


def test_a_folder_zarr_is_an_image_to_be_searched(tmp_path):
    write(tmp_path / "a.zarr", numbers())
    (given,) = each_image([str(tmp_path / "a.zarr")])
    np.testing.assert_array_equal(as_pixels(given, ImageConfig()), np.moveaxis(IMAGE, 0, 2))


@pytest.mark.parametrize("axes", [[{"name": 1}] * 3, [{}] * 3, 5, [None] * 3])
def test_axes_that_are_none_leave_the_image_out(tmp_path, axes):
    write(tmp_path / "a.zarr", numbers())
    write(tmp_path / "b.zarr", numbers())
    zarr.open_group(tmp_path / "a.zarr").attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
    data = load_dataset(tmp_path)
    assert [sample.file_name for sample in data.samples] == ["b.zarr"]
    assert [fault.kind for fault in data.faults] == ["unreadable image"]

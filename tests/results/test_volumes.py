"""Laws of label maps of whole files: what was read at a voxel is labelled at that voxel."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskrcnn.images.images import read_planes
from maskrcnn.results.volumes import empty_volume, write_nifti, write_ome_tiff
from maskrcnn.structures import PixelSize, Source


def labels_of(source: Source, kind=np.uint32) -> np.ndarray:
    return np.arange(source.num_planes * source.size[0] * source.size[1], dtype=kind).reshape(-1, *source.size)


def test_volumes_on_disk_are_zeros_and_leave_nothing_behind(tmp_path: Path) -> None:
    volume = empty_volume((2, 3, 4), np.uint32, tmp_path)
    assert volume.shape == (2, 3, 4) and not volume.any()
    volume[1] = 7
    assert volume.sum() == 84 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "source",
    [
        Source("a", (6, 8)),
        Source("a", (6, 8), (5,), "Z", PixelSize(0.5, 0.25, "um"), 2.0),
        Source("a", (6, 8), (2, 5), "TZ", PixelSize(0.5, 0.25, "mm"), 2.0),
    ],
)
def test_ome_tiff_brings_the_labels_and_the_pixel_size_back(tmp_path: Path, source: Source) -> None:
    labels = labels_of(source)
    write_ome_tiff(tmp_path / "a.ome.tif", labels, source)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert file.is_ome and file.series[0].dtype == np.uint16
        np.testing.assert_array_equal(file.asarray().reshape(labels.shape), labels)
    first = next(read_planes(tmp_path / "a.ome.tif"))
    assert (first.source.counts, first.source.axes) == (source.counts, source.axes)
    if source.pixel_size is not None:
        factor = 1000 if source.pixel_size.unit == "mm" else 1
        assert first.source.pixel_size == PixelSize(0.5 * factor, 0.25 * factor, "um") and first.source.spacing == 2 * factor
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.tif"]


def test_more_objects_than_16_bits_get_32(tmp_path: Path) -> None:
    labels = np.full((1, 6, 8), 70_000, np.uint32)
    write_ome_tiff(tmp_path / "a.ome.tif", labels, Source("a", (6, 8)))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), labels[0])


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 2), (5, 6)])
def test_a_label_stands_at_the_voxel_whose_value_it_was_made_of(tmp_path: Path, axis: str, shape: tuple[int, ...]) -> None:
    nibabel = pytest.importorskip("nibabel", reason="the extra medical is not installed")
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    for axes, flips in itertools.product([(0, 1, 2), (2, 0, 1)], [(1, 1, 1), (-1, 1, -1)]):
        affine = np.eye(4)
        affine[:3, :3] = np.diag((*flips,))[list(axes)] * [0.5, 0.75, 2.0]
        affine[:3, 3] = 10, -20, 30
        source_image = nibabel.Nifti1Image(values, affine)
        source_image.header.set_xyzt_units("mm", "sec")
        source_image.header["descrip"] = b"Zacharias Quentin"
        nibabel.save(source_image, tmp_path / "a.nii")
        planes = list(read_planes(tmp_path / "a.nii", axis=axis))
        labels = np.stack([plane.values for plane in planes]).astype(np.uint32)  # each voxel's label is its own value
        write_nifti(tmp_path / "b.nii.gz", labels, planes[0].source.grid)
        written, source = nibabel.load(tmp_path / "b.nii.gz"), nibabel.load(tmp_path / "a.nii")
        np.testing.assert_array_equal(np.asarray(written.dataobj), values)
        np.testing.assert_array_equal(written.affine, source.affine)
        assert written.header.get_zooms() == source.header.get_zooms()
        assert written.header.get_xyzt_units() == source.header.get_xyzt_units()
        assert (written.header["sform_code"], written.header["qform_code"]) == (
            source.header["sform_code"],
            source.header["qform_code"],
        )
        assert not bytes(written.header["descrip"]).strip(b"\0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii", "b.nii.gz"]


def test_a_side_beyond_16_bits_is_written_as_nifti_2(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="the extra medical is not installed")
    values = (np.arange(80_000) % 1000).astype(np.int16).reshape(40_000, 2, 1)
    nibabel.save(nibabel.Nifti2Image(values, np.diag([0.5, 0.75, 2.0, 1.0])), tmp_path / "a.nii")
    (plane,) = read_planes(tmp_path / "a.nii")
    write_nifti(tmp_path / "b.nii.gz", plane.values[None].astype(np.uint32), plane.source.grid)
    written = nibabel.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), values)
    np.testing.assert_array_equal(written.affine, nibabel.load(tmp_path / "a.nii").affine)

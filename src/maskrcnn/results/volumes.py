"""The label maps of all planes of a file as one array, as OME-TIFF and as NIfTI on the source's own voxels."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.atomic import part_of, write_whole
from maskrcnn.geometry.turns import turned_back
from maskrcnn.structures import Source, VoxelGrid

_OME_UNITS = {"mm": "mm", "um": "µm"}


def empty_volume(shape: tuple[int, ...], dtype: Any, folder: Path) -> np.ndarray:
    """Zeros on disk, in a file without a name that goes when the array goes: volumes may be larger than the memory."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def write_ome_tiff(path: Path, labels: np.ndarray, source: Source) -> None:
    """Label maps with the source's planes and pixel size.

    Args:
        path: the file, .ome.tif.
        labels: (planes, H, W) unsigned.
        source: what the planes are of.
    """
    import tifffile

    about: dict[str, Any] = {"axes": source.axes + "YX"}
    if source.pixel_size is not None:
        sizes = {"X": source.pixel_size.width, "Y": source.pixel_size.height}
        if source.spacing is not None and "Z" in source.axes:
            sizes["Z"] = source.spacing
        for axis, size in sizes.items():
            about |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": _OME_UNITS[source.pixel_size.unit]}
    kind = np.uint16 if max((plane.max() for plane in labels), default=0) < 2**16 else np.uint32
    pixels = (plane.astype(kind) for plane in labels)
    shape = (*source.counts, *source.size)

    def write(file: Any) -> None:
        with tifffile.TiffWriter(file, ome=True, bigtiff=labels.nbytes >= 2**31) as tiff:  # TIFF counts bytes in 32 bits
            tiff.write(pixels, shape=shape, dtype=kind, photometric="minisblack", compression="zlib", metadata=about)

    write_whole(path, write)


def write_nifti(path: Path, labels: np.ndarray, grid: VoxelGrid) -> None:
    """Label maps on the voxels of a NIfTI file: every voxel's label stands where its value stands in the source.

    The header is new and takes over what places the voxels, nothing that describes a person.

    Args:
        path: the file, .nii.gz.
        labels: (planes, H, W) unsigned, planes as `read_planes` counts and turns them.
        grid: of the source.

    Raises:
        ImportError: nibabel is not installed.
    """
    nibabel = extras.load("nibabel", extra="medical", why="NIfTI files need nibabel")
    kind = np.uint16 if max((plane.max() for plane in labels), default=0) < 2**16 else np.int32
    voxels = empty_volume(grid.shape, kind, path.parent)
    for number, plane in enumerate(labels, start=1):
        voxels[grid.place(number)] = turned_back(plane, grid.turn)
    about = grid.header
    version = nibabel.Nifti1Image if max(grid.shape) < 2**15 else nibabel.Nifti2Image  # lengths of 16 bits, and of 64
    image = version(voxels.reshape(about["shape"]), None)
    image.header.set_xyzt_units(*about["units"])
    image.header.set_zooms(about["zooms"][: len(about["shape"])])
    image.set_sform(grid.affine, about["sform_code"])
    image.set_qform(grid.affine, about["qform_code"], update_affine=False)
    part = part_of(path).with_suffix(".nii.gz")
    try:
        nibabel.save(image, part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise

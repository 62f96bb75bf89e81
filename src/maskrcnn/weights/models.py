"""Our own `.keras` files: what is in them, and their weights as a start for another model."""

from __future__ import annotations

import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import keras
import numpy as np

from maskrcnn.config import fields
from maskrcnn.config import model as configs
from maskrcnn.weights import class_rows
from maskrcnn.weights.stem import inflate, stem_kernel

MAX_CONFIG_BYTES = 16 << 20
REGISTERED_NAME = "maskrcnn>MaskRCNN"


def read_config(path: str | Path) -> dict[str, Any]:
    """What a `.keras` file says of its model, without loading it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a `.keras` file, or not one of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No model file at {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo("config.json")
            if entry.file_size > MAX_CONFIG_BYTES:
                raise ValueError(
                    f"{path} describes its model in {entry.file_size:,} bytes; at most {MAX_CONFIG_BYTES:,} are read."
                )
            config = json.loads(archive.read(entry))
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a whole .keras file, or not one at all ({type(error).__name__}).") from error
    if not isinstance(config, dict) or config.get("registered_name") != REGISTERED_NAME:
        raise ValueError(f"{path} holds a {config.get('class_name', 'thing')!r}, not a model of maskrcnn.")
    return config


def is_model(path: str | Path) -> bool:
    """Whether the file is a model of this package (and not, say, a backbone of `keras.applications`)."""
    try:
        read_config(path)
    except ValueError:
        return False
    return True


def load(path: Path, kind: Any, *, compile: bool = True) -> Any:
    """`keras.saving.load_model` for a model of class `kind`, which draws no random weights that the file then replaces.

    Half of the time went there, on JAX nearly all: it compiles a program for each shape that is drawn.

    A loss or an optimizer of the user's own that this process does not know is left out with a warning: detecting needs none.
    """
    with keras.saving.custom_object_scope({REGISTERED_NAME: _Blank(kind)}):
        if not compile:
            return keras.saving.load_model(path, compile=False)
        try:
            return keras.saving.load_model(path)
        except (TypeError, ValueError) as error:
            model = keras.saving.load_model(path, compile=False)  # fails too where it is the model that is wrong
            reason = str(error).splitlines()[0].partition(". ")[0]
            warnings.warn(
                f"{path} is opened without its loss and optimizer ({reason:.200}). To go on training, compile it, or load it "
                "once what it was compiled with is registered (keras.saving.register_keras_serializable).",
                stacklevel=3,
            )
            return model


class _Blank:
    """Stands for a class of models while a file is read: what it makes has zeros for weights."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def from_config(self, config: dict[str, Any]) -> Any:
        with keras.StatelessScope():  # inside it, variables are only planned
            model = self.kind.from_config(config)
            for weight in model.weights:
                weight._initializer = _zeros
        return model


def _zeros(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.zeros(shape, dtype)  # NumPy's are no work for any backend


def transfer(source: keras.Model, target: keras.Model, *, source_classes: Sequence[str] | None = None) -> list[str]:
    """Copies weights from one network to another, wherever name and shape are the same.

    Where only the number of an image's channels differs, the first convolution is inflated (`weights.stem`).

    In the layers that know the classes, rows of classes with the same name are carried over, whatever their order; those of
    the target's other classes stay as they are, and so do these layers as a whole where the two share no class.

    Args:
        source_classes: what the source's classes are called; as its configuration says where None.

    Returns:
        Paths of the weights of `target` that start anew as a whole: class layers that share no class, or of another width.

    Raises:
        ValueError: where anything but the class layers differs; then nothing was copied.
    """
    found = {weight.path: np.asarray(keras.ops.convert_to_numpy(weight)) for weight in source.weights}
    fits, remade, stem = [], [], stem_kernel(target.backbone)
    if source.config.backbone.name == target.config.backbone.name == "keras":  # Keras numbers layers anew in each process
        both = zip(source.backbone.weights, target.backbone.weights, strict=False)
        found |= {ours.path: found[theirs.path] for theirs, ours in both}
    elif stem is not None and stem.path in found:
        found[stem.path] = inflate(found[stem.path], stem.shape)
    old, new = list(source_classes or source.config.class_names), target.config.class_names
    if old != new and class_rows.shared(old, new):
        found |= class_rows.carry_all(found, target.weights, old, new)
    remake_classes = old != new and not class_rows.shared(old, new)
    for weight in target.weights:
        name = weight.path
        of_classes = class_rows.belongs_to_classes(name)
        if name in found and found[name].shape == tuple(weight.shape) and not (of_classes and remake_classes):
            fits.append((weight, found[name]))
        elif of_classes:
            remade.append(name)
        else:
            shape = found[name].shape if name in found else "nothing"
            raise ValueError(
                f"Weights of {name!r} do not fit: the file has {shape}, the model {tuple(weight.shape)}. "
                "Choose the preset and the settings that the file was made with."
            )
    for weight, value in fits:
        weight.assign(value)
    return remade


def save(model: keras.Model, path: str | Path, *, precision: Literal["float32", "float16"] = "float32") -> None:
    """Saves under another name, then renames: a reader finds the old file or the new one, never half of one.

    Args:
        precision: of the weights in the file. In half precision it has half the size, and whoever loads it computes in single
            precision with weights that were rounded to 11 bits.

    Raises:
        ValueError: weights too large for half precision.
    """
    with _replacing(Path(path)) as unfinished:
        model.save(unfinished)
        if precision == "float16":
            _halve(unfinished)


def save_best_scores(path: str | Path, scores: Mapping[str, float], *, rest: float) -> None:
    """Writes each class's best score into a `.keras` file, for `score="auto"`; its weights stay as they are, byte for byte.

    Args:
        path: of the file, replaced whole.
        scores: by the classes' names.
        rest: of the model's classes that are not among them.

    Raises:
        FileNotFoundError, ValueError: as `read_config`.
    """
    path = Path(path)
    description = read_config(path)
    config = configs.from_dict(description["config"]["config"])
    best = tuple(float(scores.get(name, rest)) for name in config.class_names)
    description["config"]["config"] = fields.to_dict(fields.replace(config, detect__best_scores=best))
    with _replacing(path) as unfinished, zipfile.ZipFile(path) as old, zipfile.ZipFile(unfinished, "w") as new:
        for entry in old.infolist():
            content = json.dumps(description).encode() if entry.filename == "config.json" else old.read(entry)
            new.writestr(entry, content)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Where a model is written before it takes the place of `path`."""
    unfinished = path.with_name(f".{path.stem}.unfinished.keras")
    try:
        yield unfinished
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())  # a rename may reach the disk before what it renames
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _halve(path: Path) -> None:
    """Writes a `.keras` file anew, its weights in half precision and compressed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    halves = io.BytesIO()
    with h5py.File(io.BytesIO(entries["model.weights.h5"])) as whole, h5py.File(halves, "w") as half:
        whole.visititems(_half_copier(half))
    entries["model.weights.h5"] = halves.getvalue()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def _half_copier(half: h5py.File) -> Callable[[str, h5py.Group | h5py.Dataset], None]:
    def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group):
            target = half.require_group(name)
        else:
            values = item[()]
            if values.dtype == np.float32:
                largest = np.abs(values).max(initial=0)
                if not largest <= np.finfo(np.float16).max:
                    raise ValueError(f"{name} holds {largest:g}, which is too large for float16; save it in float32.")
                values = values.astype(np.float16)
            target = half.create_dataset(name, data=values)
        for key, value in item.attrs.items():
            target.attrs[key] = value

    return copy

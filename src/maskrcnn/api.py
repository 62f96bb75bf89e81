"""The model people hold: the network with doors to presets, files, and pictures of any size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from maskrcnn import config as configs
from maskrcnn import predict as prediction
from maskrcnn.config import Category, ModelConfig
from maskrcnn.data import Dataset, load_dataset
from maskrcnn.data.loader import Loader, make_loader, num_batches
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.structures import Detections
from maskrcnn.weights import backbones
from maskrcnn.weights import models as model_files


@keras.saving.register_keras_serializable(package="maskrcnn", name="MaskRCNN")
class MaskRCNN(Network):
    """Mask R-CNN with a feature pyramid (He et al. 2017; Lin et al. 2017).

    Example:
        model = maskrcnn.MaskRCNN.from_preset("resnet50_fpn", num_classes=2)
        model.compile(optimizer="adam", loss="binary_crossentropy")
        model.fit(train_data, validation_data=val_data, epochs=10)
        detections = model.detect("picture.jpg")
    """

    @classmethod
    def from_preset(
        cls,
        preset: str,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str | Category] | None = None,
        weights: str | Path | None = "auto",
        seed: int | None = None,
        **changes: Any,
    ) -> MaskRCNN:
        """A model for your classes.

        Args:
            preset: `"resnet50_fpn"`, `"resnet101_fpn"` or `"mobilenet_v2_fpn"`.
            num_classes: number of classes, background not counted; a data set names them when `fit` first sees it.
            class_names: their names, instead of a number.
            weights: `"auto"` starts from an ImageNet backbone out of Keras's cache or a download, and if neither can be had
                warns and starts from random weights; `"imagenet"` insists; a file holds a backbone or a whole maskrcnn model;
                None is random. With random weights batch norm is live and nothing frozen, unless `changes` says otherwise.
            seed: of random weights and of the sampling in training; seeds Python, NumPy and the backend too. None draws one.
            **changes: fields of `ModelConfig`, `section__field=value`, such as `detect__max_detections=400`.

        Raises:
            ValueError: an unknown preset or field, no or contradicting classes, weights that do not fit.
            FileNotFoundError: no such weights file.
            ConnectionError: `"imagenet"` that cannot be had.
        """
        config = configs.preset(preset, _categories(num_classes, class_names))
        if weights is not None and Path(weights).suffix == ".keras" and model_files.is_model(weights):
            return cls._from_model_file(weights, configs.replace(config, **changes), seed)
        try:
            arrays = None if weights is None else _backbone_arrays(weights, configs.replace(config, **changes))
        except ConnectionError as error:
            if weights != "auto":
                raise
            warnings.warn(f"The backbone starts from random weights: {error}", stacklevel=2)
            arrays = None
        if arrays is None:
            config = configs.replace(config, backbone__norm="live", backbone__frozen_stages=0)
        model = cls._seeded(configs.replace(config, **changes), seed)
        if arrays is not None:
            backbones.put(arrays, model.backbone)
        return model

    @classmethod
    def _seeded(cls, config: ModelConfig, seed: int | None) -> MaskRCNN:
        if seed is not None:
            keras.utils.set_random_seed(seed)  # Keras's initial weights come from there
        return cls(config, seed=seed)

    @classmethod
    def _from_model_file(cls, path: str | Path, config: ModelConfig, seed: int | None) -> MaskRCNN:
        source = load_model(path)
        model = cls._seeded(config, seed)
        remade = model_files.transfer(source, model)
        if remade:
            warnings.warn(
                f"{path} knows {source.config.num_classes} classes, the new model {config.num_classes}: "
                f"the class layers start anew ({', '.join(remade)}).",
                stacklevel=3,
            )
        return model

    def detect(self, images: Any, *, batch_size: int = 1, score: float | None = None) -> list[Detections]:
        """Finds objects in pictures of any size.

        Args:
            images: a path, an (H, W, 3) or (H, W) uint8 array, a (B, H, W, 3) array, or an iterable of paths and arrays.
            batch_size: pictures that go through the model together.
            score: least score; the model's own `config.detect.score` where None, below which nothing is kept anyway.

        Returns:
            One `Detections` a picture, in original pixels. `maskrcnn.predict.detect` yields them one by one.

        Raises:
            ValueError: for an array that is no picture, or a file that cannot be read.
        """
        return list(prediction.detect(self, images, batch_size=batch_size, score=score))

    # ── Keras's verbs, which also take data sets ──

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`. Each loss is shown by name, in training and in validation.

        Args:
            x: a `Dataset`, the path of one, or any dataset of `Batch` dicts (`maskrcnn.data.make_loader`).
            batch_size: pictures a step, where `x` is a `Dataset` or a path; 2 by default.
            **kwargs: of `keras.Model.fit`; `validation_data` takes what `x` takes.
        """
        batch_size = batch_size or 2
        if (data := _as_dataset(x)) is not None:
            self.adopt_categories(data)
            kwargs.setdefault("steps_per_epoch", num_batches(data, batch_size))
            x = self.loader(data, batch_size=batch_size, shuffle=True, repeat=True, flip=True)
        if (data := _as_dataset(kwargs.get("validation_data"))) is not None:
            kwargs["validation_data"] = self.loader(data, batch_size=batch_size)
        return super().fit(x, y, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`: the losses. `maskrcnn.evaluate` gives the average precision."""
        if (data := _as_dataset(x)) is not None:
            x = self.loader(data, batch_size=batch_size or 2)
        return super().evaluate(x, y, **kwargs)

    def predict(self, x: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        """As `keras.Model.predict`: `PaddedDetections` in pixels of the frame. `detect` takes pictures of any size."""
        if (data := _as_dataset(x)) is not None:
            x, batch_size = self.loader(data, batch_size=batch_size or 1), None
        if isinstance(x, Loader):
            x = x.without_truth()
        elif isinstance(x, dict):
            x = {name: x[name] for name in ("images", "sizes")}
        return super().predict(x, batch_size=batch_size, **kwargs)

    def loader(self, dataset: Dataset, **options: Any) -> Any:
        """Batches of a data set for this model: `maskrcnn.data.make_loader` with the model's classes and frames."""
        return make_loader(dataset.with_categories(self.config.categories), self.config, **options)

    def adopt_categories(self, dataset: Dataset) -> None:
        """Takes the classes' names from a data set, if the model knows them by number alone.

        Raises:
            ValueError: where the data set has another number of classes.
        """
        if self.config.categories != configs.placeholder_categories(self.config.num_classes):
            return
        if len(dataset.categories) != self.config.num_classes:
            names = ", ".join(category.name for category in dataset.categories[:10])
            raise ValueError(
                f"The model was made for {self.config.num_classes} classes and the data has {len(dataset.categories)} ({names}"
                f"{', …' if len(dataset.categories) > 10 else ''}). Make it with num_classes={len(dataset.categories)}."
            )
        self.config = configs.replace(self.config, categories=tuple(dataset.categories))


def load_model(path: str | Path) -> MaskRCNN:
    """A whole model as `model.save` wrote it: weights, classes, preprocessing, and how it was compiled.

    Args:
        path: a `.keras` file, or the folder of a training run, which means its `best.keras`, else its `last.keras`.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: not a model of this package, or a damaged one.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in ("best.keras", "last.keras") if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"{path} holds neither best.keras nor last.keras; is it the folder of a training run?")
        path = found[0]
    model_files.read_config(path)
    try:
        return keras.saving.load_model(path)
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def _categories(num_classes: int | None, class_names: Sequence[str | Category] | None) -> tuple[Category, ...]:
    if class_names is None:
        if num_classes is None:
            raise ValueError("A model needs to know its classes: give num_classes=3, or class_names=['car', 'bus', 'bike'].")
        return configs.placeholder_categories(num_classes)
    if num_classes not in (None, len(class_names)):
        raise ValueError(f"num_classes={num_classes} contradicts the {len(class_names)} class names given; give one of them.")
    return tuple(
        name if isinstance(name, Category) else Category(number, name) for number, name in enumerate(class_names, start=1)
    )


def _backbone_arrays(weights: str | Path, config: ModelConfig) -> backbones.NamedArrays:
    if weights in ("auto", "imagenet"):
        return backbones.imagenet(config.backbone.name)
    return backbones.read(weights, config.backbone)


def _as_dataset(data: Any) -> Dataset | None:
    if isinstance(data, (str, Path)):
        return load_dataset(data)
    return data if isinstance(data, Dataset) else None

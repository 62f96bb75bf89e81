"""Keras's verbs for the network, which also take data sets: `fit`, `evaluate`, `predict`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import keras

from maskrcnn.config import fields, presets
from maskrcnn.data.augment import make_augment
from maskrcnn.data.dataset import Dataset, open_dataset
from maskrcnn.data.loader import Loader, make_loader, num_batches
from maskrcnn.images.files import ALL_SUFFIXES
from maskrcnn.model.mask_rcnn import Network


class FittableNetwork(Network):
    """The network with Keras's methods, which also accept data sets and their paths."""

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, *, augment: Any = "flip", **kwargs: Any
    ) -> keras.callbacks.History:
        """Like `keras.Model.fit`. Each loss is shown by name, in training and in validation.

        Args:
            x: a `Dataset`, the path of one, or any dataset of `Batch` dicts (`maskrcnn.data.make_loader`).
            batch_size: images per step, if `x` is a `Dataset` or a path; 2 by default.
            augment: of a `Dataset` or a path: `"none"`, `"flip"`, `"photos"`, `"microscopy"`, an `AugmentConfig`, an
                Albumentations pipeline, or a function of (sample, rng).
            **kwargs: of `keras.Model.fit`; `validation_data` accepts what `x` accepts. `shuffle=False` keeps the order of a
                `Dataset` or a path; else each call draws another, reproducible after `keras.utils.set_random_seed`.

        Raises:
            ValueError: for data that the model's classes don't fit, or without any object; for `y`, `class_weight` and
                `sample_weight`. If a path's data has faults, a warning lists them.
        """
        _refuse_truth_beside(y, **kwargs)
        batch_size = batch_size or 2
        x, validation = open_dataset(x), open_dataset(kwargs.get("validation_data"))
        if isinstance(x, Dataset):
            x.check_trainable()
            self.adopt_categories(x)
            kwargs.setdefault("steps_per_epoch", num_batches(x, batch_size))
            seed = random.randrange(2**31)  # Keras seeds Python's numbers, and draws the seeds of its own layers from them
            order = {"shuffle": kwargs.pop("shuffle", True), "seed": seed}
            x = self.loader(x, batch_size=batch_size, repeat=True, augment=augment, **order)
        if isinstance(validation, Dataset):
            kwargs["validation_data"] = self.loader(
                validation, batch_size=kwargs.pop("validation_batch_size", None) or batch_size
            )
        return super().fit(x, y, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Like `keras.Model.evaluate`: the losses. `maskrcnn.evaluate` computes the average precision."""
        _refuse_truth_beside(y, **kwargs)
        x = open_dataset(x)
        if isinstance(x, Dataset):
            x = self.loader(x, batch_size=batch_size or 2)
        return super().evaluate(x, y, **kwargs)

    def predict(self, x: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Like `keras.Model.predict`: `PaddedDetections` in pixels of the frame. `detect` accepts images of any size.

        Raises:
            ValueError: for the path of an image.
        """
        if isinstance(x, (str, Path)) and str(x).lower().endswith(ALL_SUFFIXES):
            raise ValueError(
                f"predict takes a data set or batches of frames, as Keras's does; call model.detect({str(x)!r}) to find the "
                "objects in an image, or maskrcnn.predict."
            )
        x = open_dataset(x)
        if isinstance(x, Dataset):
            x, batch_size = self.loader(x, batch_size=batch_size or 1), None
        if isinstance(x, Loader):
            x = x.without_truth()
        elif isinstance(x, dict):
            x = {name: x[name] for name in ("images", "sizes")}
        return super().predict(x, batch_size=batch_size, **kwargs)

    def loader(self, dataset: Dataset, *, augment: Any = None, **options: Any) -> Loader:
        """Batches of a data set for this model: `maskrcnn.data.make_loader` with the model's classes and frames.

        Args:
            augment: as for `fit`; none where None.
            **options: of `make_loader`.
        """
        dataset = dataset.with_categories(self.config.categories)
        change = make_augment(augment, self.config.image, dataset.samples)
        return make_loader(dataset, self.config, augment=change, **options)

    def adopt_categories(self, dataset: Dataset) -> None:
        """Takes the class names from a data set, if the model has only their number.

        Raises:
            ValueError: the data set has another number of classes.
        """
        if self.config.categories != presets.placeholder_categories(self.config.num_classes):
            return
        if len(dataset.categories) != self.config.num_classes:
            names = ", ".join(category.name for category in dataset.categories[:10])
            raise ValueError(
                f"The model was made for {self.config.num_classes} classes and the data has {len(dataset.categories)} ({names}"
                f"{', …' if len(dataset.categories) > 10 else ''}). Make it with num_classes={len(dataset.categories)}."
            )
        self.config = fields.replace(self.config, categories=tuple(dataset.categories))


def _refuse_truth_beside(y: Any, *, class_weight: Any = None, sample_weight: Any = None, **_: Any) -> None:
    """Refuses what Keras would pass over: a batch holds its truth."""
    if class_weight is not None:
        raise ValueError(
            "class_weight is part of the model here: make it with box_head__class_weights=(1.0, 4.0), a number a class, or use "
            "maskrcnn.train(class_weights=…)."
        )
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(f"{name} has no meaning here: the data set holds the truth of its images; leave it out.")

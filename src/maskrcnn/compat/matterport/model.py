"""The model class of matterport/Mask_RCNN: `MaskRCNN` with its modes, its layers by name and its answers."""

from __future__ import annotations

import datetime
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from maskrcnn import api
from maskrcnn.compat.matterport.config import LOSSES, Config
from maskrcnn.compat.matterport.dataset import Dataset, LazySamples, as_rgb
from maskrcnn.compat.matterport.inputs import compose_image_meta as compose_image_meta
from maskrcnn.compat.matterport.inputs import load_image_gt as load_image_gt
from maskrcnn.compat.matterport.inputs import log as log
from maskrcnn.compat.matterport.inputs import mold_image as mold_image
from maskrcnn.compat.matterport.inputs import parse_image_meta as parse_image_meta
from maskrcnn.compat.matterport.inputs import parse_image_meta_graph as parse_image_meta_graph
from maskrcnn.compat.matterport.inputs import unmold_image as unmold_image
from maskrcnn.compat.matterport.successors import successors
from maskrcnn.config import fields, presets
from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.data.augment import make_augment
from maskrcnn.data.dataset import Dataset as Data
from maskrcnn.data.loader import Loader, make_loader
from maskrcnn.training.tensorboard import TensorBoard
from maskrcnn.weights import backbones
from maskrcnn.weights import models as model_files
from maskrcnn.weights.files.read import read_tensors
from maskrcnn.weights.projects import matterport as weights

LAYERS = {  # of `MaskRCNN.train`: what each word lets learn, by matterport's names of layers
    "heads": r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "5+": r"(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "all": ".*",
}

__getattr__ = successors(
    "model",
    {
        "BatchNorm": "keras.layers.BatchNormalization(trainable=False) does that.",
        "DataGenerator": "model.train makes its batches by itself; maskrcnn.data.loader.make_loader gives them.",
        "build_detection_targets": "model.keras_model.inspect(image, truth) shows what each proposal learns.",
        "build_rpn_targets": "model.keras_model.inspect(image, truth) shows what each anchor learns.",
        "data_generator": "model.train makes its batches by itself; maskrcnn.data.loader.make_loader gives them.",
        "fpn_classifier_graph": "maskrcnn.layers.BoxHead is that part of the network.",
        "build_fpn_mask_graph": "maskrcnn.layers.MaskHead is that part of the network.",
        "build_rpn_model": "maskrcnn.layers.RPN is that part of the network.",
        "resnet_graph": "maskrcnn.model.backbones.resnet builds it.",
    },
)

IMAGENET = "imagenet"  # what `get_imagenet_weights` gives and `load_weights` takes
_RUN = re.compile(r".*[/\\][\w-]+(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})[/\\]mask_rcnn_[\w-]+(\d{4})\.(?:h5|keras)")


class MaskRCNN:
    """matterport's model. `keras_model` is the network, with all that this package's models can do.

    Args:
        mode: `"training"` or `"inference"`.
        config: an instance of a subclass of `Config`.
        model_dir: folder of the runs: each run gets one in it, with a model an epoch.
    """

    def __init__(self, mode: str, config: Config, model_dir: str | Path) -> None:
        if mode not in ("training", "inference"):
            raise ValueError(f"mode is 'training' or 'inference'; received {mode!r}.")
        if config.NUM_CLASSES < 2:
            raise ValueError(f"NUM_CLASSES counts the background too and is at least 2; received {config.NUM_CLASSES}.")
        if config.IMAGE_CHANNEL_COUNT != 3:
            raise ValueError(f"Images have 3 channels here; received IMAGE_CHANNEL_COUNT={config.IMAGE_CHANNEL_COUNT}.")
        self.mode = mode
        self.config = config
        self.model_dir = str(model_dir)
        self.shapes = weights.shapes_of(config)
        self._has_backbone = False  # weights that were learned
        self.keras_model = api.MaskRCNN(_model_config(config, self.shapes))
        self.set_log_dir()

    # ── weights ──

    def load_weights(self, filepath: Any, by_name: bool = False, exclude: Iterable[str] | None = None) -> None:
        """Takes weights from matterport's `.h5`, from a `.keras` file of this package, or `get_imagenet_weights()`.

        Args:
            by_name: layers that the file lacks stay as they are.
            exclude: matterport's names of layers that stay as they are, such as those of other classes: `"mrcnn_class_logits"`,
                `"mrcnn_bbox_fc"`, `"mrcnn_mask"`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: for a file of another kind or of other shapes; then nothing is changed.
        """
        excluded = set(exclude or ())
        if str(filepath) == IMAGENET:
            backbones.put(backbones.imagenet(self.config.BACKBONE), self.keras_model.backbone)
            self._has_backbone = True
            return
        arrays = _arrays(Path(filepath), self.config)
        layers, found = weights.layer_names(self.shapes), []
        for weight in self._weights():
            layer = layers[weight.path.rpartition("/")[0]]
            if layer in excluded or (by_name and weight.path not in arrays):
                continue
            shape = arrays[weight.path].shape if weight.path in arrays else "nothing"
            if shape != tuple(weight.shape):
                raise ValueError(
                    f"{filepath} has {shape} for {layer!r} ({weight.path}), the model {tuple(weight.shape)}; a layer of other "
                    f"classes is left out with exclude=[{layer!r}]."
                )
            found.append(weight)
        for weight in found:
            weight.assign(arrays[weight.path])
        inside = {weight.path for weight in self.keras_model.backbone.weights}
        self._has_backbone = self._has_backbone or any(weight.path in inside for weight in found)
        self.set_log_dir(filepath)

    def get_imagenet_weights(self) -> str:
        """A word that `load_weights` takes for the ImageNet weights of Keras's cache, or their download."""
        return IMAGENET

    def find_last(self) -> str:
        """Path of the newest model of this config's newest run.

        Raises:
            FileNotFoundError: there is no run, or no model in it.
        """
        key = str(self.config.NAME).lower()
        root = Path(self.model_dir)
        runs = sorted(path for path in root.glob("*") if path.is_dir() and path.name.startswith(key))
        if not runs:
            raise FileNotFoundError(f"No run of {key!r} in {root}.")
        found = sorted(path for path in runs[-1].iterdir() if path.name.startswith("mask_rcnn"))
        if not found:
            raise FileNotFoundError(f"No model in {runs[-1]}.")
        return str(found[-1])

    def set_log_dir(self, model_path: Any = None) -> None:
        """The run's folder and epoch: a new run, or that of a model's path."""
        self.epoch = 0
        now = datetime.datetime.now()
        if (match := _RUN.match(str(model_path))) is not None:
            *date, epoch = (int(part) for part in match.groups())
            now, self.epoch = datetime.datetime(*date), epoch  # type: ignore[arg-type]
        name = str(self.config.NAME).lower()
        self.log_dir = str(Path(self.model_dir) / f"{name}{now:%Y%m%dT%H%M}")
        self.checkpoint_path = str(Path(self.log_dir) / f"mask_rcnn_{name}_*epoch*.keras")

    # ── training ──

    def train(
        self,
        train_dataset: Dataset,
        val_dataset: Dataset | None,
        learning_rate: float,
        epochs: int,
        layers: str,
        augmentation: Any = None,
        custom_callbacks: Sequence[keras.callbacks.Callback] | None = None,
        no_augmentation_sources: Any = None,
    ) -> keras.callbacks.History:
        """Trains up to epoch `epochs`, counted over all calls, and saves a model after each.

        Args:
            learning_rate: of SGD with the config's momentum, decay and clipping.
            layers: `"heads"`, `"3+"`, `"4+"`, `"5+"`, `"all"`, or a regular expression on matterport's names of layers.
            augmentation: None, or what `maskrcnn.data.augment.make_augment` takes: `"flip"`, `"photos"`, an `AugmentConfig`, a
                pipeline of Albumentations … Those of imgaug, which current NumPy ended, are refused.

        Raises:
            ValueError: in the mode "inference", for an augmentation that is none of these, for data of other classes.
        """
        if self.mode != "training":
            raise ValueError('Make the model with mode="training" to train it.')
        if type(augmentation).__module__.partition(".")[0] == "imgaug" or no_augmentation_sources is not None:
            raise ValueError(
                'Augmentations of imgaug and no_augmentation_sources have no counterpart here; give augmentation="flip" (its '
                "Fliplr(0.5)), an AugmentConfig or a pipeline of Albumentations."
            )
        batches = self._loader(train_dataset, augmentation)
        self.set_trainable(LAYERS.get(layers, layers))
        if not self._has_backbone and not all(layer.trainable for layer in self._convolutions()):
            warnings.warn(
                f"layers={layers!r} leaves a backbone of random weights as it is, on which nothing can be learned: call "
                'load_weights first, or train layers="all".',
                stacklevel=2,
            )
        self.compile(learning_rate, self.config.LEARNING_MOMENTUM)
        folder = Path(self.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        history = self.keras_model.fit(
            batches,
            validation_data=None if val_dataset is None else self._loader(val_dataset),
            steps_per_epoch=self.config.STEPS_PER_EPOCH,
            validation_steps=None if val_dataset is None else self.config.VALIDATION_STEPS,
            initial_epoch=self.epoch,
            epochs=epochs,
            callbacks=[_SaveEach(self.checkpoint_path), TensorBoard(Path(folder)), *(custom_callbacks or ())],
        )
        self.epoch = max(self.epoch, epochs)
        return history

    def set_trainable(self, layer_regex: str) -> None:
        """Lets those layers learn whose matterport names match, and no others. Frozen batch norm stays frozen."""
        names = weights.layer_names(self.shapes)
        frozen = self.keras_model.config.backbone.norm == "frozen"
        network = self.keras_model
        for part in (network.backbone, network.fpn, network.rpn, network.box_head, network.mask_head):
            part.trainable = True
            for layer in part._flatten_layers(include_self=False):
                if layer.weights:
                    norm = isinstance(layer, keras.layers.BatchNormalization)
                    name = names[layer.weights[0].path.rpartition("/")[0]]
                    layer.trainable = bool(re.fullmatch(layer_regex, name)) and not (norm and frozen)
        for weight in (network.mask_head.class_kernel, network.mask_head.class_bias):
            weight.trainable = bool(re.fullmatch(layer_regex, "mrcnn_mask"))

    def _convolutions(self) -> list[Any]:
        """The layers of the backbone that learn where it is not frozen."""
        layers = self.keras_model.backbone._flatten_layers(include_self=False)
        return [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]

    def compile(self, learning_rate: float, momentum: float) -> None:
        """SGD with the config's clipping and decay, which spares norms; the config's weights of the losses."""
        optimizer = keras.optimizers.SGD(
            learning_rate, momentum=momentum, clipnorm=self.config.GRADIENT_CLIP_NORM, weight_decay=self.config.WEIGHT_DECAY
        )
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta"])
        given = self.config.LOSS_WEIGHTS
        self.keras_model.compile(optimizer, loss_weights={ours: given.get(theirs, 1.0) for theirs, ours in LOSSES.items()})

    def _loader(self, dataset: Dataset, augmentation: Any = None) -> Loader:
        categories = tuple(Category(number, name) for number, name in enumerate(dataset.class_names) if number)
        data = Data(LazySamples(dataset), categories, name=type(dataset).__name__)  # type: ignore[arg-type]
        self.keras_model.adopt_categories(data)
        config = self.keras_model.config
        augment = make_augment(augmentation, config.image, data.samples)
        options: dict[str, Any] = {"batch_size": self.config.BATCH_SIZE, "augment": augment, "seed": self.epoch}
        return make_loader(data, config, shuffle=True, repeat=True, **options)

    # ── inference ──

    def detect(self, images: Sequence[np.ndarray], verbose: int = 0) -> list[dict[str, np.ndarray]]:
        """Finds objects in images of any size.

        Args:
            images: each (H, W, 3) RGB; any number of them.
            verbose: 1 prints their shapes.

        Returns:
            For each image a dict: `rois` (N, 4) int32 y1 x1 y2 x2, `class_ids` (N,) int32 from 1, `scores` (N,) float32,
            `masks` (H, W, N) bool; best first, in pixels of the image.
        """
        if self.mode != "inference":
            raise ValueError('Make the model with mode="inference" to detect.')
        colours = [as_rgb(image) for image in images]
        if verbose:
            sys.stdout.write(f"Processing {len(colours)} images\n" + "".join(f"{image.shape}\n" for image in colours))
        return [
            {
                "rois": found.boxes[:, [1, 0, 3, 2]].astype(np.int32),
                "class_ids": (found.labels + 1).astype(np.int32),
                "scores": found.scores,
                "masks": found.masks.transpose(1, 2, 0),
            }
            for found in self.keras_model.detect(colours, batch_size=self.config.BATCH_SIZE)
        ]

    def _weights(self) -> list[Any]:
        network = self.keras_model
        parts = (network.backbone, network.fpn, network.rpn, network.box_head, network.mask_head)
        return [weight for part in parts for weight in part.weights if weight.path.rpartition("/")[2] != "seed_generator_state"]


class _SaveEach(keras.callbacks.Callback):
    """A model after each epoch, whose number stands in its name."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        model_files.save(self.model, self.path.replace("*epoch*", f"{epoch + 1:04d}"))


def _model_config(config: Config, shapes: weights.Shapes) -> ModelConfig:
    numbers = {name: getattr(config, name) for name in weights.DEFAULTS}
    base = ModelConfig(presets.placeholder_categories(shapes.num_classes))
    return fields.replace(base, **weights.changes(numbers, shapes), backbone__frozen_stages=0)


def _arrays(path: Path, config: Config) -> dict[str, np.ndarray]:
    """A file's arrays by the paths of our weights."""
    if path.suffix == ".keras":
        model_files.read_config(path)
        model = keras.saving.load_model(path, compile=False)  # an optimizer saved with other layers frozen would not fit
        return {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    tensors = read_tensors(path).tensors
    if not weights.recognise(tensors):
        raise ValueError(f"{path} holds no Mask R-CNN of matterport; take such an .h5, or a .keras of this package.")
    return weights.read(tensors, config={"RPN_ANCHOR_RATIOS": config.RPN_ANCHOR_RATIOS}).arrays

"""matterport/Mask_RCNN's interface on this package: `Config`, `Dataset` and `MaskRCNN` as users' scripts call them.

Of a script only the imports change:

    from maskrcnn.compat.matterport import Config, modellib, utils   # was: from mrcnn.config import Config, and so on

    class BalloonConfig(Config): ...
    class BalloonDataset(utils.Dataset): ...
    model = modellib.MaskRCNN(mode="training", config=BalloonConfig(), model_dir="logs")
    model.load_weights("mask_rcnn_coco.h5", by_name=True, exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"])
    model.train(dataset_train, dataset_val, learning_rate=0.001, epochs=30, layers="heads")

Names, defaults and answers are that project's; the network, its losses and the reading of data are this package's.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from maskrcnn import api
from maskrcnn import config as configs
from maskrcnn.config import Category, ModelConfig
from maskrcnn.data import Dataset as Data
from maskrcnn.data.augment import make_augment
from maskrcnn.data.images import read_image
from maskrcnn.data.loader import Loader, make_loader
from maskrcnn.data.objects import TrueObject, make_sample
from maskrcnn.geometry.masks import mask_to_box, mask_to_rle
from maskrcnn.structures import Sample
from maskrcnn.training.tensorboard import TensorBoard
from maskrcnn.weights import backbones
from maskrcnn.weights import matterport as weights
from maskrcnn.weights import models as model_files
from maskrcnn.weights.files import read_tensors

modellib = utils = sys.modules[__name__]  # matterport's modules, whose names scripts use

LAYERS = {  # of `MaskRCNN.train`: what each word lets learn, by matterport's names of layers
    "heads": r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "5+": r"(res5.*)|(bn5.*)|(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)",
    "all": ".*",
}
LOSSES = {
    "rpn_class_loss": "rpn_objectness_loss",
    "rpn_bbox_loss": "rpn_box_loss",
    "mrcnn_class_loss": "class_loss",
    "mrcnn_bbox_loss": "box_loss",
    "mrcnn_mask_loss": "mask_loss",
}
IMAGENET = "imagenet"  # what `get_imagenet_weights` gives and `load_weights` takes
_RUN = re.compile(r".*[/\\][\w-]+(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})[/\\]mask_rcnn_[\w-]+(\d{4})\.(?:h5|keras)")


class Config:
    """A run's numbers, as class attributes that users' subclasses override. Each means what it means in matterport.

    Without a counterpart here, and so without effect: `USE_MINI_MASK`, `MINI_MASK_SHAPE` (true masks are cropped to their boxes
    in any case), `MAX_GT_INSTANCES`, `MASK_SHAPE` (it follows from `MASK_POOL_SIZE`) and `COMPUTE_BACKBONE_SHAPE`.
    """

    NAME: Any = None
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2
    STEPS_PER_EPOCH = 1000
    VALIDATION_STEPS = 50
    BACKBONE = "resnet101"
    COMPUTE_BACKBONE_SHAPE = None
    BACKBONE_STRIDES: Any = (4, 8, 16, 32, 64)
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024
    TOP_DOWN_PYRAMID_SIZE = 256
    NUM_CLASSES = 1
    RPN_ANCHOR_SCALES: Any = (32, 64, 128, 256, 512)
    RPN_ANCHOR_RATIOS: Any = (0.5, 1, 2)
    RPN_ANCHOR_STRIDE = 1
    RPN_NMS_THRESHOLD = 0.7
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256
    PRE_NMS_LIMIT = 6000
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000
    USE_MINI_MASK = True
    MINI_MASK_SHAPE: Any = (56, 56)
    IMAGE_RESIZE_MODE = "square"
    IMAGE_MIN_DIM = 800
    IMAGE_MAX_DIM = 1024
    IMAGE_MIN_SCALE: Any = 0
    IMAGE_CHANNEL_COUNT = 3
    MEAN_PIXEL: Any = np.array([123.7, 116.8, 103.9])
    TRAIN_ROIS_PER_IMAGE = 200
    ROI_POSITIVE_RATIO = 0.33
    POOL_SIZE = 7
    MASK_POOL_SIZE = 14
    MASK_SHAPE: Any = (28, 28)
    MAX_GT_INSTANCES = 100
    RPN_BBOX_STD_DEV: Any = np.array([0.1, 0.1, 0.2, 0.2])
    BBOX_STD_DEV: Any = np.array([0.1, 0.1, 0.2, 0.2])
    DETECTION_MAX_INSTANCES = 100
    DETECTION_MIN_CONFIDENCE: Any = 0.7
    DETECTION_NMS_THRESHOLD = 0.3
    LEARNING_RATE = 0.001
    LEARNING_MOMENTUM = 0.9
    WEIGHT_DECAY = 0.0001
    LOSS_WEIGHTS: Any = dict.fromkeys(LOSSES, 1.0)
    USE_RPN_ROIS = True
    TRAIN_BN: Any = False
    GRADIENT_CLIP_NORM = 5.0

    def __init__(self) -> None:
        self.BATCH_SIZE = self.IMAGES_PER_GPU * self.GPU_COUNT
        side = self.IMAGE_MIN_DIM if self.IMAGE_RESIZE_MODE == "crop" else self.IMAGE_MAX_DIM
        self.IMAGE_SHAPE = np.array([side, side, self.IMAGE_CHANNEL_COUNT])
        self.IMAGE_META_SIZE = 1 + 3 + 3 + 4 + 1 + self.NUM_CLASSES

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in sorted(dir(self)) if name.isupper()}

    def display(self) -> None:
        """Prints every number."""
        sys.stdout.write("\nConfigurations:\n")
        for name, value in self.to_dict().items():
            sys.stdout.write(f"{name:30} {value}\n")
        sys.stdout.write("\n")


class Dataset:
    """Pictures and their truth as users' subclasses give them.

    `load_image` and `load_mask` are asked when a picture is needed, from several threads at a time.
    """

    def __init__(self, class_map: Any = None) -> None:
        del class_map  # matterport's has no effect either
        self._image_ids: np.ndarray = np.array([], int)
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}

    def add_class(self, source: str, class_id: Any, class_name: str) -> None:
        if "." in source:
            raise ValueError(f"The name of a source has no dot; received {source!r}.")
        if not any(known["source"] == source and known["id"] == class_id for known in self.class_info):
            self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def add_image(self, source: str, image_id: Any, path: Any, **kwargs: Any) -> None:
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def image_reference(self, image_id: int) -> str:
        """For a person to find the picture again; subclasses say how."""
        del image_id
        return ""

    def prepare(self, class_map: Any = None) -> None:
        """Numbers classes and pictures; called once all are added."""
        del class_map
        self.num_classes = len(self.class_info)
        self.class_ids = np.arange(self.num_classes)
        self.class_names = [",".join(str(info["name"]).split(",")[:1]) for info in self.class_info]
        self.num_images = len(self.image_info)
        self._image_ids = np.arange(self.num_images)
        self.class_from_source_map = {
            f"{info['source']}.{info['id']}": number for number, info in zip(self.class_ids, self.class_info)
        }
        self.image_from_source_map = {
            f"{info['source']}.{info['id']}": number for number, info in zip(self._image_ids, self.image_info)
        }
        self.sources = list({info["source"] for info in self.class_info})
        self.source_class_ids = {
            source: [number for number, info in enumerate(self.class_info) if number == 0 or info["source"] == source]
            for source in self.sources
        }

    def map_source_class_id(self, source_class_id: str) -> int:
        """Number of the class "source.id"."""
        return int(self.class_from_source_map[source_class_id])

    def get_source_class_id(self, class_id: int, source: str) -> Any:
        """The source's own id of a class."""
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(f"Class {class_id} is of {info['source']!r}, not of {source!r}.")
        return info["id"]

    @property
    def image_ids(self) -> np.ndarray:
        return self._image_ids

    def source_image_link(self, image_id: int) -> Any:
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> np.ndarray:
        """(H, W, 3) RGB; by default read from the picture's path."""
        return read_image(self.image_info[image_id]["path"])

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, N) masks and the (N,) numbers of their classes; subclasses say which."""
        del image_id
        return np.empty([0, 0, 0]), np.empty([0], np.int32)


class _Samples(Sequence[Sample]):
    """A user's data set as samples, each made when it is asked for: no more pictures are held than are in use."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset.image_ids)

    def __getitem__(self, index: Any) -> Any:
        image_id = self.dataset.image_ids[index]
        image = _as_rgb(self.dataset.load_image(image_id))
        masks, class_ids = self.dataset.load_mask(image_id)
        masks, class_ids = np.asarray(masks), np.asarray(class_ids, np.int64)
        name = f"Picture {image_id} ({self.dataset.image_info[image_id]['path']})"
        if masks.ndim != 3 or masks.shape[2] != len(class_ids) or (len(class_ids) and masks.shape[:2] != image.shape[:2]):
            raise ValueError(
                f"{name} has shape {image.shape}, masks of shape {masks.shape} and {len(class_ids)} classes; load_mask gives "
                "(height, width, N) and N."
            )
        if len(class_ids) and not (abs(class_ids) > 0).all() & (abs(class_ids) < len(self.dataset.class_info)).all():
            raise ValueError(
                f"{name} has classes {np.unique(class_ids).tolist()}; known are 1 to {len(self.dataset.class_info) - 1}."
            )
        objects = []
        for number, class_id in enumerate(class_ids):
            mask = masks[:, :, number] != 0
            if mask.any():  # as matterport, which leaves out what cropping emptied
                label, crowd = int(abs(class_id)) - 1, bool(class_id < 0)  # its COCO example marks crowds so
                objects.append(TrueObject(mask_to_box(mask), label, crowd, mask_to_rle(mask), float(mask.sum()), number + 1))
        sample = make_sample(int(image_id), str(image_id), Path(str(image_id)), image.shape[:2], objects)
        return sample.replace(image=image)


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
            raise ValueError(f"Pictures have 3 channels here; received IMAGE_CHANNEL_COUNT={config.IMAGE_CHANNEL_COUNT}.")
        self.mode = mode
        self.config = config
        self.model_dir = str(model_dir)
        self.shapes = weights.shapes_of(config)
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
        data = Data(_Samples(dataset), categories, name=type(dataset).__name__)  # type: ignore[arg-type]
        self.keras_model.adopt_categories(data)
        config = self.keras_model.config
        augment = make_augment(augmentation, config.image, data.samples)
        options: dict[str, Any] = {"batch_size": self.config.BATCH_SIZE, "augment": augment, "seed": self.epoch}
        return make_loader(data, config, shuffle=True, repeat=True, **options)

    # ── inference ──

    def detect(self, images: Sequence[np.ndarray], verbose: int = 0) -> list[dict[str, np.ndarray]]:
        """Finds objects in pictures of any size.

        Args:
            images: each (H, W, 3) RGB; any number of them.
            verbose: 1 prints their shapes.

        Returns:
            For each picture a dict: `rois` (N, 4) int32 y1 x1 y2 x2, `class_ids` (N,) int32 from 1, `scores` (N,) float32,
            `masks` (H, W, N) bool; best first, in pixels of the picture.
        """
        if self.mode != "inference":
            raise ValueError('Make the model with mode="inference" to detect.')
        pictures = [_as_rgb(image) for image in images]
        if verbose:
            sys.stdout.write(f"Processing {len(pictures)} images\n" + "".join(f"{picture.shape}\n" for picture in pictures))
        return [
            {
                "rois": found.boxes[:, [1, 0, 3, 2]].astype(np.int32),
                "class_ids": (found.labels + 1).astype(np.int32),
                "scores": found.scores,
                "masks": found.masks.transpose(1, 2, 0),
            }
            for found in self.keras_model.detect(pictures, batch_size=self.config.BATCH_SIZE)
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
    base = ModelConfig(configs.placeholder_categories(shapes.num_classes))
    return configs.replace(base, **weights.changes(numbers, shapes), backbone__frozen_stages=0)


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


def _as_rgb(image: Any) -> np.ndarray:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4), 0 to 255 → (H, W, 3) uint8; grey is repeated and transparency dropped."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise ValueError(f"A picture is an (H, W, 3), (H, W, 4) or (H, W) array; received shape {image.shape}.")
    image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]
    if image.dtype != np.uint8:
        image = np.clip(np.round(image), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image)


__all__: Sequence[str] = ("Config", "Dataset", "MaskRCNN", "modellib", "utils")

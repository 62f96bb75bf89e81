"""The model people hold: the network with doors to presets, files, and images of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import keras

from maskrcnn import memory
from maskrcnn.config.model import Category
from maskrcnn.exporting.export import Difference, Format, export
from maskrcnn.fitting import FittableNetwork
from maskrcnn.inference import whole
from maskrcnn.inference.detections import Detections
from maskrcnn.inference.inspection import Inspection, inspect
from maskrcnn.initialization import Start, open_model
from maskrcnn.structures import Sample
from maskrcnn.weights.finding import published_model


@keras.saving.register_keras_serializable(package="maskrcnn", name="MaskRCNN")
class MaskRCNN(FittableNetwork):
    """Mask R-CNN with a feature pyramid (He et al. 2017; Lin et al. 2017).

    Create it with `from_preset`, `from_checkpoint` or `load_model`. The constructor gives random weights.

    Args:
        config: all parameters of the model.
        backbone: instead of the one that `config.backbone` names, any Keras model with maps of strides 4 to 32.
        seed: of random weights and of sampling in training; None: a different one each time.
        **kwargs: of `keras.Model`, such as `name`.

    Example:
        ```python
        model = maskrcnn.MaskRCNN.from_preset("resnet50_fpn", num_classes=2)
        model.compile(optimizer="adam")
        model.fit("train.json", validation_data="val.json", epochs=10)
        detections = model.detect("image.jpg")
        ```
    """

    @classmethod
    def from_preset(
        cls,
        preset: str,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str | Category] | None = None,
        input_channels: int | None = None,
        backbone: keras.Model | None = None,
        weights: str | Path | None = "auto",
        seed: int | None = None,
        log: Callable[[str], None] = print,
        **changes: Any,
    ) -> MaskRCNN:
        """A model for your classes.

        Args:
            preset: one of `maskrcnn.config.presets.PRESETS`, such as `"resnet50_fpn"`, `"efficientnet_lite2_fpn"` or
                `"swin_tiny_fpn"`; or `"nuclei"`, the trained model included in the package, whose own class is used if
                neither of the next two is given.
            num_classes: number of classes without background; the first data set passed to `fit` names them.
            class_names: their names, instead of a number.
            input_channels: of the images; if None 3, or the trained model's own. Weights for another number are inflated,
                see `maskrcnn.weights.stem`, which is logged.
            backbone: instead of the preset's, any Keras model with maps of strides 4 to 32: one of `keras.applications` or
                KerasHub, or your own. It is copied with its weights, and saved inside the `.keras` file. Its tensors C2 … C5
                are found automatically, or named with `backbone__levels=(names of four layers)`. Colors are normalized by
                its own preprocessing layers or as in `keras.applications`, unless `image__mean` and `image__std` are given;
                frozen stages stay frozen, unless `backbone__frozen_stages` is given.
            weights: `"auto"` starts from an ImageNet backbone from an installed package, the cache or a download, and if
                none is available warns and starts from random weights; `"imagenet"` raises an error instead; a file or a
                published name contains a backbone (of Keras, torchvision or timm) or a complete maskrcnn model of this
                preset; None is random. With random weights, batch norm is live and nothing is frozen, unless `changes` says
                otherwise. For a complete model of another project or architecture, use `from_checkpoint`.
            seed: of random weights and of the sampling in training; also seeds Python, NumPy and the backend. None draws one.
            log: receives lines about what was found, loaded and newly initialized.
            **changes: fields of `ModelConfig`, `section__field=value`, such as `detect__max_detections=400`.

        Raises:
            ValueError: an unknown preset or field, missing or contradicting classes, weights that do not fit.
            FileNotFoundError: no such weights file.
            ConnectionError: `"imagenet"` weights are not available.
        """
        start = Start(cls, input_channels, seed, log, changes)
        return start.from_preset(preset, num_classes, class_names, backbone, weights)  # type: ignore[return-value]

    @classmethod
    def from_checkpoint(
        cls,
        file: str | Path,
        *,
        source: str = "auto",
        class_names: Sequence[str | Category] | None = None,
        new_classes: Sequence[str | Category] | None = None,
        input_channels: int | None = None,
        matterport_config: Any = None,
        seed: int | None = None,
        log: Callable[[str], None] = print,
        **changes: Any,
    ) -> MaskRCNN:
        """A complete model from a checkpoint of torchvision, detectron2, MMDetection, matterport/Mask_RCNN or this package.

        It reproduces the original's results: the project's conventions become the model's configuration.

        Args:
            file: `.pth`, `.pkl`, `.safetensors`, `.h5`, `.keras`, the folder of a training run; or a name of
                `maskrcnn.weights.published`: `"nuclei"`, or one of `PUBLISHED`, which is downloaded on first use.
            source: `"torchvision"`, `"detectron2"`, `"mmdet"`, `"matterport"`, or `"auto"`: recognized by tensor names.
            class_names: names of the file's classes without background, if they are not in the file or COCO's.
            new_classes: the classes to learn. If they differ from the file's, rows of classes with the same name are
                kept, and the others start from random values, which is logged.
            input_channels: of the images; if None the file's, otherwise the first convolution is inflated, see
                `maskrcnn.weights.stem`.
            matterport_config: the settings of a matterport checkpoint: its `Config`, or a dict with its names.
            seed: of layers with new random weights, and of the sampling in training.
            log: receives lines about what was found, assumed, loaded, ignored and newly initialized.
            **changes: fields of `ModelConfig`, `section__field=value`, over the file's conventions.

        Raises:
            FileNotFoundError, ConnectionError: no such file, or it cannot be downloaded.
            ValueError: a file that is damaged, of an unknown project, or does not fit; one line that names the tensor.
        """
        start = Start(cls, input_channels, seed, log, changes)
        return start.from_checkpoint(  # type: ignore[return-value]
            file, source=source, class_names=class_names, new_classes=new_classes, matterport_config=matterport_config
        )

    def detect(self, images: Any, *, batch_size: int = 1, score: whole.Score = None) -> list[Detections]:
        """Finds objects in images of any size.

        Args:
            images: a path, a folder or a glob; the bytes of an image file, or an open one; an (H, W, C) or (H, W) array or
                tensor of values from 0 to 255, a (B, H, W, C) one, a Pillow image; or an iterable of those. C is the
                model's `config.image.channels`. A model of 3 channels repeats gray, one of 1 uses RGB's luma.
            batch_size: images processed by the model together.
            score: lowest score; if None the model's `config.detect.score`, below which nothing is kept in any case; `"auto"`:
                each class's best threshold, which `maskrcnn evaluate --save-scores` stored in the model.

        Returns:
            One `Detections` per image, in original pixels. `maskrcnn.inference.whole.detect` yields them one by one.

        Raises:
            ValueError: for an array that is not an image, or a file that cannot be read.
        """
        return list(whole.detect(self, images, batch_size=batch_size, score=score))

    def check_memory(self, frame: tuple[int, int], batch_size: int) -> None:
        """Checks that a batch fits in memory; `detect` does so before it begins.

        Args:
            frame: height and width of the padded images, in pixels.
            batch_size: images that go through the network together.

        Raises:
            MemoryError: it does not fit; one line, with a setting that would.
        """
        memory.check_inference(self.config, self.count_params(), frame, batch_size)

    def inspect(self, image: Any, truth: Sample | None = None) -> Inspection:
        """Every stage of one image's way through the network: `model.inspect("cells.png").proposals.plot()`.

        Args:
            image: a path, an (H, W, C) or (H, W) uint8 array, or a Pillow image.
            truth: its ground truth, with labels that index the model's classes: `dataset.with_categories(
                model.config.categories).samples[0]`. Then `inspection.explain(3)` says why its object 3 was missed.

        Raises:
            ValueError: not an image, or ground truth of another size.
        """
        return inspect(self, image, truth)

    def export(self, path: str | Path, *, format: Format, **options: Any) -> Difference:
        """Exports the model to another runtime, including classes and preprocessing, and checks the result.

        Args:
            path: the file or folder to write.
            format: `"saved-model"`, `"openvino"`, `"litert"`, `"onnx"` or `"torch"`.
            **options: of `maskrcnn.export`, such as `precision`.

        Returns:
            The largest differences from this model, see `maskrcnn.export`.
        """
        return export(self, path, format=format, **options)

    def __repr__(self) -> str:
        config = self.config
        names = ", ".join(config.class_names[:5]) + (", …" if config.num_classes > 5 else "")
        return (
            f"MaskRCNN({config.backbone.name}, {config.num_classes} classes: {names}; {config.image.channels} channels, "
            f"short side {config.image.short_side}; {self.count_params():,} weights)"
        )

    def _repr_html_(self) -> str:
        """A table of what matters, as a notebook shows it."""
        config = self.config
        rows = {
            "backbone": config.backbone.name,
            "classes": ", ".join(config.class_names),
            "input": f"{config.image.channels} channels, sides {config.image.short_side} to {config.image.long_side}",
            "detections": f"at most {config.detect.max_detections} an image, from score {config.detect.score:g} up",
            "weights": f"{self.count_params():,}",
        }
        cells = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
        return f"<table>{cells}</table>"


def load_model(path: str | Path, *, compile: bool = True) -> MaskRCNN:
    """Loads a complete model saved by `model.save`: weights, classes, preprocessing, and compile settings.

    `keras.saving.load_model` works too, once `from maskrcnn import MaskRCNN` has registered the class with Keras (`import
    maskrcnn` alone does not import Keras).

    Args:
        path: a `.keras` file; the folder of a training run, whose `best.keras` or otherwise `last.keras` is loaded;
            `"nuclei"`, the included model; or the name of a published model, as in `from_checkpoint`.
        compile: restore loss and optimizer, to continue training. If they are custom and not registered with Keras, the
            model is loaded without them, with a warning.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a model of this package, or a damaged one.
    """
    published = published_model(path)
    if published is not None:
        return MaskRCNN.from_checkpoint(published)
    model = open_model(path, MaskRCNN, compile=compile)
    assert isinstance(model, MaskRCNN)
    return model

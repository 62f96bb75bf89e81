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

    `from_preset`, `from_checkpoint` and `load_model` make one. The constructor gives random weights.

    Args:
        config: every number of the model.
        backbone: instead of the one that `config.backbone` names, any Keras model with maps of strides 4 to 32.
        seed: of random weights and of sampling in training; None: another one each time.
        **kwargs: of `keras.Model`, such as `name`.

    Example:
        ```python
        model = maskrcnn.MaskRCNN.from_preset("resnet50_fpn", num_classes=2)
        model.compile(optimizer="adam", loss="binary_crossentropy")
        model.fit(train_data, validation_data=val_data, epochs=10)
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
                `"swin_tiny_fpn"`; or `"nuclei"`, a trained model that comes with the package, which has a class of its own
                where neither of the next two is given.
            num_classes: number of classes, background not counted; a data set names them when `fit` first sees it.
            class_names: their names, instead of a number.
            input_channels: of the images; 3 where None, or the trained model's own. Weights that were learned on others are
                inflated, see `maskrcnn.weights.stem`, and `log` is told.
            backbone: instead of the preset's, any Keras model with maps of strides 4 to 32: one of `keras.applications` or
                KerasHub, or your own. It is copied with its weights, and saved inside the `.keras` file. Which of its tensors
                are C2 … C5 is found, or said with `backbone__levels=(names of four layers)`; its colors are its own
                preprocessing layers' or those of its kind in `keras.applications`, unless `image__mean` and `image__std` say
                otherwise; stages that it has frozen stay frozen, unless `backbone__frozen_stages` says otherwise.
            weights: `"auto"` starts from an ImageNet backbone out of an installed package, a cache or a download, and if none
                can be had warns and starts from random weights; `"imagenet"` insists; a file, or a published name, holds a
                backbone (of Keras, torchvision or timm) or a whole maskrcnn model of this preset; None is random. With random
                weights batch norm is live and nothing frozen, unless `changes` says otherwise. A whole model of another
                project, or of another architecture, is `from_checkpoint`'s.
            seed: of random weights and of the sampling in training; seeds Python, NumPy and the backend too. None draws one.
            **changes: fields of `ModelConfig`, `section__field=value`, such as `detect__max_detections=400`.

        Raises:
            ValueError: an unknown preset or field, no or contradicting classes, weights that do not fit.
            FileNotFoundError: no such weights file.
            ConnectionError: `"imagenet"` that cannot be had.
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
        """A whole model from a file that torchvision, detectron2, MMDetection, matterport/Mask_RCNN or this package wrote.

        It answers as the original does: the project's conventions become the model's configuration.

        Args:
            file: `.pth`, `.pkl`, `.safetensors`, `.h5`, `.keras`, the folder of a training run; or a name of
                `maskrcnn.weights.published`: `"nuclei"`, or one of `PUBLISHED`, which is downloaded on first use.
            source: `"torchvision"`, `"detectron2"`, `"mmdet"`, `"matterport"`, or `"auto"`: told by the tensors' names.
            class_names: what the file's classes are called, background not counted, where the file or COCO does not say it.
            new_classes: the classes to learn now. Where they differ from the file's, rows of classes with the same name are
                carried over, the others start anew, and `log` is told.
            input_channels: of the images; the file's where None, else the first convolution is inflated, see
                `maskrcnn.weights.stem`.
            matterport_config: the numbers a matterport file was trained with: their `Config`, or a dict in their names.
            seed: of layers that start anew, and of the sampling in training.
            log: told line by line what was found, assumed, loaded, left out and made anew.
            **changes: fields of `ModelConfig`, `section__field=value`, over the file's conventions.

        Raises:
            FileNotFoundError, ConnectionError: no such file, or it cannot be downloaded.
            ValueError: a file that is damaged, of no known project, or does not fit; one line that names the tensor.
        """
        start = Start(cls, input_channels, seed, log, changes)
        return start.from_checkpoint(  # type: ignore[return-value]
            file, source=source, class_names=class_names, new_classes=new_classes, matterport_config=matterport_config
        )

    def detect(self, images: Any, *, batch_size: int = 1, score: whole.Score = None) -> list[Detections]:
        """Finds objects in images of any size.

        Args:
            images: a path, a folder or a glob; the bytes of an image file, or an open one; an (H, W, C) or (H, W) array or
                tensor of values from 0 to 255, a (B, H, W, C) one, an image of Pillow; or an iterable of those. C is the
                model's `config.image.channels`. A model of 3 channels repeats gray, one of 1 takes RGB's luma.
            batch_size: images that go through the model together.
            score: least score; the model's own `config.detect.score` where None, below which nothing is kept anyway; `"auto"`:
                of each class the best that the model holds, which `maskrcnn evaluate --save-scores` writes into it.

        Returns:
            One `Detections` an image, in original pixels. `maskrcnn.inference.whole.detect` yields them one by one.

        Raises:
            ValueError: for an array that is no image, or a file that cannot be read.
        """
        return list(whole.detect(self, images, batch_size=batch_size, score=score))

    def check_memory(self, frame: tuple[int, int], batch_size: int) -> None:
        """Whether a batch fits in memory; `detect` asks before it begins.

        Args:
            frame: height and width of the padded images, in pixels.
            batch_size: images that go through the network together.

        Raises:
            MemoryError: it does not fit; one line, with a setting with which it would.
        """
        memory.check_inference(self.config, self.count_params(), frame, batch_size)

    def inspect(self, image: Any, truth: Sample | None = None) -> Inspection:
        """Every stage of one image's way through the network: `model.inspect("cells.png").proposals.plot()`.

        Args:
            image: a path, an (H, W, C) or (H, W) uint8 array, or an image of Pillow.
            truth: its ground truth, with labels that count in the model's classes: `dataset.with_categories(
                model.config.categories).samples[0]`. Then `inspection.explain(3)` says why its object 3 was missed.

        Raises:
            ValueError: what is no image, or ground truth of another size.
        """
        return inspect(self, image, truth)

    def export(self, path: str | Path, *, format: Format, **options: Any) -> Difference:
        """Writes the model for another runtime, with classes and preprocessing inside it, and checks what was written.

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
    """A whole model as `model.save` wrote it: weights, classes, preprocessing, and how it was compiled.

    `keras.saving.load_model` opens it too, once `from maskrcnn import MaskRCNN` has registered the class with Keras: `import
    maskrcnn` alone imports no Keras.

    Args:
        path: a `.keras` file; the folder of a training run, which means its `best.keras`, else its `last.keras`; `"nuclei"`,
            the model that comes with the package; or the name of a published model, which `from_checkpoint` opens.
        compile: with its loss and optimizer, to go on training. Where they are your own and not registered with Keras, the
            model comes without them, and a warning says so.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: not a model of this package, or a damaged one.
    """
    published = published_model(path)
    if published is not None:
        return MaskRCNN.from_checkpoint(published)
    model = open_model(path, MaskRCNN, compile=compile)
    assert isinstance(model, MaskRCNN)
    return model

"""Whole configurations by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from maskrcnn.config.backbones import CONVNEXTS, EFFICIENTNETS, SWINS, VITDETS
from maskrcnn.config.fields import replace
from maskrcnn.config.keypoints import PERSON
from maskrcnn.config.model import (
    BackboneConfig,
    BoxHeadConfig,
    CascadeConfig,
    Category,
    FpnConfig,
    ImageConfig,
    MaskHeadConfig,
    ModelConfig,
    RoiSamplerConfig,
    RpnConfig,
)

# keras.applications' ResNets were trained on Caffe's colors: blue first, means taken off, no scaling.
CAFFE_COLOURS = {"channel_order": "bgr", "mean": (123.68, 116.779, 103.939), "std": (1.0, 1.0, 1.0)}


def _resnet_fpn(name: Literal["resnet50", "resnet101"], categories: tuple[Category, ...]) -> ModelConfig:
    """Mask R-CNN as published, on the ResNet of `keras.applications`."""
    return ModelConfig(categories, image=ImageConfig(**CAFFE_COLOURS), backbone=BackboneConfig(name=name))  # type: ignore[arg-type]


def _torch_resnet_fpn(backbone: BackboneConfig, categories: tuple[Category, ...]) -> ModelConfig:
    """Mask R-CNN as published, on a ResNet that torchvision or timm trained: RGB with ImageNet's mean and deviation."""
    return ModelConfig(categories, backbone=replace(backbone, stride_in="3x3", conv_bias=False, epsilon=1e-5))


def _modern_fpn(name: str, categories: tuple[Category, ...]) -> ModelConfig:
    """ConvNeXt or Swin in Mask R-CNN: nothing frozen, and layer norms behind C2 … C5.

    Sources: `object_detection` of facebookresearch/ConvNeXt, SwinTransformer/Swin-Transformer-Object-Detection.
    """
    return ModelConfig(categories, backbone=BackboneConfig(name=name, frozen_stages=0, output_norm=True))


def _small_fpn(name: str, mean: float, std: float, categories: tuple[Category, ...]) -> ModelConfig:
    """A small model for machines without a GPU: half the width after the backbone, a quarter of the RoIs."""
    return ModelConfig(
        categories,
        image=ImageConfig(short_side=512, long_side=853, mean=(mean,) * 3, std=(std,) * 3),
        backbone=BackboneConfig(name=name, frozen_stages=1),
        fpn=FpnConfig(channels=128),
        rpn=RpnConfig(train_top_k=1000, train_proposals=500, top_k=500, proposals=500),
        roi_sampler=RoiSamplerConfig(num_sampled=128),
        box_head=BoxHeadConfig(hidden=512),
        mask_head=MaskHeadConfig(channels=128),
    )


def _keypoint_fpn(categories: tuple[Category, ...]) -> ModelConfig:
    """Keypoint R-CNN (Mask R-CNN, section 5) as torchvision publishes it, without masks; keypoints as the classes name them."""
    num_keypoints = next((len(category.keypoints) for category in categories if category.keypoints), len(PERSON))
    config = _resnet_fpn("resnet50", categories)
    return replace(config, mask_head__kind="none", keypoint_head__num_keypoints=num_keypoints)


def _point_rend_fpn(categories: tuple[Category, ...]) -> ModelConfig:
    """PointRend (Kirillov et al. 2020) on the pyramid of ResNet-50, with masks of 224×224."""
    return replace(_resnet_fpn("resnet50", categories), mask_head__kind="point_rend", mask_head__mask_size=224)


def _deformable_fpn(categories: tuple[Category, ...]) -> ModelConfig:
    """ResNet-50 with modulated deformable convolutions in C3 … C5; Zhu et al. 2019, section 4, and MMDetection's `dcnv2`."""
    return replace(_resnet_fpn("resnet50", categories), backbone__deformable="modulated")


def _small_imagenet_fpn(name: str, categories: tuple[Category, ...]) -> ModelConfig:
    """As `_small_fpn`, in ImageNet's mean and deviation."""
    config = _small_fpn(name, 0.0, 1.0, categories)
    return replace(config, image__mean=ImageConfig.mean, image__std=ImageConfig.std)


def _efficientnet_fpn(name: str, categories: tuple[Category, ...]) -> ModelConfig:
    """EfficientNet as `keras.applications` has it: V2-S and V2-M at Mask R-CNN's size, in pixels from -1 to 1; others small."""
    if name in ("efficientnet_v2_s", "efficientnet_v2_m"):
        image = ImageConfig(mean=(128.0,) * 3, std=(128.0,) * 3)
        return ModelConfig(categories, image=image, backbone=BackboneConfig(name=name, epsilon=1e-3))
    return replace(_small_imagenet_fpn(name, categories), backbone__epsilon=1e-3)


def _vitdet_fpn(name: str, categories: tuple[Category, ...]) -> ModelConfig:
    """ViTDet: a plain vision transformer, a pyramid of its last map alone, and layer norms in the heads.

    Source: Li et al. 2022; detectron2's `configs/common/models/mask_rcnn_vitdet.py`. There images are 1024 pixels square.
    """
    return ModelConfig(
        categories,
        image=ImageConfig(short_side=1024, long_side=1024, frame="square"),
        backbone=BackboneConfig(name=name, frozen_stages=0),
        fpn=FpnConfig(norm="layer", epsilon=1e-6, top_down=False),
        rpn=RpnConfig(num_convs=2),
        box_head=BoxHeadConfig(kind="4conv1fc", norm="layer", epsilon=1e-6),
        mask_head=MaskHeadConfig(norm="layer", epsilon=1e-6),
    )


# The further stages of Cascade R-CNN, section 4.3, with detectron2's numbers.
CASCADE = CascadeConfig(positive_ious=(0.6, 0.7), delta_weights=((20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)))


def _cascade(build: Callable[[tuple[Category, ...]], ModelConfig], categories: tuple[Category, ...]) -> ModelConfig:
    """A published model with three box heads in a row. detectron2's `configs/Misc/cascade_mask_rcnn_R_50_FPN_3x.yaml`."""
    return replace(build(categories), cascade=CASCADE, box_head__class_agnostic=True, rpn__train_proposals=2000)


PRESETS: dict[str, Callable[[tuple[Category, ...]], ModelConfig]] = {
    "resnet50_fpn": partial(_resnet_fpn, "resnet50"),
    "resnet101_fpn": partial(_resnet_fpn, "resnet101"),
    "keypoint_resnet50_fpn": _keypoint_fpn,
    "pointrend_resnet50_fpn": _point_rend_fpn,
    "deformable_resnet50_fpn": _deformable_fpn,
    "mobilenet_v2_fpn": partial(_small_fpn, "mobilenet_v2", 127.5, 127.5),
    # tensorflow/tpu's `efficientnet_lite_builder.py`: MEAN_RGB and STDDEV_RGB
    "efficientnet_lite0_fpn": partial(_small_fpn, "efficientnet_lite0", 127.0, 128.0),
    "efficientnet_lite2_fpn": partial(_small_fpn, "efficientnet_lite2", 127.0, 128.0),
    "mobilenet_v3_large_fpn": partial(_small_imagenet_fpn, "mobilenet_v3_large"),  # torchvision trained it
    **{f"{name}_fpn": partial(_efficientnet_fpn, name) for name in EFFICIENTNETS},
    "resnet18_fpn": partial(_torch_resnet_fpn, BackboneConfig(name="resnet18")),
    "resnet34_fpn": partial(_torch_resnet_fpn, BackboneConfig(name="resnet34")),
    "resnet50d_fpn": partial(_torch_resnet_fpn, BackboneConfig(name="resnet50d")),
    "resnet101d_fpn": partial(_torch_resnet_fpn, BackboneConfig(name="resnet101d")),
    "resnext101_32x8d_fpn": partial(_torch_resnet_fpn, BackboneConfig(name="resnet101", groups=32, width_per_group=8)),
    "resnext101_64x4d_fpn": partial(_torch_resnet_fpn, BackboneConfig(name="resnet101", groups=64, width_per_group=4)),
    "regnetx_4gf_fpn": partial(_torch_resnet_fpn, BackboneConfig(name="regnetx_4gf")),
    **{f"{name}_fpn": partial(_modern_fpn, name) for name in (*CONVNEXTS, *SWINS)},
    **{f"{name}_fpn": partial(_vitdet_fpn, name) for name in VITDETS},
    "cascade_resnet50_fpn": partial(_cascade, partial(_resnet_fpn, "resnet50")),
    "cascade_resnet101_fpn": partial(_cascade, partial(_resnet_fpn, "resnet101")),
}


def preset(name: str, categories: tuple[Category, ...], *, input_channels: int = 3) -> ModelConfig:
    """The configuration of a published model for these classes, and for images of so many channels.

    Raises:
        ValueError: for a name that is none of `PRESETS`.
    """
    if name not in PRESETS:
        raise ValueError(f"Unknown preset {name!r}; possible: {', '.join(PRESETS)}, or the trained model nuclei.")
    return with_channels(PRESETS[name](categories), input_channels)


def with_channels(config: ModelConfig, channels: int) -> ModelConfig:
    """The same model for images of another number of channels.

    Every channel gets the average of the old means and standard deviations: as for the first convolution (`weights.stem`),
    nobody knows which of the old channels it resembles. That convolution begins blind to what tells several channels apart, so
    it has to learn, and no stage of the backbone stays frozen.
    """
    image = config.image
    if channels == image.channels:
        return config
    changes: dict[str, Any] = {
        "image__channels": channels,
        "image__mean": (sum(image.mean) / image.channels,) * channels,
        "image__std": (sum(image.std) / image.channels,) * channels,
        "image__channel_order": "rgb",
        "image__scaling": "each_channel",
    }
    return replace(config, **changes, **({"backbone__frozen_stages": 0} if channels > 1 else {}))


def placeholder_categories(num_classes: Any) -> tuple[Category, ...]:
    """Classes known by number alone, until a data set names them."""
    if not hasattr(num_classes, "__index__") or num_classes < 1:
        raise ValueError(
            "A model needs at least one class, background not counted, as a whole number; "
            f"received num_classes={num_classes!r}."
        )
    return tuple(Category(number, f"class {number}") for number in range(1, num_classes + 1))

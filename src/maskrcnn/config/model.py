"""Every number of a model and of a run, each with its source.

Frozen dataclasses and nothing else: a model is described by one `ModelConfig`, which travels inside its `.keras` file.
`to_dict` and `from_dict` are the only doors to JSON.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from maskrcnn.config import backbones, bounds
from maskrcnn.config.fields import checked
from maskrcnn.config.keypoints import MOST_KEYPOINTS, PERSON, PERSON_SKELETON

Norm = Literal["none", "frozen", "live", "group", "layer"]  # batch norm, stored or running; Wu & He 2018; Ba et al. 2016
BoxLoss = Literal["smooth_l1", "giou", "diou", "ciou"]
MaskLoss = Literal["binary_crossentropy", "dice", "focal", "boundary"]
ClassLoss = Literal["cross_entropy", "federated", "seesaw"]
Scaling = Literal["all_channels", "each_channel"]
MOST_STAGES = 8  # of a cascade, behind the first; its paper finds no gain from a fourth


@dataclass(frozen=True)
class ImageConfig:
    """How an image becomes the model's input. Sizes in pixels, colors on the 0 to 255 scale."""

    short_side: int = 800  # FPN paper, section 5.1: the shorter side
    long_side: int = 1333  # Mask R-CNN, Detectron's release: the longer side never exceeds it
    # Whose rule for sides and pixels, see `data.resize`: Pillow's, wide filter; float32 from four pixels, sides rounded down;
    # OpenCV's; scikit-image's with black around, and only images smaller than `short_side` are enlarged.
    resize: Literal["detectron2", "torchvision", "mmdet", "matterport"] = "detectron2"
    min_scale: float = 0.0  # matterport's IMAGE_MIN_SCALE: images are enlarged at least so much
    # "few": one of `frames()`, so that a compiled model is reused. "tight": the next multiples of `stride`, as torchvision,
    # detectron2 and MMDetection pad. "square": `long_side` on every side, as matterport pads.
    frame: Literal["few", "tight", "square"] = "few"
    place: Literal["corner", "centre"] = "corner"  # where the image lies in its frame; matterport: center
    padding: Literal["mean", "black"] = "mean"  # color around it: 0 after normalization (Detectron), or before (matterport)
    channels: int = 3  # of an image: 3 are red, green, blue, 1 is gray, any others come in the file's order
    # How values of more than 8 bits become 0 to 255: from the percentiles of all channels together, which keeps colors; or of
    # each by itself, as fluorescence needs it, whose channels are lit and amplified apart. 8 bits stay as they are.
    scaling: Scaling = "all_channels"
    channel_order: Literal["rgb", "bgr"] = "rgb"  # what the backbone was trained on; images travel as RGB
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)  # of each channel; ImageNet, in RGB order
    std: tuple[float, ...] = (58.395, 57.12, 57.375)  # of each channel; ImageNet, in RGB order
    stride: int = 32  # frames are multiples of it, so that every level halves exactly

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ValueError(f"image.channels is at least 1; received {self.channels}.")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"image.mean and image.std have a number for each of {self.channels} channels; received {len(self.mean)} and "
                f"{len(self.std)}. input_channels={self.channels} sets all of them."
            )
        numbers = [value for value in (*self.mean, *self.std) if isinstance(value, (int, float)) and math.isfinite(value)]
        if len(numbers) != 2 * self.channels or min(self.std) <= 0:
            raise ValueError(f"image.mean is finite and image.std above 0; received {self.mean} and {self.std}.")
        if self.channel_order == "bgr" and self.channels != 3:
            raise ValueError(f"image.channel_order='bgr' is for 3 channels; received {self.channels}. Set it to 'rgb'.")

    def frames(self) -> tuple[tuple[int, int], ...]:
        """The few (height, width) that batches are padded to, so that a compiled model is reused.

        Square, 4:3 (what most cameras take) and the longest allowed, upright and lying, and squares for batches of both.
        """
        short = self._whole(self.short_side)
        middle, long = (self._whole(min(side, self.long_side)) for side in (self.short_side * 4 / 3, self.long_side))
        frames = [
            (short, short),
            (short, middle),
            (middle, short),
            (short, long),
            (long, short),
            (middle, middle),
            (long, long),
        ]
        return tuple(sorted(set(frames), key=lambda frame: (frame[0] * frame[1], frame)))

    def _whole(self, side: float) -> int:
        """The next multiple of the stride."""
        return math.ceil(side / self.stride) * self.stride


@dataclass(frozen=True)
class BackboneConfig:
    name: str = "resnet50"  # one of `backbones.NAMES`, which stand for numbers of their own; "keras": a model that is handed in
    stride_in: Literal["1x1", "3x3"] = "1x1"  # He et al. 2015, keras.applications, detectron2: 1x1; torchvision: 3x3
    groups: int = 1  # of each 3×3 convolution; ResNeXt (Xie et al. 2017): 32 or 64
    width_per_group: int = 64  # channels a group in C2, doubled at each stage; ResNeXt 32x8d: 8
    conv_bias: bool = True  # keras.applications and matterport; torchvision, detectron2, MMDetection: False
    stem_pool: Literal["symmetric", "same"] = "symmetric"  # zeros on all sides; matterport: TensorFlow's "same"
    epsilon: float = 1.001e-5  # of batch norm: keras.applications; PyTorch 1e-5, torchvision's COCO v1 0, matterport 1e-3
    # Where zeros go beside EfficientNets' convolutions of stride 2: keras.applications, as TensorFlow; torchvision: symmetric
    padding: Literal["same", "symmetric"] = "same"
    # Mask R-CNN, section 3.1: batch norm is frozen while fine-tuning. "group": ResNets alone; Wu & He 2018, detectron2's GN
    norm: Literal["frozen", "live", "group"] = "frozen"
    frozen_stages: int = 2  # Detectron: the stem and res2 keep their ImageNet weights; 0 trains all
    # In training the last residual block is left out of so many images, those before it of fewer (Huang et al. 2016, who
    # choose 0.5 for networks trained from random weights); 0 leaves out none.
    stochastic_depth: float = 0.0
    # The 3×3 convolutions of C3 … C5 of ResNets with bottlenecks look where offsets send them (Dai et al. 2017; dconv of
    # detectron2 and MMDetection), each tap with a factor (Zhu et al. 2019, section 3.2; mdconv), or nowhere else.
    deformable: Literal["none", "offsets", "modulated"] = "none"
    output_norm: bool = False  # layer norms behind C2 … C5, as the detectors of ConvNeXt and Swin have them
    levels: tuple[str, ...] = ()  # of a model that is handed in: the layers whose outputs are C2 … C5; () finds them

    def __post_init__(self) -> None:
        if self.name not in backbones.NAMES:
            names = ", ".join(map(repr, backbones.NAMES))
            raise ValueError(f"BackboneConfig.name is one of {names}; received {self.name!r}.")
        if len(self.levels) not in (0, 4) or not all(isinstance(name, str) for name in self.levels):
            raise ValueError(f"backbone.levels are the names of four layers, C2 … C5, or (); received {self.levels}.")
        if self.name == "keras" and (self.stochastic_depth or self.output_norm):
            raise ValueError(
                "backbone.stochastic_depth and backbone.output_norm are for backbones that are built here; "
                "a model that is handed in has its own."
            )
        if self.norm == "group" and self.name not in backbones.RESNETS:
            names = ", ".join(map(repr, backbones.RESNETS))
            raise ValueError(f'backbone.norm="group" is for {names}; received it with backbone.name={self.name!r}.')
        bottlenecks = [name for name, numbers in backbones.RESNETS.items() if numbers.block == "bottleneck"]
        if self.deformable != "none" and self.name not in bottlenecks:
            names = ", ".join(map(repr, bottlenecks))
            raise ValueError(f"backbone.deformable is for {names}; received it with backbone.name={self.name!r}.")
        if not 0 <= self.stochastic_depth < 1:
            raise ValueError(f"backbone.stochastic_depth is at least 0 and less than 1; received {self.stochastic_depth}.")


@dataclass(frozen=True)
class FpnConfig:
    channels: int = 256  # FPN paper, section 3: d = 256
    norm: Norm = "none"  # behind each convolution, which then has no bias; torchvision v2, detectron2's LSJ: batch norm
    top_down: bool = True  # False: every level for itself, the simple pyramid of ViTDet (Li et al. 2022, section 3)
    epsilon: float = 1e-5  # of the norms; PyTorch


@dataclass(frozen=True)
class AnchorConfig:
    """Anchors of each level P2…P6: every size with every ratio, in pixels of the padded image."""

    sizes: tuple[tuple[float, ...], ...] = ((32,), (64,), (128,), (256,), (512,))  # FPN paper, section 4.1
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width; Faster R-CNN, section 3.1.1; matterport: 2, 1, 0.5
    rounded: bool = False  # torchvision rounds the sides' halves to whole pixels
    strides: Literal["level", "frame"] = "level"  # 4, 8 … 64; torchvision: frame // grid, 61 for P6 of a frame of 800
    # A box ends at the edge of its last pixel, or (matterport) names that pixel: its anchors lose one at x2 and y2, and so
    # every box made of them, until the answer adds it again.
    ends: Literal["edge", "last_pixel"] = "edge"

    @property
    def num_per_place(self) -> int:
        return len(self.sizes[0]) * len(self.ratios)


@dataclass(frozen=True)
class RpnConfig:
    num_convs: int = 1  # 3×3 convolutions before the two answers; torchvision v2, detectron2's LSJ: 2
    channels: int = 0  # of those convolutions; 0: as many as the pyramid has; matterport: 512
    delta_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)  # matterport: 10, 10, 5, 5, as in the box head
    max_scale: float = 1000 / 16  # a delta enlarges a side at most so much; Detectron; matterport sets no limit
    min_scale: float = 0.0  # and leaves at least so much of it; MMDetection: 16 / 1000
    rank: Literal["each_level", "all_levels"] = "each_level"  # what top_k and NMS count by; matterport: all levels together
    positive_iou: float = 0.7  # Faster R-CNN, section 3.1.2
    negative_iou: float = 0.3  # Faster R-CNN, section 3.1.2
    num_sampled: int = 256  # Faster R-CNN, section 3.1.3: anchors in the loss of one image
    positive_fraction: float = 0.5  # Faster R-CNN, section 3.1.3
    train_top_k: int = 2000  # a level, before NMS; Detectron's FPN settings
    train_proposals: int = 1000  # an image, after NMS
    top_k: int = 1000  # a level, before NMS, in inference; matterport: 6000 of all levels
    proposals: int = 1000  # an image, after NMS, in inference; Mask R-CNN, section 3.1
    nms_iou: float = 0.7  # Faster R-CNN, section 3.3
    min_size: float = 1e-3  # torchvision: boxes thinner than this many pixels are no proposals; detectron2: 0
    box_loss: BoxLoss = "smooth_l1"  # Faster R-CNN, eq. 1; the others compare boxes, see `ops.losses.iou_distance`
    box_beta: float = 1 / 9  # smooth L1 turns linear here; Detectron, torchvision


@dataclass(frozen=True)
class RoiSamplerConfig:
    num_sampled: int = 512  # Mask R-CNN, section 3.1, N = 512 for FPN
    positive_fraction: float = 0.25  # Fast R-CNN, section 2.3
    positive_iou: float = 0.5  # Fast R-CNN, section 2.3
    crowd_overlap: float = 0.5  # a background RoI covered by a crowd to this part is left out


@dataclass(frozen=True)
class RoiAlignConfig:
    mode: Literal["roi_align", "crop_and_resize"] = "roi_align"  # matterport: one sample a bin, the outer ones on the corners
    aligned: bool = True  # detectron2: pixel centers at half a pixel; torchvision's models: False
    sampling_ratio: int = 2  # samples a bin, along each axis; Mask R-CNN, section 3: 4 a bin; 0: as many as it has pixels
    canonical_size: float = 224.0  # FPN paper, eq. 1: a RoI of this side …
    canonical_level: int = 4  # … is pooled from P4
    level_epsilon: float = 1e-6  # added to side / canonical_size; MMDetection 1e-6, detectron2 1e-8, torchvision 0
    level_shift: float = 0.0  # added to the level before it is rounded down; torchvision 1e-6, matterport 0.5


@dataclass(frozen=True)
class BoxHeadConfig:
    kind: Literal["2fc", "4conv1fc"] = "2fc"  # FPN paper, section 4.2; 4conv1fc: Group Normalization, section 4.2
    hidden: int = 1024  # FPN paper, section 4.2
    conv_channels: int = 256  # of the 4 convolutions, where there are any
    pool_size: int = 7  # FPN paper, section 4.2
    norm: Norm = "none"  # behind each convolution, which then has no bias; where there is none, behind each layer (matterport)
    epsilon: float = 1e-5  # of the norms; PyTorch; matterport 1e-3
    delta_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)  # Fast R-CNN's code: 1 / std of the deltas
    max_scale: float = 1000 / 16  # as in `RpnConfig`
    min_scale: float = 0.0  # as in `RpnConfig`
    box_loss: BoxLoss = "smooth_l1"  # Fast R-CNN, eq. 3; the others as in `RpnConfig`
    box_beta: float = 1.0  # Fast R-CNN, eq. 3
    class_agnostic: bool = False  # one box a RoI whatever its class, detectron2's CLS_AGNOSTIC_BBOX_REG; else one a class
    dropout: float = 0.0  # after each fully connected layer
    # Fast R-CNN, section 2.3; Zhou et al. 2021 and detectron2 for LVIS, whose scores are sigmoids; Wang et al. 2021, with a
    # logit for an object of any class. The last two: `ops.class_losses`.
    class_loss: ClassLoss = "cross_entropy"
    # Of "federated" the images and of "seesaw" the objects with each class; (): all alike. `train` counts them.
    class_counts: tuple[float, ...] = ()
    federated_classes: int = 50  # CenterNet2, detectron2: classes that count in a step of the federated loss
    cosine_temperature: float = 0.0  # of logits that are cosines (Wang et al. 2021, section 3.3: 20); 0: they are not
    # Against classes that come unevenly: what a RoI of each class counts in the class loss; background 1. (): all count 1.
    # `data.imbalance.class_weights` finds them.
    class_weights: tuple[float, ...] = ()
    focal_gamma: float = 0.0  # of the focal loss on the softmax (Lin et al. 2017, section 3.2, who choose 2); 0: cross-entropy
    label_smoothing: float = 0.0  # Szegedy et al. 2016, section 7, who choose 0.1

    def __post_init__(self) -> None:
        numbers = [weight for weight in self.class_weights if isinstance(weight, (int, float)) and 0 < weight < math.inf]
        if len(numbers) != len(self.class_weights):
            raise ValueError(f"box_head.class_weights are finite numbers above 0; received {self.class_weights}.")
        if not 0 <= self.focal_gamma < math.inf:
            raise ValueError(f"box_head.focal_gamma is at least 0 and finite; received {self.focal_gamma}.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"box_head.label_smoothing is at least 0 and less than 1; received {self.label_smoothing}.")
        if self.class_loss != "cross_entropy" and (self.class_weights or self.focal_gamma or self.label_smoothing):
            raise ValueError(
                "box_head.class_weights, focal_gamma and label_smoothing belong to class_loss='cross_entropy'; received "
                f"class_loss={self.class_loss!r} with one of them."
            )


@dataclass(frozen=True)
class CascadeConfig:
    """Box heads behind the first, each on the boxes of the one before (Cai & Vasconcelos 2018). With none: the first alone."""

    positive_ious: tuple[float, ...] = ()  # of each further stage; Cascade R-CNN, section 4.3: 0.6, 0.7
    # Of each further stage; detectron2's `ROI_BOX_CASCADE_HEAD`: 20, 20, 10, 10 and 30, 30, 15, 15. Else as `BoxHeadConfig`.
    delta_weights: tuple[tuple[float, float, float, float], ...] = ()
    # Whose mean over the stages is the answer: of what comes after the softmax (detectron2), or before it (MMDetection).
    mean: Literal["scores", "logits"] = "scores"
    mask_heads: bool = False  # one for each stage, and their mean is the mask (MMDetection); else one alone (detectron2)

    def __post_init__(self) -> None:
        if len(self.positive_ious) != len(self.delta_weights):
            raise ValueError(
                "cascade.positive_ious and cascade.delta_weights have an entry for each stage behind the first; received "
                f"{len(self.positive_ious)} and {len(self.delta_weights)}."
            )
        if len(self.positive_ious) > MOST_STAGES:
            raise ValueError(f"A cascade has at most {MOST_STAGES} further stages; received {len(self.positive_ious)}.")
        if any(not isinstance(weights, tuple) or len(weights) != 4 for weights in self.delta_weights):
            raise ValueError(f"cascade.delta_weights are four numbers for each stage; received {self.delta_weights}.")


@dataclass(frozen=True)
class MaskHeadConfig:
    # Mask R-CNN, figure 4; Huang et al. 2019, see `MaskScoringConfig`; Kirillov et al. 2020, see `PointRendConfig`; none: masks
    # fill their boxes, and have no loss.
    kind: Literal["fcn", "scoring", "point_rend", "none"] = "fcn"
    mask_size: int = 28  # Mask R-CNN, figure 4; 56 adds one more deconvolution; PointRend, section 4: 224
    num_convs: int = 4  # Mask R-CNN, figure 4
    channels: int = 256  # Mask R-CNN, figure 4
    pool_size: int = 14  # Mask R-CNN, figure 4
    class_agnostic: bool = False  # one mask a RoI whatever its class; Mask R-CNN, section 4.1: nearly as good
    norm: Norm = "none"  # behind each 3×3 convolution, which then has no bias
    epsilon: float = 1e-5  # of the norms; PyTorch; matterport 1e-3
    paste: Literal["exact", "torchvision"] = "exact"  # onto the box as it is (detectron2), or cut to whole pixels
    truth_size: int = 112  # side of the bitmap that holds one true mask, cropped to its box
    cosine_temperature: float = 0.0  # of the last convolution, as in `BoxHeadConfig`
    mask_loss: MaskLoss = "binary_crossentropy"  # Mask R-CNN, section 3; the others: `ops.mask_losses`

    def __post_init__(self) -> None:
        if self.mask_loss == "boundary" and self.mask_size > 56:
            raise ValueError(
                f'mask_head.mask_loss="boundary" takes a mask_size of 28 or 56, for memory; received {self.mask_size}.'
            )


@dataclass(frozen=True)
class MaskScoringConfig:
    """Of a mask head of the kind "scoring": what predicts the IoU of its masks, by which scores are multiplied."""

    num_convs: int = 4  # Mask Scoring R-CNN, section 3.2, the last one with stride 2
    channels: int = 256  # Mask Scoring R-CNN, section 3.2
    hidden: int = 1024  # of two fully connected layers; Mask Scoring R-CNN, section 3.2


@dataclass(frozen=True)
class PointRendConfig:
    """Of a mask head of the kind "point_rend", beside its `mask_size`, `channels` and `pool_size`."""

    coarse_size: int = 7  # side of the coarse mask; PointRend, section 4.1
    hidden: int = 1024  # of the coarse head's two fully connected layers; PointRend, section 4.1
    num_layers: int = 3  # of the point head; PointRend, section 4.1
    channels: int = 256  # of the point head; PointRend, section 4.1
    num_points: int = 196  # of a RoI in training; PointRend, section 4.1: 14²
    oversampling: int = 3  # k of PointRend, section 3.1
    importance: float = 0.75  # β of PointRend, section 3.1: the part of the points that lie near borders
    first_size: int = 28  # side of the mask that subdivision begins with; detectron2
    subdivision_points: int = 784  # that a step looks at anew; PointRend, section 4.1: 28²


@dataclass(frozen=True)
class KeypointHeadConfig:
    num_keypoints: int = 0  # of an object; 0: the model finds none; COCO's person: 17
    num_convs: int = 8  # Mask R-CNN, section 5
    channels: int = 512  # Mask R-CNN, section 5
    pool_size: int = 14  # Mask R-CNN, section 5

    @property
    def map_size(self) -> int:
        """Side of a heat map: a deconvolution and a bilinear step double it, Mask R-CNN, section 5."""
        return 4 * self.pool_size


@dataclass(frozen=True)
class DetectConfig:
    score: float = 0.05  # Fast R-CNN's code: the least score of a detection; matterport 0.7
    classes: Literal["every", "best"] = "every"  # of a RoI that may become detections; matterport: the best one alone
    min_side: float = 1e-2  # pixels; thinner boxes are dropped: torchvision 1e-2, detectron2 empty ones, the others none
    # When: before NMS (torchvision), or of the best `max_detections`, which are then fewer (detectron2).
    drop_thin: Literal["before_nms", "at_the_end"] = "before_nms"
    nms_iou: float = 0.5  # Fast R-CNN's code; matterport 0.3
    nms: Literal["per_class", "class_agnostic"] = "per_class"
    # Soft-NMS (Bodla et al. 2017): boxes that overlap a better one lose score, and are not removed; by 1 - IoU from `nms_iou`
    # on (eq. 2), or by exp(-IoU² / sigma) (eq. 3). What falls below `score` goes.
    soft_nms: Literal["none", "linear", "gaussian"] = "none"
    soft_nms_sigma: float = 0.5  # Bodla et al. 2017, section 5
    max_detections: int = 100  # Mask R-CNN, section 3.1
    candidates: int = 1000  # best (RoI, class) pairs that enter NMS
    # Of each class the least score with the best F1 on some data, which `score="auto"` takes; (): nobody measured them.
    best_scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Category:
    """One class: its id in the annotation file, its name, and its keypoints, where it has any.

    Raises:
        ValueError: too many keypoints, or a skeleton that joins keypoints that do not exist.
    """

    id: int
    name: str
    keypoints: tuple[str, ...] = ()  # their names; the same for all classes that have some
    skeleton: tuple[tuple[int, ...], ...] = ()  # pairs of places in `keypoints` that are drawn as joined

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        if count > MOST_KEYPOINTS or not all(isinstance(name, str) for name in self.keypoints):
            raise ValueError(f"Keypoints are up to {MOST_KEYPOINTS} names; received {count} for {self.name!r}.")
        if not all(len(pair) == 2 and all(place in range(count) for place in pair) for pair in self.skeleton):
            raise ValueError(f"A skeleton joins pairs of {count} keypoints by their places; received {self.skeleton!r:.100}.")


@dataclass(frozen=True)
class ModelConfig:
    """A whole model. `categories[k]` is what label k means.

    The other fields are dataclasses of their own, one for each part of the network: `config.rpn.nms_iou`. A copy with some of
    them changed is `maskrcnn.config.fields.replace(config, rpn__nms_iou=0.8)`.

    Raises:
        ValueError: no classes, names that repeat, and numbers that are out of range or do not fit each other.
    """

    categories: tuple[Category, ...]
    image: ImageConfig = field(default_factory=ImageConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    fpn: FpnConfig = field(default_factory=FpnConfig)
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    rpn: RpnConfig = field(default_factory=RpnConfig)
    roi_sampler: RoiSamplerConfig = field(default_factory=RoiSamplerConfig)
    roi_align: RoiAlignConfig = field(default_factory=RoiAlignConfig)
    box_head: BoxHeadConfig = field(default_factory=BoxHeadConfig)
    cascade: CascadeConfig = field(default_factory=CascadeConfig)
    mask_head: MaskHeadConfig = field(default_factory=MaskHeadConfig)
    mask_scoring: MaskScoringConfig = field(default_factory=MaskScoringConfig)
    point_rend: PointRendConfig = field(default_factory=PointRendConfig)
    keypoint_head: KeypointHeadConfig = field(default_factory=KeypointHeadConfig)
    detect: DetectConfig = field(default_factory=DetectConfig)
    origin: str = ""  # of the weights and under which license, where they came from elsewhere

    def __post_init__(self) -> None:
        if not self.categories:
            raise ValueError("A model needs at least one class; received none. Give class names or num_classes >= 1.")
        names = [category.name for category in self.categories]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"Class names must differ; received {', '.join(map(repr, repeated))} more than once.")
        bounds.check(self)
        self._check_keypoints()
        if len(self.anchors.sizes) != 5 or len({len(sizes) for sizes in self.anchors.sizes}) != 1:
            raise ValueError(
                f"Anchors need sizes for the five levels P2…P6, equally many for each; received {self.anchors.sizes}."
            )
        self._check_mask_size()
        if len(self.box_head.class_weights) not in (0, len(names)):
            raise ValueError(
                f"box_head.class_weights has one number for each of {len(names)} classes, or none at all; "
                f"received {len(self.box_head.class_weights)}. Where classes change, set it anew; () weighs all alike."
            )
        if len(self.box_head.class_counts) not in (0, len(names)):
            raise ValueError(
                f"box_head.class_counts has one number for each of {len(names)} classes, or none at all; received "
                f"{len(self.box_head.class_counts)}. Where classes change, count them anew; () is none."
            )
        if self.box_head.class_loss == "federated" and self.detect.classes == "best":
            raise ValueError('box_head.class_loss="federated" knows no background, so it needs detect.classes="every".')
        if self.box_head.class_loss == "seesaw" and self.cascade.positive_ious and self.cascade.mean == "logits":
            raise ValueError('box_head.class_loss="seesaw" in a cascade needs cascade.mean="scores".')
        if len(self.detect.best_scores) not in (0, len(names)):
            raise ValueError(
                f"detect.best_scores has one number for each of {len(names)} classes, or none at all; received "
                f"{len(self.detect.best_scores)}. Where classes change, measure them anew; () is none."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes, background not counted."""
        return len(self.categories)

    @property
    def class_names(self) -> list[str]:
        """What the labels 0 … K − 1 mean."""
        return [category.name for category in self.categories]

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """What the model's keypoints are called; where no class says it, COCO's names of 17, or numbers."""
        named = next((category.keypoints for category in self.categories if category.keypoints), ())
        count = self.keypoint_head.num_keypoints
        known = named or (PERSON if count == len(PERSON) else tuple(f"keypoint {number + 1}" for number in range(count)))
        return known if count else ()

    @property
    def skeleton(self) -> tuple[tuple[int, ...], ...]:
        """Pairs of keypoints that are drawn as joined."""
        if any(category.keypoints for category in self.categories):
            return next((category.skeleton for category in self.categories if category.skeleton), ())
        return PERSON_SKELETON if self.keypoint_head.num_keypoints == len(PERSON) else ()

    def _check_mask_size(self) -> None:
        size, first = self.mask_head.mask_size, self.point_rend.first_size
        if self.mask_head.kind == "point_rend":
            doublings = [first * 2**number for number in range(4)]
            if size not in doublings:
                raise ValueError(f"mask_size of PointRend is one of {', '.join(map(str, doublings))}; received {size}.")
            if self.mask_head.class_agnostic or self.cascade.mask_heads:
                raise ValueError(
                    'mask_head.kind="point_rend" goes with neither mask_head.class_agnostic nor cascade.mask_heads.'
                )
            return
        if self.mask_head.kind == "scoring" and self.cascade.mask_heads:
            raise ValueError('mask_head.kind="scoring" does not go with cascade.mask_heads.')
        if size % self.mask_head.pool_size or size not in (28, 56, 112):
            raise ValueError(f"mask_size is 28, 56 or 112; received {size}.")

    def _check_keypoints(self) -> None:
        lists = {category.keypoints for category in self.categories if category.keypoints}
        counts = sorted({len(names) for names in lists})
        if self.keypoint_head.num_keypoints and (len(lists) > 1 or counts not in ([], [self.keypoint_head.num_keypoints])):
            raise ValueError(
                f"The model has {self.keypoint_head.num_keypoints} keypoints and its classes name "
                f"{', '.join(map(str, counts))}, in {len(lists)} lists; set keypoint_head.num_keypoints to the number of one "
                "list for all classes, or to 0."
            )


# What files of earlier versions name, and no model has any more: RoIAlign takes as many samples as detectron2 does.
FORMER_FIELDS = {(RoiAlignConfig, "max_samples")}


def from_dict(values: dict[str, Any]) -> ModelConfig:
    """The `ModelConfig` that `to_dict` wrote, also after a round through JSON.

    Raises:
        ValueError: for a field this version does not know.
    """
    return _build(ModelConfig, values)


def _build(kind: type, values: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    values = {name: value for name, value in values.items() if (kind, name) not in FORMER_FIELDS}
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(
            f"{kind.__name__} has no field {', '.join(map(repr, unknown))}; was the model saved by a newer version?"
        )
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            value = _build(hints[name], value)  # type: ignore[arg-type]
        elif name == "categories":
            value = tuple(_build(Category, category) for category in value)
        else:
            value = checked(f"{kind.__name__}.{name}", hints[name], value)
        built[name] = value
    return kind(**built)

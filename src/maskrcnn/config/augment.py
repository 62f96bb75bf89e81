"""The numbers of data augmentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AugmentConfig:
    """How images vary in training, with their truth. As it stands: a mirror, Mask R-CNN's own augmentation.

    `horizontal_flip`, `vertical_flip`, `turns`, `elastic`, `copy_paste`, `invert`, `blur` and `noise` say how many of the
    images, 0 to 1. The numbers of colors say how far a change goes at most; it is drawn evenly, in either direction.
    """

    horizontal_flip: float = 0.5  # Fast R-CNN, section 2.3
    vertical_flip: float = 0.0  # for images without an above and a below: microscopy, images from the air
    turns: float = 0.0  # by 90°, 180° or 270°, for the same

    # Large-scale jitter (Ghiasi et al. 2021, section 3; detectron2's new baselines): the image becomes so much smaller or
    # larger than the model would see it, evenly between (least, largest), and a square of `crop` is cut out at random. A side
    # shorter than that stays whole and is padded by the batch. () leaves the scale alone.
    jitter: tuple[float, ...] = ()
    crop: int = 0  # pixels; 0: `ImageConfig.short_side`, so that all batches share its square frame
    short_sides: tuple[int, ...] = ()  # instead of jitter: one of these short sides, uncut; detectron2: 640, 672 … 800
    # Of an image with a longer side only a square of so many of its own pixels is read, around a random object, before
    # anything else. 0: where it has 100 million pixels or more, a square of `ImageConfig.short_side`.
    crop_side: int = 0
    rotation: float = 0.0  # degrees either way; corners without image get the padding's color, before colors vary
    # Elastic deformation (U-Net, section 3.1): random shifts on a coarse grid, smooth between. There the grid has 3 × 3 points
    # and shifts of 10 pixels on 512, 0.06 of the spacing; a tenth is still far from folding the image over.
    elastic: float = 0.0
    elastic_spacing: int = 64  # pixels of the new image
    elastic_shift: float = 0.06  # standard deviation, in spacings
    copy_paste: float = 0.0  # Ghiasi et al. 2021: a random half of another image's objects lies on this one

    brightness: float = 0.0  # added, in parts of white; SSD (Liu et al. 2016), section 3.6: 0.125
    contrast: float = 0.0  # of the factor, about the image's mean; SSD: 0.5
    gamma: float = 0.0  # of the exponent's logarithm
    saturation: float = 0.0  # of the factor; SSD: 0.5
    hue: float = 0.0  # degrees of turning all colors about gray; SSD: 18
    channels: float = 0.0  # of each channel's own factor, as stains and lamps differ; gray images stay gray
    invert: float = 0.0  # bright on dark becomes dark on bright
    blur: float = 0.0
    blur_sigma: float = 1.5  # pixels of the new image, the most
    noise: float = 0.0
    noise_sigma: float = 10.0  # gray levels, the most; the same in red, green and blue, as a gray camera has it

    # An object of which a crop leaves less than this part becomes a crowd: neither something to find nor background. detectron2
    # and torchvision ask for any sliver that is not empty, which nobody can recognize; dropping it would teach that it is
    # background, though it looks like the object. What pasted objects hide to this part is dropped, see `data.copy_paste`.
    min_visible: float = 0.1
    min_area: float = 4.0  # pixels; below, nothing is left to learn from or to ignore, and it is dropped

    def __post_init__(self) -> None:
        if self.jitter and (len(self.jitter) != 2 or not 0 < self.jitter[0] <= self.jitter[1]):
            raise ValueError(f"jitter is () or (least, largest), both above 0; received {self.jitter}.")
        if self.jitter and self.short_sides:
            raise ValueError("jitter and short_sides both choose the scale; received both, set one of them.")
        if any(side < 1 for side in self.short_sides) or min(self.crop, self.crop_side) < 0 or self.elastic_spacing < 8:
            raise ValueError(
                "short_sides are at least 1, crop and crop_side at least 0 and elastic_spacing at least 8 pixels; "
                f"received {self.short_sides}, {self.crop}, {self.crop_side} and {self.elastic_spacing}."
            )
        for name in (
            "horizontal_flip", "vertical_flip", "turns", "elastic", "copy_paste", "invert", "blur", "noise", "min_visible",
            "brightness", "contrast", "saturation", "channels",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is from 0 to 1; received {getattr(self, name)}.")


AUGMENTATIONS: dict[str, AugmentConfig] = {
    "flip": AugmentConfig(),
    # A scale of 0.1 to 2 pays after hundreds of passes over COCO (Ghiasi et al. 2021, figure 4): most of such an image is
    # padding or gone. Here it is for trainings of tens of passes, and so that half of the images shrink and half grow.
    # Colors go half as far as SSD's, whose images are meant to look overdone.
    "photos": AugmentConfig(jitter=(0.4, 1.6), brightness=0.06, contrast=0.25, saturation=0.25, hue=9.0),
    # Cells have no above and below. They are much of one size, so the scale goes less far down. Staining, lamps, focus and
    # cameras differ between laboratories: Caicedo et al. 2019 (Data Science Bowl 2018) name them as what networks failed on.
    "microscopy": AugmentConfig(
        vertical_flip=0.5,
        turns=0.75,
        jitter=(0.5, 2.0),
        elastic=0.2,
        brightness=0.1,
        contrast=0.3,
        gamma=0.3,
        saturation=0.3,
        hue=10.0,
        channels=0.1,
        invert=0.05,
        blur=0.15,
        noise=0.15,
    ),
}

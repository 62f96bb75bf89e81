"""Published checkpoints by name: where each lies, whose it is, under which license, and how to get it once.

A file is downloaded into the cache, or put there by hand, and its digest is checked at every use. The licenses are their
publishers' and stay so: this package ships none of the files. A model of its own it does ship, `SHIPPED`.

`pooch` would be the library for this, but it compares whole digests and starts a broken download anew; publishers name the
leading digits alone, and the files have up to 500 MB. So: `requests`, `platformdirs` and `filelock`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """A file of weights that its makers offer for download.

    Attributes:
        url: where it lies; the last part is the file's name, also in the cache.
        digest: `algorithm:digits`. torchvision and MMDetection publish eight leading digits of the SHA-256, detectron2 six of
            the MD5, all in the file's name: enough to find a damaged file, too few against a forger. Whole digests are those
            that independent projects noted for the file, and begin with the published digits where there are any.
        licence: of the weights.
        about: what it is.
        box_ap, mask_ap: on COCO val2017 as published; None where the publisher gives none, and for a backbone.
        size: bytes, where known.
    """

    name: str
    url: str
    digest: str
    licence: str
    about: str
    box_ap: float | None = None
    mask_ap: float | None = None
    size: int | None = None

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def is_backbone(self) -> bool:
        """Whether it is a classifier's backbone alone, which finds nothing by itself."""
        return " on ImageNet" in self.about

    @property
    def origin(self) -> str:
        """One line for people: what, from where, under which license."""
        return f"{self.about}, {self.url}, license: {self.licence}"


def _torchvision(
    name: str,
    file: str,
    digest: str,
    about: str,
    box_ap: float | None = None,
    mask_ap: float | None = None,
    size: int | None = None,
) -> Published:
    """Figures and addresses as in the weights' enumerations of torchvision 0.29, which has the license of its code alone."""
    licence = "none stated (its code: BSD-3-Clause)"
    url = f"https://download.pytorch.org/models/{file}"
    return Published(name, url, digest, licence, f"torchvision, {about}", box_ap, mask_ap, size)


def _detectron2(name: str, path: str, about: str, box_ap: float, mask_ap: float) -> Published:
    """MODEL_ZOO.md: every model "contains its md5 prefix in its file name", and "CC BY-SA 3.0" for all of them."""
    url = f"https://dl.fbaipublicfiles.com/detectron2/{path}.pkl"
    licence = "CC BY-SA 3.0"
    return Published(name, url, f"md5:{path[-6:]}", licence, f"detectron2, {about}", box_ap, mask_ap)


def _mmdet(name: str, path: str, about: str, box_ap: float, mask_ap: float, *, folder: str = "mask_rcnn") -> Published:
    """metafile.yml of the folder in configs; tools/model_converters/publish_model.py adds the SHA-256's first digits."""
    url = f"https://download.openmmlab.com/mmdetection/v2.0/{folder}/{path}.pth"
    return Published(name, url, f"sha256:{path[-8:]}", "Apache-2.0", f"MMDetection, {about}", box_ap, mask_ap)


def _timm(name: str, file: str, about: str) -> Published:
    """Apache-2.0, as the weights' cards say; file names end in the SHA-256's first digits, as `torch.hub` checks them."""
    url = f"https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/{file}"
    return Published(name, url, f"sha256:{file[-12:-4]}", "Apache-2.0", f"timm, {about}")


# The default weights of each in torchvision 0.29 and timm 1.0, with their ImageNet top-1 as published.
_TORCH_BACKBONES = (
    ("resnet18", "resnet18-f37072fd.pth", "ResNet-18 on ImageNet (69.8 % top-1)"),
    ("resnet34", "resnet34-b627a593.pth", "ResNet-34 on ImageNet (73.3 % top-1)"),
    ("resnext101_32x8d", "resnext101_32x8d-110c445d.pth", "ResNeXt-101 32x8d on ImageNet, V2 (82.8 % top-1)"),
    ("resnext101_64x4d", "resnext101_64x4d-173b62eb.pth", "ResNeXt-101 64x4d on ImageNet (83.2 % top-1)"),
    ("convnext_tiny", "convnext_tiny-983f1562.pth", "ConvNeXt-T on ImageNet (82.5 % top-1)"),
    ("convnext_small", "convnext_small-0c510722.pth", "ConvNeXt-S on ImageNet (83.6 % top-1)"),
    ("convnext_base", "convnext_base-6075fbad.pth", "ConvNeXt-B on ImageNet (84.1 % top-1)"),
    ("swin_tiny", "swin_t-704ceda3.pth", "Swin-T on ImageNet (81.5 % top-1)"),
    ("swin_small", "swin_s-5e29d889.pth", "Swin-S on ImageNet (83.2 % top-1)"),
    ("swin_base", "swin_b-68c6b09e.pth", "Swin-B on ImageNet (83.6 % top-1)"),
    ("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", "EfficientNet-B0 on ImageNet (77.7 % top-1)"),
    ("efficientnet_b1", "efficientnet_b1-c27df63c.pth", "EfficientNet-B1 on ImageNet, V2 (79.8 % top-1)"),
    ("efficientnet_b2", "efficientnet_b2_rwightman-c35c1473.pth", "EfficientNet-B2 on ImageNet (80.6 % top-1)"),
    ("efficientnet_b3", "efficientnet_b3_rwightman-b3899882.pth", "EfficientNet-B3 on ImageNet (82.0 % top-1)"),
    ("efficientnet_v2_s", "efficientnet_v2_s-dd5fe13b.pth", "EfficientNetV2-S on ImageNet (84.2 % top-1)"),
    ("efficientnet_v2_m", "efficientnet_v2_m-dc08266a.pth", "EfficientNetV2-M on ImageNet (85.1 % top-1)"),
    ("mobilenet_v3_large", "mobilenet_v3_large-5c1a4163.pth", "MobileNetV3-Large on ImageNet, V2 (75.3 % top-1)"),
)
_TIMM_BACKBONES = (
    ("resnet50d", "resnet50d_ra2-464e36ba.pth", "ResNet-50-D on ImageNet"),
    ("resnet101d", "resnet101d_ra2-2803ffab.pth", "ResNet-101-D on ImageNet"),
    ("efficientnet_lite0", "tf_efficientnet_lite0-0aa007d2.pth", "EfficientNet-Lite0 on ImageNet"),
    ("efficientnet_lite2", "tf_efficientnet_lite2-dcccb7df.pth", "EfficientNet-Lite2 on ImageNet"),
)

_FILES = (
    _torchvision(
        "torchvision-v1",
        "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        "sha256:bf2d0c1e",
        "Mask R-CNN, ResNet-50-FPN",
        37.9,
        34.6,
    ),
    _torchvision(
        "torchvision-v2",
        "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        "sha256:73cbd0190fcbe3ba339921fbce2c3a0b6bb9126c9a133c85e43a2a8e060a109e",
        "Mask R-CNN v2, ResNet-50-FPN",
        47.4,
        41.8,
        size=185_828_065,
    ),
    _torchvision(
        "torchvision-keypoints",
        "keypointrcnn_resnet50_fpn_coco-fc266e95.pth",
        "sha256:fc266e95",
        "Keypoint R-CNN, ResNet-50-FPN, without masks (65.0 keypoint AP)",
        54.6,
    ),
    _detectron2(
        "detectron2-r50-1x",
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x/137260431/model_final_a54504",
        "Mask R-CNN, ResNet-50-FPN, 12 epochs",
        38.6,
        35.2,
    ),
    _detectron2(
        "detectron2-r50-3x",
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217",
        "Mask R-CNN, ResNet-50-FPN, 37 epochs",
        41.0,
        37.2,
    ),
    _detectron2(
        "detectron2-r101-3x",
        "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x/138205316/model_final_a3ec72",
        "Mask R-CNN, ResNet-101-FPN, 37 epochs",
        42.9,
        38.6,
    ),
    _detectron2(
        "detectron2-x101-3x",
        "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x/139653917/model_final_2d9806",
        "Mask R-CNN, ResNeXt-101-32x8d-FPN, 37 epochs",
        44.3,
        39.5,
    ),
    _detectron2(
        "detectron2-r50-lsj-400ep",
        "new_baselines/mask_rcnn_R_50_FPN_400ep_LSJ/42019571/model_final_14d201",
        "Mask R-CNN, ResNet-50-FPN, large-scale jitter, 400 epochs",
        47.4,
        42.5,
    ),
    _detectron2(
        "detectron2-r101-lsj-400ep",
        "new_baselines/mask_rcnn_R_101_FPN_400ep_LSJ/42073830/model_final_f96b26",
        "Mask R-CNN, ResNet-101-FPN, large-scale jitter, 400 epochs",
        48.9,
        43.7,
    ),
    *(  # projects/ViTDet/README.md
        _detectron2(f"detectron2-vitdet-{size}", f"ViTDet/COCO/mask_rcnn_vitdet_{path}", f"ViTDet, {about}", box_ap, mask_ap)
        for size, path, about, box_ap, mask_ap in (
            ("b", "b/f325346929/model_final_61ccd1", "ViT-B, 100 epochs", 51.6, 45.9),
            ("l", "l/f325599698/model_final_6146ed", "ViT-L, 100 epochs", 55.5, 49.2),
            ("h", "h/f329145471/model_final_7224f1", "ViT-H, 75 epochs", 56.7, 50.2),
        )
    ),
    _detectron2(
        "detectron2-cascade-r50-1x",
        "Misc/cascade_mask_rcnn_R_50_FPN_1x/138602847/model_final_e9d89b",
        "Cascade Mask R-CNN, ResNet-50-FPN, 12 epochs",
        42.1,
        36.4,
    ),
    _detectron2(
        "detectron2-cascade-r50-3x",
        "Misc/cascade_mask_rcnn_R_50_FPN_3x/144998488/model_final_480dd8",
        "Cascade Mask R-CNN, ResNet-50-FPN, 37 epochs",
        44.3,
        38.5,
    ),
    *(  # projects/ViTDet/README.md
        _detectron2(
            f"detectron2-cascade-{name}",
            f"ViTDet/COCO/cascade_mask_rcnn_{path}",
            f"Cascade Mask R-CNN, {about}",
            box_ap,
            mask_ap,
        )
        for name, path, about, box_ap, mask_ap in (
            ("swin-b", "swin_b_in21k/f342979038/model_final_246a82", "Swin-B, 50 epochs", 53.9, 46.2),
            ("swin-l", "swin_l_in21k/f342979186/model_final_7c897e", "Swin-L, 50 epochs", 55.0, 47.2),
            ("vitdet-b", "vitdet_b/f325358525/model_final_435fa9", "ViTDet, ViT-B, 100 epochs", 54.0, 46.7),
            ("vitdet-l", "vitdet_l/f328021305/model_final_1a9f28", "ViTDet, ViT-L, 100 epochs", 57.6, 50.0),
            ("vitdet-h", "vitdet_h/f328730692/model_final_f05665", "ViTDet, ViT-H, 75 epochs", 58.7, 51.0),
        )
    ),
    _detectron2(
        "detectron2-dconv-r50-1x",
        "Misc/mask_rcnn_R_50_FPN_1x_dconv_c3-c5/138602867/model_final_65c703",
        "Mask R-CNN, ResNet-50-FPN with deformable convolutions, 12 epochs",
        41.5,
        37.5,
    ),
    _detectron2(
        "detectron2-dconv-r50-3x",
        "Misc/mask_rcnn_R_50_FPN_3x_dconv_c3-c5/144998336/model_final_821d0b",
        "Mask R-CNN, ResNet-50-FPN with deformable convolutions, 37 epochs",
        42.7,
        38.5,
    ),
    _mmdet(
        "mmdet-r50-1x",
        "mask_rcnn_r50_fpn_1x_coco/mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6",
        "Mask R-CNN, ResNet-50-FPN, 12 epochs",
        38.2,
        34.7,
    ),
    _mmdet(
        "mmdet-r50-3x",
        "mask_rcnn_r50_fpn_mstrain-poly_3x_coco/mask_rcnn_r50_fpn_mstrain-poly_3x_coco_20210524_201154-21b550bb",
        "Mask R-CNN, ResNet-50-FPN, several sizes, 36 epochs",
        40.9,
        37.1,
    ),
    _mmdet(
        "mmdet-r101-1x",
        "mask_rcnn_r101_fpn_1x_coco/mask_rcnn_r101_fpn_1x_coco_20200204-1efe0ed5",
        "Mask R-CNN, ResNet-101-FPN, 12 epochs",
        40.0,
        36.1,
    ),
    _mmdet(
        "mmdet-r101-3x",
        "mask_rcnn_r101_fpn_mstrain-poly_3x_coco/mask_rcnn_r101_fpn_mstrain-poly_3x_coco_20210524_200244-5675c317",
        "Mask R-CNN, ResNet-101-FPN, several sizes, 36 epochs",
        42.7,
        38.5,
    ),
    _mmdet(
        "mmdet-x101-32x4d-3x",
        "mask_rcnn_x101_32x4d_fpn_mstrain-poly_3x_coco/mask_rcnn_x101_32x4d_fpn_mstrain-poly_3x_coco_20210524_201410-abcd7859",
        "Mask R-CNN, ResNeXt-101-32x4d-FPN, several sizes, 36 epochs",
        43.6,
        39.0,
    ),
    _mmdet(
        "mmdet-x101-64x4d-3x",
        "mask_rcnn_x101_64x4d_fpn_mstrain-poly_3x_coco/mask_rcnn_x101_64x4d_fpn_mstrain-poly_3x_coco_20210526_120447-c376f129",
        "Mask R-CNN, ResNeXt-101-64x4d-FPN, several sizes, 36 epochs",
        44.5,
        39.7,
    ),
    _mmdet(
        "mmdet-cascade-r50-1x",
        "cascade_mask_rcnn_r50_fpn_1x_coco/cascade_mask_rcnn_r50_fpn_1x_coco_20200203-9d4dcb24",
        "Cascade Mask R-CNN, ResNet-50-FPN, 12 epochs",
        41.2,
        35.9,
        folder="cascade_rcnn",
    ),
    _mmdet(
        "mmdet-cascade-r50-3x",
        "cascade_mask_rcnn_r50_fpn_mstrain_3x_coco/cascade_mask_rcnn_r50_fpn_mstrain_3x_coco_20210628_164719-5bdc3824",
        "Cascade Mask R-CNN, ResNet-50-FPN, several sizes, 36 epochs",
        44.3,
        38.5,
        folder="cascade_rcnn",
    ),
    _mmdet(
        "mmdet-cascade-r101-1x",
        "cascade_mask_rcnn_r101_fpn_1x_coco/cascade_mask_rcnn_r101_fpn_1x_coco_20200203-befdf6ee",
        "Cascade Mask R-CNN, ResNet-101-FPN, 12 epochs",
        42.9,
        37.3,
        folder="cascade_rcnn",
    ),
    *(  # configs/swin/metafile.yml
        _mmdet(
            f"mmdet-swin-{name}",
            f"mask_rcnn_swin-{path}/mask_rcnn_swin-{file}",
            f"Mask R-CNN, {about}",
            box_ap,
            mask_ap,
            folder="swin",
        )
        for name, path, file, about, box_ap, mask_ap in (
            (
                "t-1x",
                "t-p4-w7_fpn_1x_coco",
                "t-p4-w7_fpn_1x_coco_20210902_120937-9d6b7cfa",
                "Swin-T, 12 epochs",
                42.7,
                39.3,
            ),
            (
                "t-3x",
                "t-p4-w7_fpn_ms-crop-3x_coco",
                "t-p4-w7_fpn_ms-crop-3x_coco_20210906_131725-bacf6f7b",
                "Swin-T, several sizes, 36 epochs",
                46.0,
                41.6,
            ),
            (
                "s-3x",
                "s-p4-w7_fpn_fp16_ms-crop-3x_coco",
                "s-p4-w7_fpn_fp16_ms-crop-3x_coco_20210903_104808-b92c91f1",
                "Swin-S, several sizes, 36 epochs",
                48.2,
                43.2,
            ),
        )
    ),
    *(  # configs/convnext/metafile.yml
        _mmdet(f"mmdet-{name}-3x", f"{path}/{path}_{digits}", about, box_ap, mask_ap, folder="convnext")
        for name, path, digits, about, box_ap, mask_ap in (
            (
                "convnext-t",
                "mask_rcnn_convnext-t_p4_w7_fpn_fp16_ms-crop_3x_coco",
                "20220426_154953-050731f4",
                "Mask R-CNN, ConvNeXt-T, several sizes, 36 epochs",
                46.2,
                41.7,
            ),
            (
                "cascade-convnext-t",
                "cascade_mask_rcnn_convnext-t_p4_w7_fpn_giou_4conv1f_fp16_ms-crop_3x_coco",
                "20220509_204200-8f07c40b",
                "Cascade Mask R-CNN, ConvNeXt-T, several sizes, 36 epochs",
                50.3,
                43.6,
            ),
            (
                "cascade-convnext-s",
                "cascade_mask_rcnn_convnext-s_p4_w7_fpn_giou_4conv1f_fp16_ms-crop_3x_coco",
                "20220510_201004-3d24f5a4",
                "Cascade Mask R-CNN, ConvNeXt-S, several sizes, 36 epochs",
                51.8,
                44.8,
            ),
        )
    ),
    *(  # configs/dcn/metafile.yml, configs/dcnv2/metafile.yml
        _mmdet(f"mmdet-{name}-1x", f"{path}/{path}_{digits}", f"Mask R-CNN, {about}, 12 epochs", box_ap, mask_ap, folder="dcn")
        for name, path, digits, about, box_ap, mask_ap in (
            (
                "dconv-r50",
                "mask_rcnn_r50_fpn_dconv_c3-c5_1x_coco",
                "20200203-4d9ad43b",
                "ResNet-50-FPN with deformable convolutions",
                41.8,
                37.4,
            ),
            (
                "mdconv-r50",
                "mask_rcnn_r50_fpn_mdconv_c3-c5_1x_coco",
                "20200203-ad97591f",
                "ResNet-50-FPN with modulated deformable convolutions",
                41.5,
                37.1,
            ),
            (
                "dconv-r101",
                "mask_rcnn_r101_fpn_dconv_c3-c5_1x_coco",
                "20200216-a71f5bce",
                "ResNet-101-FPN with deformable convolutions",
                43.5,
                38.9,
            ),
        )
    ),
    *(  # configs/ms_rcnn/metafile.yml
        _mmdet(
            f"mmdet-ms-{name}-1x",
            f"ms_rcnn_{file}_fpn_1x_coco/ms_rcnn_{file}_fpn_1x_coco_{digits}",
            f"Mask Scoring R-CNN, {about}, 12 epochs",
            box_ap,
            mask_ap,
            folder="ms_rcnn",
        )
        for name, file, digits, about, box_ap, mask_ap in (
            ("x101-32x4d", "x101_32x4d", "20200206-81fd1740", "ResNeXt-101-32x4d-FPN", 41.8, 38.7),
            ("x101-64x4d", "x101_64x4d", "20200206-86ba88d2", "ResNeXt-101-64x4d-FPN", 43.0, 39.5),
        )
    ),
    *(  # configs/seesaw_loss/README.md; APs are LVIS v1's
        _mmdet(
            f"mmdet-seesaw-{name}-lvis",
            f"mask_rcnn_{name}_fpn_{sampling}_seesaw_loss_mstrain_2x_lvis_v1-{digits}",
            f"Mask R-CNN with Seesaw loss, {about}, LVIS v1",
            box_ap,
            mask_ap,
            folder="seesaw_loss",
        )
        for name, sampling, digits, about, box_ap, mask_ap in (
            ("r50", "sample1e-3", "392a804b", "ResNet-50-FPN", 27.6, 26.4),
            ("r101", "sample1e-3", "e68eb464", "ResNet-101-FPN", 28.9, 27.6),
        )
    ),
    Published(
        "matterport-coco",
        "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5",
        "md5:e98aaff6f99e307b5e2a8a3ff741a518",  # noted by NVIDIA TensorRT (sampleUffMaskRCNN); the release has none
        "MIT (its repository)",
        "matterport/Mask_RCNN, ResNet-101-FPN",
        34.7,  # on the 5,000 images of 2014 called minival
    ),
    _torchvision(
        "torchvision-resnet50",
        "resnet50-0676ba61.pth",
        "sha256:0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        "ResNet-50 on ImageNet, V1 (76.1 % top-1)",
        size=102_530_333,
    ),
    _torchvision(
        "torchvision-resnet50-v2",
        "resnet50-11ad3fa6.pth",
        "sha256:11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
        "ResNet-50 on ImageNet, V2 (80.9 % top-1)",
    ),
    _torchvision(
        "torchvision-resnet101",
        "resnet101-63fe2227.pth",
        "sha256:63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
        "ResNet-101 on ImageNet, V1 (77.4 % top-1)",
    ),
    _torchvision(
        "torchvision-resnet101-v2",
        "resnet101-cd907fc2.pth",
        "sha256:cd907fc2",
        "ResNet-101 on ImageNet, V2 (81.9 % top-1)",
    ),
    *(_torchvision(f"torchvision-{name}", file, f"sha256:{file[-12:-4]}", about) for name, file, about in _TORCH_BACKBONES),
    *(_timm(f"timm-{name}", file, about) for name, file, about in _TIMM_BACKBONES),
)
PUBLISHED = {file.name: file for file in _FILES}
SHIPPED = {"nuclei": Path(__file__).parent / "shipped" / "nuclei.keras"}  # whole models; beside each its card, NAME.md

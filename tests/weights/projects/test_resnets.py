"""ResNets of torchvision and timm as backbones; and which source knows which file."""

import json
from pathlib import Path

import numpy as np
import pytest
from weights import layout_files
from weights.layout_files import R50, Sizes, fill, narrow, zeros

from maskrcnn.config import fields, presets
from maskrcnn.config.model import ModelConfig
from maskrcnn.config.presets import placeholder_categories
from maskrcnn.model.backbones.build import build_backbone
from maskrcnn.weights.projects import detectron2, mmdet, resnets, torchvision

GOLDEN = Path(__file__).parents[2] / "golden" / "torchvision_names.json"


def small(**sizes) -> dict[str, np.ndarray]:
    return fill(layout_files.torch_resnet(narrow(**sizes)))


def test_file_of_the_tests_has_the_names_and_shapes_of_torchvision():
    golden = {name: tuple(shape) for name, shape in json.loads(GOLDEN.read_text())["resnet50"].items()}
    assert layout_files.torch_resnet(R50) == golden


def test_backbone_gets_every_weight_and_the_classifier_is_unused():
    checkpoint = resnets.read(zeros(layout_files.torch_resnet(R50)))
    config = fields.replace(presets.preset("resnet50_fpn", placeholder_categories(1)), **checkpoint.changes)
    assert {weight.path: tuple(weight.shape) for weight in build_backbone(config.backbone).weights} == {
        path: array.shape for path, array in checkpoint.arrays.items()
    }
    assert checkpoint.categories is None and checkpoint.unused == ("fc.weight", "fc.bias")
    assert (config.image.channel_order, config.image.std) == ("rgb", (58.395, 57.12, 57.375))  # the preset's are Caffe's
    with pytest.raises(ValueError, match="backbone of a PyTorch ResNet alone"):
        checkpoint.config  # noqa: B018


def test_resnext_is_told_from_its_shapes():
    checkpoint = resnets.read(zeros(layout_files.torch_resnet(Sizes(blocks=(3, 4, 23, 3), groups=64, width_per_group=4))))
    assert checkpoint.changes["backbone__groups"] == 64 and checkpoint.changes["backbone__name"] == "resnet101"


def test_values_arrive_where_they_belong():
    tensors = small()
    arrays = resnets.read(tensors).arrays
    np.testing.assert_array_equal(
        arrays["conv2_block1_0_conv/kernel"][0, 0].T, tensors["layer1.0.downsample.0.weight"][..., 0, 0]
    )
    np.testing.assert_array_equal(arrays["conv5_block3_3_bn/gamma"], tensors["layer4.2.bn3.weight"])
    np.testing.assert_array_equal(arrays["conv1_conv/kernel"][2, 5, 1], tensors["conv1.weight"][:, 1, 2, 5])


@pytest.mark.parametrize("name", ["conv1.0.weight", "layer1.0.se.fc1.weight", "layer2.0.downsample.2.weight"])
def test_other_resnets_are_refused_by_a_tensor(name):
    with pytest.raises(ValueError, match=f"'{name}' has no place in a plain ResNet"):
        resnets.read(small() | {name: np.zeros(1)})


def test_a_file_without_its_last_convolutions_is_refused():
    tensors = {name: tensor for name, tensor in small().items() if "conv3" not in name and "bn3" not in name}
    with pytest.raises(ValueError, match=r"no tensor 'layer1.0.conv3.weight'"):
        resnets.read(tensors)


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", (2, 2, 2, 2)), ("resnet34", (3, 4, 6, 3))])
def test_basic_blocks_are_told_from_bottlenecks_of_as_many(name, blocks):
    """torchvision's `BasicBlock`: two 3×3 convolutions, and no shortcut of its own where nothing changes."""
    shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    for layer, num_blocks in enumerate(blocks, start=1):
        width = 64 * 2 ** (layer - 1)
        for block in range(num_blocks):
            before = width // 2 if block == 0 and layer > 1 else width
            at = f"layer{layer}.{block}"
            shapes |= {f"{at}.conv1.weight": (width, before, 3, 3), f"{at}.conv2.weight": (width, width, 3, 3)}
            shapes |= norm(f"{at}.bn1", width) | norm(f"{at}.bn2", width)
            if before != width:
                shapes |= {f"{at}.downsample.0.weight": (width, before, 1, 1), **norm(f"{at}.downsample.1", width)}
    checkpoint = resnets.read(zeros(shapes))
    config = fields.replace(ModelConfig(placeholder_categories(1)), **checkpoint.changes)
    assert config.backbone.name == name and checkpoint.unused == ()
    assert {weight.path: tuple(weight.shape) for weight in build_backbone(config.backbone).weights} == {
        path: array.shape for path, array in checkpoint.arrays.items()
    }


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def test_only_its_own_source_and_the_backbones_know_a_file():
    files = {
        torchvision: layout_files.torchvision(narrow()),
        detectron2: layout_files.detectron2(narrow()),
        mmdet: layout_files.mmdet(narrow()),
        resnets: layout_files.torch_resnet(narrow()),
    }
    for source, shapes in files.items():
        known = [other.NAME for other in (torchvision, detectron2, mmdet) if other.recognise(zeros(shapes))]
        assert known == ([] if source is resnets else [source.NAME])
    assert resnets.recognise(zeros(files[resnets])) and not resnets.recognise(zeros(files[detectron2]))

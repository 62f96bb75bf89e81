"""Numbers of a model: changed by name, kept through JSON, refused where they cannot be."""

import json

import pytest

from maskrcnn.config import fields, presets
from maskrcnn.config import model as configs
from maskrcnn.config.model import ImageConfig, ModelConfig


@pytest.fixture
def config() -> ModelConfig:
    return presets.preset("mobilenet_v2_fpn", presets.placeholder_categories(2))


@pytest.mark.parametrize("name", list(presets.PRESETS))
def test_every_preset_survives_json(name):
    config = presets.preset(name, presets.placeholder_categories(2))
    assert configs.from_dict(json.loads(json.dumps(fields.to_dict(config)))) == config


def test_replace_reaches_one_level_down_and_changes_nothing_else(config):
    changed = fields.replace(config, detect__max_detections=7, anchors__sizes=[[8], [16], [32], [64], [128]])
    assert changed.detect.max_detections == 7
    assert changed.anchors.sizes == ((8,), (16,), (32,), (64,), (128,))
    assert fields.replace(changed, detect=config.detect, anchors=config.anchors) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"detect__colour": 1}, "DetectConfig has no field 'colour'; possible: score"),
        ({"colour": 1}, "ModelConfig has no field 'colour'"),
        ({"detect__max_detections": "many"}, "takes int values; received 'many'"),
        ({"detect__max_detections": True}, "takes int values"),
        ({"detect__nms": "none"}, "one of 'per_class', 'class_agnostic'; received 'none'"),
        ({"image__channels": 0}, "image.channels is at least 1; received 0"),
        ({"image__channels": 4}, "a number for each of 4 channels; received 3 and 3. input_channels=4 sets all of them"),
        ({"image__mean": (1.0, 2.0)}, "for each of 3 channels; received 2 and 3"),
        ({"image__std": (1.0, 0.0, 1.0)}, "image.std above 0"),
        ({"image__mean": (1.0, float("nan"), 1.0)}, "image.mean is finite"),
        ({"image__mean": ("a", "b", "c")}, "image.mean is finite"),
        ({"image__scaling": "minmax"}, "one of 'all_channels', 'each_channel'; received 'minmax'"),
        (
            {"image__channels": 1, "image__mean": (1.0,), "image__std": (1.0,), "image__channel_order": "bgr"},
            "'bgr' is for 3 channels; received 1",
        ),
        ({"anchors__sizes": ((32,),)}, "five levels"),
        ({"mask_head__mask_size": 30}, "28, 56 or 112"),
        ({"box_head__class_weights": (1.0,)}, "each of 2 classes, or none at all; received 1"),
        ({"box_head__class_counts": (1.0,)}, "each of 2 classes, or none at all; received 1"),
        ({"box_head__class_loss": "federated", "detect__classes": "best"}, 'needs detect.classes="every"'),
        ({"box_head__class_weights": (1.0, 0.0)}, "finite numbers above 0"),
        ({"box_head__class_weights": (1.0, float("inf"))}, "finite numbers above 0"),
        ({"box_head__class_weights": ("high", "low")}, "finite numbers above 0; received ..high"),
        ({"box_head__focal_gamma": -0.1}, "focal_gamma is at least 0"),
        ({"backbone__name": "mobilenet_v2", "backbone__norm": "group"}, "norm=.group. is for 'resnet.*'mobilenet_v2'"),
        ({"box_head__label_smoothing": 1.0}, "label_smoothing is at least 0 and less than 1"),
    ],
)
def test_what_cannot_be_is_refused(config, change, words):
    with pytest.raises(ValueError, match=words):
        fields.replace(config, **change)


def test_a_field_of_a_newer_version_is_refused(config):
    values = fields.to_dict(config)
    values["detect"]["of_tomorrow"] = True
    with pytest.raises(ValueError, match="'of_tomorrow'; was the model saved by a newer version"):
        configs.from_dict(values)


def test_every_preset_takes_any_number_of_channels_and_survives_json():
    for name in presets.PRESETS:
        rgb = presets.preset(name, presets.placeholder_categories(1))
        assert presets.with_channels(rgb, 3) is rgb
        for channels in (1, 2, 4, 16):
            config = presets.preset(name, rgb.categories, input_channels=channels)
            assert configs.from_dict(json.loads(json.dumps(fields.to_dict(config)))) == config
            image = config.image
            assert (image.channels, len(image.mean), len(image.std), image.channel_order) == (
                channels,
                channels,
                channels,
                "rgb",
            )
            assert image.mean[0] == pytest.approx(sum(rgb.image.mean) / 3) and image.scaling == "each_channel"
            # A frozen first convolution would see no more of several channels than their mean.
            assert config.backbone.frozen_stages == (rgb.backbone.frozen_stages if channels == 1 else 0)


def test_a_config_from_before_there_were_channels_is_rgb(config):
    values = fields.to_dict(config)
    del values["image"]["channels"], values["image"]["scaling"]
    assert configs.from_dict(values) == config
    assert (config.image.channels, config.image.scaling) == (3, "all_channels")


def test_frames_hold_every_image_that_the_resize_makes():
    for image in (ImageConfig(), ImageConfig(short_side=512, long_side=853), ImageConfig(short_side=100, long_side=110)):
        frames = image.frames()
        assert len(frames) <= 7
        assert all(side % image.stride == 0 for frame in frames for side in frame)
        assert max(frames) >= (image.long_side, image.long_side)

"""Laws of models asked together and of test-time augmentation."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from small_network import small_network

from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category
from maskrcnn.inference import whole
from maskrcnn.inference.ensemble import Ensemble
from maskrcnn.inference.fusion import flipped
from maskrcnn.inference.scoring import Finder
from maskrcnn.inference.tiles import detect_large
from maskrcnn.structures import Detector

pytestmark = pytest.mark.backend
IMAGE = np.random.default_rng(1).integers(0, 255, (80, 100, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    network = small_network(num_classes=2, image__short_side=64, image__long_side=96, detect__score=0.0)
    rng = np.random.default_rng(1)
    for variable in network.trainable_variables:
        variable.assign(rng.normal(0, 0.2, variable.shape))
    return network


def assert_same(found, want) -> None:
    assert len(found) == len(want) > 3
    np.testing.assert_allclose(found.scores, want.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, want.boxes, atol=0.05)
    np.testing.assert_allclose(found.small_masks, want.small_masks, atol=1e-3)


def test_one_model_looking_once_answers_as_alone(network) -> None:
    (found,), (want,) = Ensemble([network]).detect([IMAGE]), whole.detect(network, [IMAGE])
    assert_same(found, want)
    assert found.image is IMAGE


def test_the_answer_about_a_flipped_image_is_the_flipped_answer(network) -> None:
    model = Ensemble([network], flip="horizontal", scales=(1.0, 1.25))
    (found,), (of_flipped,) = model.detect([IMAGE]), model.detect([IMAGE[:, ::-1]])
    assert_same(flipped(of_flipped, 1), found)
    (once,), (once_flipped,) = whole.detect(network, [IMAGE]), whole.detect(network, [IMAGE[:, ::-1]])
    assert np.abs(flipped(once_flipped, 1).boxes - once.boxes).max() > 1, "a single look knows no such law"


def test_scales_are_looked_at(network) -> None:
    (found,), (want,) = (
        Ensemble([network], scales=(2.0,)).detect([IMAGE]),
        whole.detect(_with(network, image__short_side=128, image__long_side=192), [IMAGE]),
    )
    assert_same(found, want)


def test_classes_in_another_order_are_the_same_classes(network) -> None:
    turned = _with(network, categories=tuple(network.config.categories[::-1]))
    (found,) = Ensemble([network, turned]).detect([IMAGE])
    (want,) = whole.detect(network, [IMAGE])
    assert found.class_names == want.class_names
    assert found.labels.tolist().count(0) == found.labels.tolist().count(1) == 10  # nothing is fused: each says another class
    with pytest.raises(ValueError, match="one knows class 1, class 2, another cat, class 2"):
        Ensemble([network, _with(network, categories=(Category(1, "cat"), network.config.categories[1]))])


def test_it_stands_where_a_model_stands(network) -> None:
    model = Ensemble([network], flip="both")
    assert isinstance(model, Finder) and not isinstance(model, Detector)
    (found,) = whole.detect(model, [IMAGE], score=0.3)
    assert (found.scores >= 0.3).all()
    assert len(list(detect_large(model, IMAGE, tile=64))) == 2  # rows of tiles
    with pytest.raises(ValueError, match="A scale of tiles is for one model"):
        next(detect_large(model, IMAGE, scale=2.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": "sideways"}, "flip is one of none, horizontal, both; received 'sideways'"),
        ({"scales": ()}, "scales lie between 0.1 and 10"),
        ({"scales": (1.0, float("nan"))}, "scales lie between 0.1 and 10"),
        ({"iou": 1.0}, "iou lies between 0 and 1; received 1.0"),
    ],
)
def test_settings_without_meaning_are_refused(network, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Ensemble([network], **options)
    with pytest.raises(ValueError, match="received none"):
        Ensemble([])


def _with(network, **changes):
    return SimpleNamespace(config=replace(network.config, **changes), predict_on_batch=network.predict_on_batch)

"""What the tests of exports share: a random model, and when two answers agree."""

from __future__ import annotations

import threading

import numpy as np
from small_network import images_of, make_batch, small_config, with_small_backbone

from maskrcnn.api import MaskRCNN
from maskrcnn.engines.engine import Engine

KEYPOINTS = {
    "keypoint_head__num_keypoints": 3,
    "keypoint_head__num_convs": 1,
    "keypoint_head__channels": 8,
    "keypoint_head__pool_size": 4,
}
KINDS = {
    "a cascade": {
        "cascade__positive_ious": (0.6, 0.7),
        "cascade__delta_weights": ((20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
        "cascade__mask_heads": True,
        "box_head__class_agnostic": True,
    },
    "pooled as matterport does": {
        "roi_align__mode": "crop_and_resize",
        "roi_align__level_epsilon": 0.0,
        "roi_align__level_shift": 0.5,
        "anchors__ends": "last_pixel",
        "rpn__rank": "all_levels",
        "detect__classes": "best",
        "image__place": "centre",
        "image__padding": "black",
    },
    "keypoints without masks": {**KEYPOINTS, "mask_head__kind": "none"},
    "mask scoring, keypoints and deformable convolutions": {
        **KEYPOINTS,
        "mask_head__kind": "scoring",
        "mask_scoring__channels": 8,
        "mask_scoring__hidden": 16,
        "backbone__name": "resnet50",
        "backbone__deformable": "modulated",
    },
    "PointRend": {
        "mask_head__kind": "point_rend",
        "mask_head__mask_size": 56,
        "mask_head__pool_size": 4,
        "point_rend__hidden": 16,
        "point_rend__channels": 8,
        "point_rend__subdivision_points": 100,
    },
    "as many samples as a bin has pixels": {"roi_align__sampling_ratio": 0},
    "pooled as torchvision does, group norms and a box head of convolutions": {
        "roi_align__aligned": False,
        "anchors__strides": "frame",
        **{f"{part}__norm": "group" for part in ("fpn", "box_head", "mask_head")},
        **{f"{part}__channels": 32 for part in ("fpn", "mask_head")},
        "box_head__kind": "4conv1fc",
        "box_head__conv_channels": 32,
    },
}


def random_model(**changes) -> MaskRCNN:
    """Finds something everywhere, by chance."""
    small = {"detect__score": 0.01, "image__short_side": 64, "image__long_side": 96, "fpn__channels": 16}
    with with_small_backbone():
        model = MaskRCNN(small_config(**{**small, **changes}))
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.07, weight.shape) + (weight.ndim == 1) for weight in model.get_weights()]
    model.set_weights(weights)
    return model


def threads_get_their_own_answers(engine: Engine) -> None:
    batches = [images_of(make_batch((3,), seed=seed)) for seed in range(8)]
    alone = [engine.predict_on_batch(batch) for batch in batches]
    assert np.abs(alone[0].boxes - alone[1].boxes).max() > 1  # else nothing could be crossed
    together: dict[int, list] = {}

    def ask(number: int) -> None:
        together[number] = [engine.predict_on_batch(batches[number]) for _ in range(4)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, found in together.items():
        for answer in found:
            np.testing.assert_allclose(answer.boxes, alone[number].boxes, atol=1e-3)
            np.testing.assert_allclose(answer.masks, alone[number].masks, atol=1e-3)


def answers_agree(one, other) -> None:
    """Row by row, but for the order of detections whose scores rounding alone tells apart."""
    np.testing.assert_array_equal(np.asarray(one.valid), np.asarray(other.valid))
    assert np.asarray(one.valid).any()
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
    for image, valid in enumerate(np.asarray(one.valid)):
        first, second = (np.asarray(answer.boxes)[image][valid] for answer in (one, other))
        labels = (np.asarray(answer.labels)[image][valid] for answer in (one, other))
        apart = np.abs(first[:, None] - second[None]).max(axis=2)
        apart[np.not_equal.outer(*labels)] = np.inf  # boxes may be the same for several classes
        partners = apart.argmin(axis=1)
        assert sorted(partners) == list(range(len(first)))
        assert apart.min(axis=1).max() < 1e-2
        np.testing.assert_allclose(one.masks[image][valid], other.masks[image][valid][partners], atol=1e-2)
        for maps, others in [(one.heat_maps, other.heat_maps)] if len(one.heat_maps) else []:
            np.testing.assert_allclose(maps[image][valid], others[image][valid][partners], atol=1e-2)
        np.testing.assert_allclose(one.scores[image][valid], other.scores[image][valid][partners], atol=1e-4)

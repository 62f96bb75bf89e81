"""Laws of detections that one process sends to another."""

from __future__ import annotations

import numpy as np
from small_network import small_config

from maskrcnn.distributed.place import Place
from maskrcnn.distributed.scoring import SharedFinder, packed, unpacked
from maskrcnn.structures import Detections, PaddedDetections

CONFIG = small_config()


def found(rng: np.random.Generator, count: int, *, num_keypoints: int = 0) -> Detections:
    corners = rng.uniform(0, 30, (count, 2))
    return Detections(
        boxes=np.concatenate([corners, corners + rng.uniform(4, 30, (count, 2))], axis=1).astype(np.float32),
        scores=rng.random(count, np.float32),
        labels=rng.integers(0, 3, count).astype(np.int32),
        small_masks=rng.random((count, 7, 7), np.float32),
        size=(50, 61),
        class_names=CONFIG.class_names,
        keypoints=rng.random((count, num_keypoints, 3), np.float32) if num_keypoints else None,
    )


def test_what_arrives_scores_and_draws_as_what_was_sent():
    rng = np.random.default_rng(0)
    sent = [found(rng, count) for count in (3, 0, 1)]
    received = list(unpacked(packed(sent), CONFIG))
    assert [len(each) for each in received] == [3, 0, 1]
    for one, other in zip(sent, received):
        for name in ("boxes", "scores", "labels"):
            assert getattr(one, name).dtype == getattr(other, name).dtype
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert (one.rle(), one.size, one.names, one.areas().tolist()) == (
            other.rle(), other.size, other.names, other.areas().tolist()
        )  # fmt: skip
        np.testing.assert_array_equal(one.masks, other.masks)
    assert received[0][[2, 0]].rle() == sent[0][[2, 0]].rle()
    assert list(unpacked(packed([]), CONFIG)) == []


def test_keypoints_arrive():
    config = small_config(keypoint_head__num_keypoints=17)
    sent = [found(np.random.default_rng(1), count, num_keypoints=17) for count in (2, 0)]
    received = list(unpacked(packed(sent), config))
    np.testing.assert_array_equal(received[0].keypoints, sent[0].keypoints)
    assert received[1].keypoints.shape == (0, 17, 3)


class BrightnessAsScore:
    """Stands in for a model: one object an image, whose score is the brightness of the image's first pixel."""

    config = CONFIG

    def predict_on_batch(self, batch):
        score = np.asarray(batch["images"], np.float32)[:, 0, :1, 0] / 255  # (B, 1)
        boxes = np.tile(np.array([0, 0, 8, 8], np.float32), (len(score), 1, 1))
        labels, masks = np.zeros(score.shape, np.int32), np.ones((*score.shape, 7, 7), np.float32)
        return PaddedDetections(boxes, score, labels, masks, np.ones(score.shape, bool))


def test_each_process_has_a_part_of_the_images_and_the_first_gets_all_in_order(monkeypatch):
    images = [np.full((32, 48, 3), value, np.uint8) for value in (200, 100, 150, 250, 50)]
    sent: dict[int, bytes] = {}
    monkeypatch.setattr("maskrcnn.distributed.scoring.OnOwnDevices", lambda model: model)
    answers = {}
    for number in (1, 0):  # the first comes last, and finds what the other sent

        def gathered(content: bytes, number: int = number) -> list[bytes]:
            sent[number] = content
            return [sent.get(each, b"") for each in range(2)]

        monkeypatch.setattr("maskrcnn.distributed.scoring.gathered", gathered)
        finder = SharedFinder(BrightnessAsScore(), Place(number, 2))
        answers[number] = list(finder.detect(images, batch_size=5, score=0.0))
    assert answers[1] == []
    assert [round(float(each.scores[0]) * 255) for each in answers[0]] == [200, 100, 150, 250, 50]

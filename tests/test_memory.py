"""Laws of expecting how much memory is needed, and of what is said where there is too little."""

from __future__ import annotations

import re

import numpy as np
import pytest

from maskrcnn import memory, resources
from maskrcnn.config.augment import AUGMENTATIONS
from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, ImageConfig, ModelConfig
from maskrcnn.config.presets import PRESETS, placeholder_categories, preset
from maskrcnn.inference.whole import detect
from maskrcnn.structures import PaddedDetections

CONFIG = preset("resnet50_fpn", (Category(1, "thing"),))
WEIGHTS = 44_000_000


def free(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    monkeypatch.setattr(memory, "available", lambda: round(gigabytes * 1e9))
    monkeypatch.setattr(memory, "BASE", 10**12)  # this process keeps nothing that could be used again
    monkeypatch.delenv(memory.SWITCH, raising=False)


def test_more_of_anything_takes_more() -> None:
    least = memory.inference_bytes(CONFIG, WEIGHTS, (512, 512), 1)
    for more in (
        memory.inference_bytes(CONFIG, WEIGHTS, (512, 832), 1),
        memory.inference_bytes(CONFIG, WEIGHTS, (512, 512), 2),
        memory.inference_bytes(replace(CONFIG, detect__max_detections=400), WEIGHTS, (512, 512), 1),
        memory.inference_bytes(preset("resnet50_fpn", placeholder_categories(1203)), WEIGHTS, (512, 512), 1),
    ):
        assert more > least
    least = memory.training_bytes(CONFIG, WEIGHTS, (512, 512), 1, 10)
    assert 5e8 < least < 1e10
    for more in (
        memory.training_bytes(CONFIG, WEIGHTS, (512, 832), 1, 10),
        memory.training_bytes(CONFIG, WEIGHTS, (512, 512), 2, 10),
        memory.training_bytes(CONFIG, WEIGHTS, (512, 512), 1, 10, slots=3),
        memory.training_bytes(CONFIG, WEIGHTS, (512, 512), 1, 1000),
        memory.training_bytes(replace(CONFIG, backbone__frozen_stages=0), WEIGHTS, (512, 512), 1, 10),
    ):
        assert more > least
    assert memory.training_bytes(CONFIG, WEIGHTS, (512, 512), 1, 10, bytes_a_number=2) < least


MEASURED = [  # MB in inference, bench/memory_estimate.py
    ("resnet50_fpn", (512, 512), 4, 1320),
    ("resnet50_fpn", (800, 1344), 1, 458),
    ("convnext_tiny_fpn", (512, 512), 4, 1235),
    ("convnext_tiny_fpn", (800, 1344), 1, 523),
    ("convnext_base_fpn", (800, 1344), 1, 529),
    ("swin_tiny_fpn", (512, 512), 4, 1372),
    ("swin_tiny_fpn", (800, 1344), 1, 567),
    ("swin_base_fpn", (800, 1344), 1, 899),
    ("regnetx_4gf_fpn", (512, 512), 4, 1568),
    ("regnetx_4gf_fpn", (800, 1344), 1, 656),
    ("mobilenet_v3_large_fpn", (512, 512), 4, 494),
    ("mobilenet_v3_large_fpn", (800, 1344), 1, 391),
    ("efficientnet_lite0_fpn", (512, 512), 4, 496),
    ("efficientnet_lite0_fpn", (800, 1344), 1, 310),
]


@pytest.mark.parametrize(("name", "frame", "batch_size", "megabytes"), MEASURED)
def test_each_family_is_expected_to_take_about_what_was_measured(name, frame, batch_size: int, megabytes: int) -> None:
    expected = memory.inference_bytes(preset(name, placeholder_categories(80)), WEIGHTS, frame, batch_size) / 1e6
    assert 0.8 * megabytes < expected < 1.25 * megabytes


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_family(name) -> None:
    config = preset(name, placeholder_categories(3))
    for stages in (0, 2):
        frozen = replace(config, backbone__frozen_stages=stages)
        assert memory.training_bytes(frozen, WEIGHTS, (512, 512), 2, 10) > memory.inference_bytes(
            frozen, WEIGHTS, (512, 512), 1
        )


@pytest.mark.parametrize("family", ["convnext", "swin"])
def test_the_wider_backbone_of_a_family_takes_more(family: str) -> None:
    small, large = (preset(f"{family}_{size}_fpn", placeholder_categories(3)) for size in ("tiny", "base"))
    assert memory.inference_bytes(large, WEIGHTS, (800, 1344), 1) > memory.inference_bytes(small, WEIGHTS, (800, 1344), 1)


def test_what_fits_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 100)
    memory.check_inference(CONFIG, WEIGHTS, (800, 1344), 4)
    memory.check_training(CONFIG, WEIGHTS, (800, 1344), 4, 10)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_setting_that_is_named_fits_and_the_next_larger_does_not(monkeypatch, batch_size: int) -> None:
    needed = memory.training_bytes(CONFIG, WEIGHTS, (1344, 1344), batch_size, 10)
    for share in (0.3, 0.6, 0.9):
        free(monkeypatch, share * needed / 1e9)
        with pytest.raises(MemoryError, match="Training on .* takes about .* GB more memory, and .* are free") as raised:
            memory.check_training(CONFIG, WEIGHTS, (1344, 1344), batch_size, 10)
        text = str(raised.value)
        assert "\n" not in text and memory.SWITCH in text
        if "no smaller" in text:
            continue
        batch = int(re.search(r"batch_size=(\d+)", text)[1])  # type: ignore[index]
        side = re.search(r"image_size=(\d+)", text)
        small, frame = CONFIG, (1344, 1344)
        if side is not None:
            small, frame = _with_side(int(side[1]))
        memory.check_training(small, WEIGHTS, frame, batch, 10)
        larger = _with_side(int(side[1]) + 32) if side is not None else (CONFIG, frame)
        with pytest.raises(MemoryError):
            memory.check_training(larger[0], WEIGHTS, larger[1], batch if side is not None else batch + 1, 10)


def _with_side(side: int) -> tuple[ModelConfig, tuple[int, int]]:
    long = -(-1344 * side // 800 // 32) * 32
    return replace(CONFIG, image__short_side=side, image__long_side=round(side * 1333 / 800)), (long, long)


def test_many_detections_are_what_is_named_where_they_are_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    many = replace(CONFIG, detect__max_detections=20_000)
    free(monkeypatch, memory.inference_bytes(CONFIG, WEIGHTS, (800, 1344), 1) / 1e9 * 3)
    with pytest.raises(MemoryError, match=r"Looking at an image .* batch_size=1 and detect.max_detections=\d+ would fit"):
        memory.check_inference(many, WEIGHTS, (800, 1344), 1)


def test_what_an_earlier_call_took_is_there_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 0.001)
    with pytest.raises(MemoryError):
        memory.check_inference(CONFIG, WEIGHTS, (800, 1344), 1)
    monkeypatch.setattr(memory, "BASE", -(10**11))
    memory.check_inference(CONFIG, WEIGHTS, (800, 1344), 1)


def test_who_knows_better_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 0.001)
    monkeypatch.setenv(memory.SWITCH, "off")
    memory.check_training(CONFIG, WEIGHTS, (800, 1344), 8, 10)


def test_a_containers_limit_counts(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = memory.available()
    assert 0 < machine < 10**15
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(resources, "_CGROUPS", ((str(limit), str(used), "inactive_file"),))
    limit.write_text("1000000\n")
    used.write_text("800000\n")
    (tmp_path / "memory.stat").write_text("anon 700000\ninactive_file 50000\n")
    assert memory.available() == 250_000
    limit.write_text("max\n")
    assert memory.available() > 250_000


@pytest.mark.parametrize(
    ("batch_size", "augment", "frame"),
    [(1, None, (832, 512)), (2, None, (832, 832)), (2, "photos", (512, 512)), (2, "flip", (832, 832))],
)
def test_the_largest_frame_is_that_of_the_data(batch_size: int, augment: str | None, frame: tuple[int, int]) -> None:
    image = ImageConfig(short_side=512, long_side=832)
    sizes = [(480, 640), (1000, 400), (400, 1000)][: 2 + (batch_size > 1)]
    chosen = AUGMENTATIONS[augment] if augment else None
    assert memory.largest_frame(sizes, image, batch_size, chosen) == frame


def test_detect_asks_before_each_new_frame() -> None:
    asked = []

    class Model:
        config = ModelConfig(categories=(Category(1, "thing"),), image=ImageConfig(32, 64))

        def check_memory(self, frame: tuple[int, int], batch_size: int) -> None:
            asked.append((frame, batch_size))
            if max(frame) > 32:
                raise MemoryError("too large")

        def predict_on_batch(self, batch):
            zeros = np.zeros((1, 1))
            return PaddedDetections(np.zeros((1, 1, 4)), zeros, zeros.astype(int), np.zeros((1, 1, 28, 28)), zeros > 0)

    square, long = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)
    found = detect(Model(), [square, square, long])
    assert len([next(found), next(found)]) == 2
    with pytest.raises(MemoryError, match="too large"):
        next(found)
    assert asked == [((32, 32), 1), ((32, 64), 1)]

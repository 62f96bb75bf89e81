"""The model people hold: presets, classes, files, and Keras's verbs."""

import numpy as np
import pytest

from maskrcnn.api import MaskRCNN, load_model
from maskrcnn.data import load_dataset, make_shapes, read_image
from maskrcnn.structures import PaddedDetections

SMALL = {
    "weights": None,
    "image__short_side": 96,
    "image__long_side": 128,
    "fpn__channels": 16,
    "box_head__hidden": 32,
    "mask_head__channels": 16,
    "mask_head__num_convs": 1,
    "rpn__train_top_k": 50,
    "rpn__train_proposals": 50,
    "rpn__top_k": 50,
    "rpn__proposals": 50,
    "roi_sampler__num_sampled": 32,
    "detect__score": 0.0,
    "detect__max_detections": 10,
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> tuple[str, str]:
    train_json, val_json = make_shapes(tmp_path_factory.mktemp("shapes"), num_train=4, num_val=3, seed=1)
    return str(train_json), str(val_json)


@pytest.fixture(scope="module")
def model(shapes) -> MaskRCNN:
    model = MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=3, **SMALL)
    model.compile(optimizer="adam", loss="binary_crossentropy")
    model.history_of_fixture = model.fit(shapes[0], validation_data=shapes[1], epochs=1, verbose=0).history
    return model


LOSSES = {"loss", "rpn_objectness_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss"}


def test_fit_shows_each_loss_by_name_in_training_and_in_validation(model):
    assert set(model.history_of_fixture) == LOSSES | {f"val_{name}" for name in LOSSES}
    assert all(np.isfinite(values).all() for values in model.history_of_fixture.values())


def test_fit_learns_the_names_of_classes_known_by_number(model):
    assert model.config.class_names == ["circle", "square", "triangle"]


def test_data_of_another_number_of_classes_is_refused(shapes):
    model = MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=2, **SMALL)
    model.compile()
    with pytest.raises(ValueError, match=r"made for 2 classes and the data has 3 .*num_classes=3"):
        model.fit(shapes[0])


def test_data_of_other_classes_is_refused_by_name(shapes):
    model = MaskRCNN.from_preset("mobilenet_v2_fpn", class_names=["cat", "dog", "cow"], **SMALL)
    model.compile()
    with pytest.raises(ValueError, match="circle"):
        model.fit(shapes[0])


def test_evaluate_of_keras_gives_the_losses(model, shapes):
    assert set(model.evaluate(shapes[1], verbose=0, return_dict=True)) == LOSSES


def test_predict_of_keras_ignores_the_truth(model, shapes):
    answer = model.predict(shapes[1], verbose=0)
    assert isinstance(answer, PaddedDetections)
    assert answer.boxes.shape == (3, 10, 4)
    assert answer.masks.shape == (3, 10, 28, 28)


def test_detect_takes_paths_arrays_and_batches_alike(model, shapes):
    samples = load_dataset(shapes[1]).samples
    pictures = [read_image(sample.path) for sample in samples]
    from_paths = model.detect([sample.path for sample in samples])
    for other in (model.detect(pictures), model.detect(np.stack(pictures)), model.detect(iter(pictures), batch_size=2)):
        assert len(other) == len(from_paths) == 3
        for first, second in zip(from_paths, other, strict=True):
            np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-2)
            np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)
    (single,) = model.detect(samples[0].path)
    np.testing.assert_allclose(single.boxes, from_paths[0].boxes, atol=1e-3)
    assert single.path == samples[0].path


def test_detections_are_in_original_pixels_whatever_the_size(model):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (*size, 3), np.uint8) for size in ((300, 400), (64, 48), (50, 600))]
    for picture, detections in zip(pictures, model.detect(pictures, batch_size=2), strict=True):
        height, width = picture.shape[:2]
        assert detections.size == (height, width)
        assert len(detections) == 10
        assert (detections.boxes >= 0).all()
        assert (detections.boxes <= np.array([width, height] * 2) + 1e-3).all()
        assert detections.masks.shape == (10, height, width)
        assert detections.masks.dtype == bool
        assert set(detections.names) <= {"circle", "square", "triangle"}
        np.testing.assert_array_equal(detections.areas(), detections.masks.sum(axis=(1, 2)))
        assert (np.diff(detections.scores) <= 0).all()


def test_a_score_leaves_out_what_is_less_likely(model):
    picture = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    (everything,) = model.detect(picture)
    limit = float(everything.scores[4])
    (some,) = model.detect(picture, score=limit)
    assert len(some) == (everything.scores >= limit).sum()


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((4, 4, 4), np.uint8), "received shape"),
        (np.zeros((0, 4, 3), np.uint8), "received shape"),
        (np.full((4, 4, 3), 300.0), "from 0 to 255"),
        (np.full((4, 4, 3), 0.5), "from 0 to 255"),
        (np.full((4, 4, 3), np.nan), "finite"),
    ],
)
def test_what_is_no_picture_is_refused(model, picture, words):
    with pytest.raises(ValueError, match=words):
        model.detect(picture)


def test_save_and_load_give_the_same_answer_classes_and_preprocessing(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.config == model.config
    assert loaded.optimizer.iterations == model.optimizer.iterations
    picture = np.random.default_rng(0).integers(0, 255, (100, 120, 3), np.uint8)
    for first, second in zip(model.detect(picture), loaded.detect(picture), strict=True):
        np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-3)
        np.testing.assert_allclose(first.small_masks, second.small_masks, atol=1e-5)


def test_a_loaded_model_goes_on_learning(model, shapes, tmp_path):
    model.save(tmp_path / "model.keras")
    history = load_model(tmp_path / "model.keras").fit(shapes[0], steps_per_epoch=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_the_folder_of_a_run_means_its_best_model(model, tmp_path):
    model.save(tmp_path / "best.keras")
    assert load_model(tmp_path).config == model.config


def test_weights_of_other_classes_keep_all_but_the_class_layers(model, tmp_path):
    model.save(tmp_path / "model.keras")
    changes = {**SMALL, "weights": tmp_path / "model.keras", "backbone__norm": "live", "backbone__frozen_stages": 0}
    with pytest.warns(UserWarning, match="knows 3 classes, the new model 5"):
        other = MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=5, **changes)
    np.testing.assert_array_equal(other.fpn.get_weights()[0], model.fpn.get_weights()[0])
    assert other.config.num_classes == 5


def test_weights_of_another_width_are_refused_by_name(model, tmp_path):
    model.save(tmp_path / "model.keras")
    changes = {**SMALL, "weights": tmp_path / "model.keras", "fpn__channels": 32}
    with pytest.raises(ValueError, match="fpn/lateral"):
        MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=3, **changes)


def test_without_a_network_auto_warns_once_and_starts_from_random_weights(monkeypatch):
    def offline(name):
        raise ConnectionError("ImageNet weights cannot be had.")

    monkeypatch.setattr("maskrcnn.weights.backbones.imagenet", offline)
    with pytest.warns(UserWarning, match="random weights") as warned:
        model = MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=1, **{**SMALL, "weights": "auto"})
    assert len(warned) == 1
    assert model.config.backbone.norm == "live"
    with pytest.raises(ConnectionError, match="cannot be had"):
        MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=1, **{**SMALL, "weights": "imagenet"})


def test_a_backbone_file_leaves_norms_frozen(shared_weights):
    changes = {**SMALL, "weights": shared_weights / "mobilenet_v2_imagenet.npz"}
    model = MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=1, **changes)
    assert model.config.backbone.norm == "frozen"
    assert not model.backbone.get_layer("bn_Conv1").trainable
    assert model.backbone.get_layer("Conv_1").trainable


def test_the_same_seed_gives_the_same_weights():
    first, second = (MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=1, seed=4, **SMALL) for _ in range(2))
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preset": "resnet18_fpn", "num_classes": 1}, "Unknown preset 'resnet18_fpn'; possible: resnet50_fpn"),
        ({"preset": "resnet50_fpn"}, "give num_classes"),
        ({"preset": "resnet50_fpn", "num_classes": 0}, "received num_classes=0"),
        ({"preset": "resnet50_fpn", "num_classes": 3, "class_names": ["a"]}, "contradicts"),
        ({"preset": "resnet50_fpn", "class_names": ["a", "a"]}, "'a' more than once"),
        ({"preset": "resnet50_fpn", "num_classes": 1, "detect__colour": 1, "weights": None}, "has no field 'colour'"),
    ],
)
def test_what_cannot_be_says_what_can(arguments, words):
    with pytest.raises(ValueError, match=words):
        MaskRCNN.from_preset(**arguments)


def test_files_that_are_no_models_are_refused_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="No model file"):
        load_model(tmp_path / "nothing.keras")
    with pytest.raises(FileNotFoundError, match="neither best.keras nor last.keras"):
        load_model(tmp_path)
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(ValueError, match=r"not a whole \.keras file"):
        load_model(tmp_path / "text.keras")


def test_a_truncated_model_is_refused_in_one_line(model, tmp_path):
    model.save(tmp_path / "model.keras")
    whole = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "model.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="model.keras") as refusal:
        load_model(tmp_path / "model.keras")
    assert "\n" not in str(refusal.value)

"""The model people hold: presets, classes, files, and Keras's verbs."""

import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import small_checkpoint
from references import matterport as reference
from small_checkpoint import with_shallow_resnet, write_h5, write_torchvision
from small_data import annotation, write_image
from small_network import small_config, with_small_backbone

from maskrcnn.api import MaskRCNN, load_model
from maskrcnn.config.model import Category
from maskrcnn.data.shapes import make_shapes
from maskrcnn.images.images import read_image
from maskrcnn.initialization import HEADS_ANEW
from maskrcnn.structures import PaddedDetections
from maskrcnn.verbs.train import train
from maskrcnn.weights.files.read import read_tensors

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


@pytest.fixture
def untrained() -> MaskRCNN:
    """A model that is compiled, for what is refused before a step is made."""
    with with_small_backbone():
        model = MaskRCNN(small_config(num_classes=1))
    model.compile("sgd")
    return model


def write_coco(path: Path, *annotations: dict) -> str:
    """A data set of an image and these annotations of it."""
    write_image(path.parent / "a.png")
    images = [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "class 1"}]}
    path.write_text(json.dumps(content))
    return str(path)


def test_what_was_wrong_with_data_is_told_wherever_its_path_is_taken(untrained, tmp_path, monkeypatch):
    path = write_coco(tmp_path / "train.json", annotation(1), annotation(2, segmentation=None))
    for verb in ("fit", "evaluate", "predict"):
        monkeypatch.setattr(keras.Model, verb, lambda *_, **__: None)
        with pytest.warns(UserWarning, match="(?s)1 faults.*1 × missing mask .left out."):
            getattr(untrained, verb)(path)
    with pytest.warns(UserWarning, match="missing mask"):
        untrained.fit(write_coco(tmp_path / "whole.json", annotation(1)), validation_data=path)


def test_data_without_any_object_is_no_data_to_train_on(untrained, tmp_path):
    path = write_coco(tmp_path / "boxes.json", annotation(1, segmentation=None))
    with pytest.warns(UserWarning, match="missing mask"), pytest.raises(ValueError, match="holds no object to train on"):
        untrained.fit(path)
    with pytest.raises(ValueError, match="(?s)boxes.json holds no object to train on.*missing mask"):
        train(path, None, tmp_path / "run", init=None, log=lambda line: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"class_weight": {0: 2.0}}, r"box_head__class_weights.*maskrcnn\.train\(class_weights"),
        ({"sample_weight": np.ones(4)}, "sample_weight has no meaning here"),
        ({"y": np.ones(4)}, "y has no meaning here"),
    ],
)
def test_what_keras_would_pass_over_is_refused(untrained, shapes, arguments, words):
    with pytest.raises(ValueError, match=words):
        untrained.fit(shapes[0], **arguments)


def test_each_fit_has_an_order_of_its_own_that_the_seed_gives_again(shapes, monkeypatch):
    with with_small_backbone():
        model = MaskRCNN(small_config(image__short_side=32, image__long_side=64))
    loaders = []
    monkeypatch.setattr(keras.Model, "fit", lambda self, x, y, **_: loaders.append(x))
    for seed in (1, None, 1):
        if seed is not None:
            keras.utils.set_random_seed(seed)
        model.fit(shapes[0], batch_size=1)
    model.fit(shapes[0], batch_size=1, shuffle=False)
    first, second, again, unshuffled = ([int(loader.batch(n)["image_ids"][0]) for n in range(8)] for loader in loaders)
    assert first == again != second
    assert unshuffled == 2 * sorted(first[:4]) == 2 * sorted(second[:4])


def test_evaluate_of_keras_gives_the_losses(model, shapes):
    assert set(model.evaluate(shapes[1], verbose=0, return_dict=True)) == LOSSES


def test_predict_of_keras_ignores_the_truth(model, shapes):
    answer = model.predict(shapes[1], verbose=0)
    assert isinstance(answer, PaddedDetections)
    assert answer.boxes.shape == (3, 10, 4)
    assert answer.masks.shape == (3, 10, 28, 28)


def test_detect_takes_paths_arrays_and_batches_alike(model, tmp_path):
    # Noise and far logits: boxes a stride apart on a plain ground have equal scores, and rounding decides which comes first.
    paths = [tmp_path / name for name in ("1.png", "22.png", "333.png")]
    for path in paths:
        write_image(path, (72, 96))
    images = [read_image(path) for path in paths]
    kernel = model.box_head.classes.kernel
    before = keras.ops.convert_to_numpy(kernel).copy()
    kernel.assign(100 * before)
    try:
        from_paths = model.detect(paths)
        others = [model.detect(images), model.detect(np.stack(images)), model.detect(iter(images), batch_size=2)]
        (single,) = model.detect(paths[0])
    finally:
        kernel.assign(before)  # the model is every test's
    for other in others:
        assert len(other) == len(from_paths) == 3
        for first, second in zip(from_paths, other, strict=True):
            np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-2)
            np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)
    np.testing.assert_allclose(single.boxes, from_paths[0].boxes, atol=1e-3)
    assert single.path == str(paths[0])


def test_detections_are_in_original_pixels_whatever_the_size(model):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (*size, 3), np.uint8) for size in ((300, 400), (64, 48), (50, 600))]
    for image, detections in zip(images, model.detect(images, batch_size=2), strict=True):
        height, width = image.shape[:2]
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
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    (everything,) = model.detect(image)
    limit = float(everything.scores[4])
    (some,) = model.detect(image, score=limit)
    assert len(some) == (everything.scores >= limit).sum()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 4), np.uint8), "received shape"),
        (np.zeros((0, 4, 3), np.uint8), "received shape"),
        (np.full((4, 4, 3), 300.0), "from 0 to 255"),
        (np.full((4, 4, 3), 0.5), "from 0 to 255"),
        (np.full((4, 4, 3), np.nan), "finite"),
    ],
)
def test_what_is_no_image_is_refused(model, image, words):
    with pytest.raises(ValueError, match=words):
        model.detect(image)


def test_save_and_load_give_the_same_answer_classes_and_preprocessing(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.config == model.config
    assert loaded.optimizer.iterations == model.optimizer.iterations
    image = np.random.default_rng(0).integers(0, 255, (100, 120, 3), np.uint8)
    for first, second in zip(model.detect(image), loaded.detect(image), strict=True):
        np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-3)
        np.testing.assert_allclose(first.small_masks, second.small_masks, atol=1e-5)


def test_loading_draws_no_weights_that_the_file_replaces(model, tmp_path, monkeypatch):
    def draw(initializer, shape, dtype=None, **_):
        pytest.fail(f"{type(initializer).__name__} drew {shape}")

    model.save(tmp_path / "model.keras")
    for kind in (keras.initializers.VarianceScaling, keras.initializers.RandomNormal):
        monkeypatch.setattr(kind, "__call__", draw)
    loaded = load_model(tmp_path / "model.keras")
    for weight, value in zip(loaded.weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)
    assert keras.ops.any(loaded.seed.state != 0), "seeds are drawn as ever"


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
        ({"preset": "resnet19_fpn", "num_classes": 1}, "Unknown preset 'resnet19_fpn'; possible: resnet50_fpn"),
        ({"preset": "resnet50_fpn"}, "give num_classes"),
        ({"preset": "resnet50_fpn", "num_classes": 0}, "received num_classes=0"),
        ({"preset": "resnet50_fpn", "num_classes": 3, "class_names": ["a"]}, "contradicts"),
        ({"preset": "resnet50_fpn", "class_names": ["a", "a"]}, "'a' more than once"),
        ({"preset": "resnet50_fpn", "num_classes": "3"}, "as a whole number; received num_classes='3'"),
        ({"preset": "resnet50_fpn", "class_names": "car"}, r"list of names such as \['car', 'bus'\]; received 'car'"),
        ({"preset": "nuclei", "class_names": [1, 2]}, r"received \[1, 2\]"),
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


def distance(target, probabilities):
    return keras.ops.mean(keras.ops.abs(target - probabilities), axis=-1)


class Slower(keras.optimizers.SGD):
    """An optimizer that is registered nowhere."""


@pytest.mark.filterwarnings("ignore:The object being serialized includes a .lambda.")
@pytest.mark.parametrize(
    ("compiled", "name"),
    [
        ({"loss": distance}, "distance"),
        ({"loss": lambda target, probabilities: distance(target, probabilities)}, "lambda"),
        ({"optimizer": Slower(0.1)}, "Slower"),
    ],
    ids=["loss", "lambda", "optimizer"],
)
def test_a_model_compiled_with_what_is_not_known_here_opens_without_it_and_says_so(tmp_path, compiled, name):
    with with_small_backbone():
        model = MaskRCNN(small_config())
        model.compile(**compiled)
        model.optimizer.build(model.trainable_variables)
        model.save(tmp_path / "model.keras")
        with pytest.warns(UserWarning, match=f"without its loss and optimizer .*{name}") as warned:
            loaded = load_model(tmp_path / "model.keras")
        opened = MaskRCNN.from_checkpoint(tmp_path / "model.keras", log=lambda line: None)
    assert len(warned) == 1 and not loaded.compiled
    for one, other, third in zip(model.get_weights(), loaded.get_weights(), opened.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)


# ── Other than three channels ──


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_model_for_any_channels_is_made_saved_and_loaded(tmp_path, channels):
    with with_small_backbone():
        model = MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=2, input_channels=channels, **SMALL)
        model.save(tmp_path / "model.keras")
        loaded = load_model(tmp_path / "model.keras")
        model.run_eagerly = loaded.run_eagerly = True  # one image takes less than to trace a graph
        assert loaded.config == model.config and loaded.config.image.channels == channels
        image = np.random.default_rng(0).integers(0, 255, (60, 70, channels), np.uint8)
        (first,), (second,) = model.detect(image), loaded.detect(image)
        np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-3)
        assert first.size == (60, 70) and len(first) == 10
        with pytest.raises(ValueError, match=rf"model of {channels} channels is \(H, W, {channels}\).* received shape"):
            model.detect(np.zeros((60, 70, 9), np.uint8))


@pytest.mark.parametrize("whole", [True, False], ids=["from_checkpoint", "from_preset"])
def test_a_model_of_ours_goes_on_with_other_channels_and_says_so(tmp_path, whole):
    told = []
    with with_small_backbone():
        model = MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=2, seed=0, **SMALL)
        model.save(tmp_path / "model.keras")
        if whole:
            other = MaskRCNN.from_checkpoint(tmp_path / "model.keras", input_channels=5, log=told.append)
        else:
            options = {**SMALL, "weights": tmp_path / "model.keras", "backbone__norm": "live"}
            other = MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=2, input_channels=5, log=told.append, **options)
    assert other.config.image.channels == 5 and other.config.image.scaling == "each_channel"
    assert told[-1].startswith("The weights read 3 channels and the model's images have 5")
    kernel = model.backbone.get_layer("stage1_conv").get_weights()[0]
    inflated = other.backbone.get_layer("stage1_conv").get_weights()[0]
    np.testing.assert_allclose(inflated.sum(axis=2), kernel.sum(axis=2), atol=1e-5)
    np.testing.assert_array_equal(other.fpn.get_weights()[0], model.fpn.get_weights()[0])


# ── Weights of other projects ──

IMAGE = np.random.default_rng(7).integers(0, 256, (60, 80, 3), np.uint8)
CLASS_LAYERS = ("box_head/classes/kernel", "box_head/deltas/bias", "mask_head/class_kernel")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Iterator[dict[str, Path]]:
    """A file of each project, of a ResNet that is shallow while this fixture lives."""
    folder = tmp_path_factory.mktemp("files")
    with with_shallow_resnet():
        yield {
            "torchvision v1": small_checkpoint.write_torchvision(folder / "v1.pth"),
            "torchvision v2": write_torchvision(folder / "v2.pth", small_checkpoint.torchvision_tensors(v2=True)),
            "detectron2": small_checkpoint.write_detectron2(folder / "model_final.pkl"),
            "MMDetection": small_checkpoint.write_mmdet(folder / "epoch_12.pth"),
            "resnet50": small_checkpoint.write_resnet(folder / "resnet50.pth"),
        }


@pytest.fixture(scope="module")
def foreign(files) -> MaskRCNN:
    """A model of torchvision's, opened once for the tests that only look at it."""
    options = {**small_checkpoint.SMALL, "class_names": small_checkpoint.NAMES}
    return MaskRCNN.from_checkpoint(files["torchvision v1"], log=lambda line: None, **options)


@pytest.mark.parametrize("source", ["torchvision v1", "torchvision v2", "detectron2", "MMDetection"])
def test_a_checkpoint_is_opened_whole_and_says_what_became_of_it(files, source):
    told = []
    model = MaskRCNN.from_checkpoint(files[source], log=told.append)
    assert told[0] == f"{files[source]}: {source}, 3 classes."
    assert f"{len(model.weights)} weights loaded, 0 start anew, 0 of the file not used." == told[-1]
    assert all(line.startswith("Assumed: ") for line in told[1:-1])
    assert bool(told[1:-1]) == (source in ("detectron2", "MMDetection"))
    assert model.config.origin == f"{source}, {files[source].name}"
    assert (model.config.image.channel_order == "bgr") == (source == "detectron2")


@pytest.mark.parametrize("source", ["torchvision v1", "detectron2"])
def test_a_checkpoint_goes_on_with_other_channels_and_says_so(files, source):
    told = []
    model = MaskRCNN.from_checkpoint(files[source], input_channels=2, log=told.append)
    assert told[-1].startswith("The weights read 3 channels and the model's images have 2")
    image, backbone = model.config.image, model.config.backbone
    assert (image.channels, image.channel_order, len(image.mean), backbone.frozen_stages) == (2, "rgb", 2, 0)
    rgb = MaskRCNN.from_checkpoint(files[source], log=lambda line: None)
    sums = [each.backbone.get_layer("conv1_conv").get_weights()[0].sum(axis=2) for each in (model, rgb)]
    np.testing.assert_allclose(*sums, atol=1e-5)


def test_a_backbone_of_pytorch_goes_on_with_other_channels_and_says_so(files):
    told = []
    options = {**small_checkpoint.SMALL, "weights": files["resnet50"], "num_classes": 1, "image__mean": (1.0, 2.0)}
    model = MaskRCNN.from_preset("resnet50_fpn", input_channels=2, log=told.append, **options)
    assert sum(line.startswith("The weights read 3 channels") for line in told) == 1
    assert model.config.image.mean == (1.0, 2.0) and model.config.image.std == pytest.approx((57.63, 57.63))
    assert model.config.backbone.stride_in == "3x3"


def test_names_of_the_classes_come_from_the_file_or_the_caller(files, foreign):
    quiet = {"log": lambda line: None}
    assert MaskRCNN.from_checkpoint(files["MMDetection"], **quiet).config.class_names == small_checkpoint.NAMES
    assert foreign.config.class_names == small_checkpoint.NAMES
    with pytest.raises(ValueError, match=r"v1.pth: The file knows 3 classes, .* 2 names were given"):
        MaskRCNN.from_checkpoint(files["torchvision v1"], class_names=["a", "b"], **quiet)


@pytest.mark.parametrize("own", [False, True], ids=["torchvision", "maskrcnn"])
@pytest.mark.parametrize(
    ("classes", "fate"),
    [(["cat", "dog", "cow"], "kept"), (["cat", "cow", "dog"], "carried over"), (["nut"], "start anew")],
    ids=["the same", "in another order", "others"],
)
def test_what_becomes_of_the_layers_of_classes_is_said(files, foreign, tmp_path, own, classes, fate):
    file, told = files["torchvision v1"], []
    if own:
        file = tmp_path / "own.keras"
        foreign.save(file)
    model = MaskRCNN.from_checkpoint(
        file, class_names=small_checkpoint.NAMES, new_classes=classes, seed=3, log=told.append, **small_checkpoint.SMALL
    )
    assert model.config.class_names == classes
    said = [line for line in told if line.startswith("The classes differ from the file's")]
    assert len(said) == (fate != "kept") and all(fate in line for line in said)
    if fate == "start anew":
        assert all(name in said[0] for name in CLASS_LAYERS)
    if fate == "start anew" and not own:
        assert told[-1].startswith("Not used of the file: ") and "roi_heads.mask_predictor.mask_fcn_logits.weight" in told[-1]
    same = np.array_equal(model.box_head.classes.kernel, foreign.box_head.classes.kernel)
    assert same is (fate == "kept")
    np.testing.assert_array_equal(model.rpn.get_weights()[0], foreign.rpn.get_weights()[0])


@pytest.mark.parametrize("source", ["torchvision v1", "torchvision v2", "detectron2", "MMDetection"])
def test_rows_of_classes_of_the_same_name_are_carried_over_from_other_projects(files, source):
    told, options = [], {**small_checkpoint.SMALL, "class_names": small_checkpoint.NAMES, "seed": 3}
    first = MaskRCNN.from_checkpoint(files[source], log=lambda line: None, **options)
    model = MaskRCNN.from_checkpoint(files[source], new_classes=["dog", "nut", "cat"], log=told.append, **options)
    assert "carried over; new ones start anew: nut." in told[-1] and "0 start anew" in told[-2]
    scores = [np.array(each.box_head.classes.kernel) for each in (first, model)]  # (F, K + 1), the background first
    deltas = [np.array(each.box_head.deltas.kernel).reshape(len(scores[0]), -1, 4) for each in (first, model)]
    masks = [np.array(each.mask_head.class_kernel) for each in (first, model)]
    for new, old in ((0, 1), (2, 0)):  # dog, cat
        np.testing.assert_array_equal(scores[1][:, new + 1], scores[0][:, old + 1])
        np.testing.assert_array_equal(deltas[1][:, new], deltas[0][:, old])
        np.testing.assert_array_equal(masks[1][new], masks[0][old])
    np.testing.assert_array_equal(scores[1][:, 0], scores[0][:, 0])
    assert not any(np.array_equal(masks[1][1], row) for row in masks[0])


def test_new_classes_keep_their_ids(files):
    classes = [Category(7, "cat"), Category(9, "dog"), Category(11, "cow")]
    options = {"class_names": small_checkpoint.NAMES, "new_classes": classes, "log": lambda line: None}
    assert MaskRCNN.from_checkpoint(files["torchvision v1"], **options).config.categories == tuple(classes)


def test_a_tensor_without_a_place_is_named(files, tmp_path):
    tensors = small_checkpoint.torchvision_tensors() | {"optimizer.momentum": np.zeros(3, np.float32)}
    told = []
    MaskRCNN.from_checkpoint(write_torchvision(tmp_path / "more.pth", tensors), log=told.append)
    assert told[-1] == "Not used of the file: optimizer.momentum."
    assert "1 of the file not used" in told[-2]


def test_changes_are_over_the_conventions_of_the_file(files, foreign):
    assert (foreign.config.image.short_side, foreign.config.image.resize) == (64, "torchvision")
    with pytest.raises(ValueError, match=r"Tensor 'backbone.fpn.inner_blocks.0.0.weight' has shape .* the model needs"):
        MaskRCNN.from_checkpoint(files["torchvision v1"], fpn__channels=4, log=lambda line: None)


def test_what_was_assumed_is_said_before_the_weights_do_not_fit(files):
    told = []
    with pytest.raises(ValueError, match="the model needs"):
        MaskRCNN.from_checkpoint(files["detectron2"], fpn__channels=4, log=told.append)
    assert told[1].startswith("Assumed: Colors and strides")


def test_a_foreign_model_is_saved_with_its_conventions_and_origin(foreign, tmp_path):
    foreign.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.config == foreign.config and loaded.config.origin == "torchvision v1, v1.pth"
    (first,), (second,) = foreign.detect(IMAGE), loaded.detect(IMAGE)
    assert len(first) == 10
    np.testing.assert_allclose(second.boxes, first.boxes, atol=1e-3)
    np.testing.assert_allclose(second.small_masks, first.small_masks, atol=1e-5)
    np.testing.assert_array_equal(second.labels, first.labels)


def test_an_own_file_is_a_checkpoint_too_and_may_be_renamed(foreign, tmp_path):
    foreign.save(tmp_path / "own.keras")
    model = MaskRCNN.from_checkpoint(
        tmp_path / "own.keras", class_names=["x", "y", "z"], detect__score=0.5, log=lambda line: None
    )
    assert (model.config.class_names, model.config.detect.score) == (["x", "y", "z"], 0.5)
    assert model.config.origin == foreign.config.origin
    for one, other in zip(model.weights, foreign.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    for options, words in (
        ({"class_names": ["x"]}, "knows 3 classes"),
        ({"source": "torchvision"}, "is a model of maskrcnn.*source='torchvision'"),
        ({"matterport_config": {"IMAGE_MAX_DIM": 512}}, "is a model of maskrcnn.*matterport's settings"),
    ):
        with pytest.raises(ValueError, match=words):
            MaskRCNN.from_checkpoint(tmp_path / "own.keras", log=lambda line: None, **options)


def test_a_published_name_is_fetched_and_its_licence_kept(files, monkeypatch):
    monkeypatch.setattr("maskrcnn.weights.finding.fetch", lambda name, **options: files["torchvision v1"])
    model = MaskRCNN.from_checkpoint("torchvision-v1", log=lambda line: None)
    assert "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth" in model.config.origin and "license" in model.config.origin


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        ("resnet50", {}, "backbone of a PyTorch ResNet alone; start from it with maskrcnn train --init FILE"),
        ("detectron2", {"source": "mmdet"}, "named as detectron2 names them, not mmdet"),
        ("detectron2", {"source": "caffe"}, "Unknown source 'caffe'"),
        ("detectron2", {"detect__colour": 1}, "has no field 'colour'"),
        ("detectron2", {"new_classes": []}, "at least one class"),
    ],
)
def test_a_checkpoint_that_cannot_be_opened_says_why_in_one_line(files, file, options, words):
    with pytest.raises(ValueError, match=words) as refusal:
        MaskRCNN.from_checkpoint(files[file], log=lambda line: None, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("word", "words"), [("torchvison-v1", "published are torchvision-v1"), ("no.pth", "No weights file")])
def test_a_file_that_is_not_there_is_missing(word, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        MaskRCNN.from_checkpoint(word)


# ── Backbones of other projects ──


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_preset_takes_a_backbone_of_pytorch_with_its_conventions(files, tmp_path, suffix):
    file = files["resnet50"]
    if suffix == ".safetensors":
        numpy_files = pytest.importorskip("safetensors.numpy")
        file = tmp_path / "resnet50.safetensors"
        numpy_files.save_file(dict(read_tensors(files["resnet50"]).tensors), file)
    told: list[str] = []
    model = MaskRCNN.from_preset("resnet50_fpn", num_classes=2, weights=file, log=told.append)
    backbone, image = model.config.backbone, model.config.image
    assert (backbone.stride_in, backbone.conv_bias, backbone.epsilon, backbone.norm) == ("3x3", False, 1e-5, "frozen")
    assert (image.channel_order, image.mean, image.std) == ("rgb", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    kernel = read_tensors(files["resnet50"]).tensors["layer4.0.conv3.weight"]
    found = model.backbone.get_layer("conv5_block1_3_conv").get_weights()[0]
    np.testing.assert_array_equal(found, kernel.transpose(2, 3, 1, 0))
    assert told[0] == f"{file}: the backbone of a PyTorch ResNet." and told[1].startswith("Assumed: The colors")
    assert told[2].startswith(f"{len(model.backbone.weights)} weights loaded, ")
    unused = ("fc.weight, fc.bias", "fc.bias, fc.weight")  # in the file's order
    assert told[3] == HEADS_ANEW and told[4] in [f"Not used of the file: {names}." for names in unused] and len(told) == 5


def test_changes_are_over_the_conventions_of_a_backbone(files):
    options = {"num_classes": 2, "weights": files["resnet50"], "backbone__norm": "live", "image__short_side": 320}
    config = MaskRCNN.from_preset("resnet50_fpn", **options).config
    assert (config.backbone.norm, config.image.short_side, config.backbone.stride_in) == ("live", 320, "3x3")


def test_a_backbone_of_another_preset_names_the_right_one(files):
    with pytest.raises(ValueError, match="holds a resnet50, .*mobilenet_v2; choose the preset resnet50_fpn"):
        MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=2, weights=files["resnet50"])


@pytest.mark.parametrize("kind", ["torchvision v1", "detectron2", "matterport"])
def test_a_whole_model_is_no_backbone_and_from_checkpoint_opens_it(files, tmp_path, kind):
    if kind == "matterport":
        files = {kind: write_h5(tmp_path / "mask_rcnn_coco.h5", reference.random_weights(reference.NUMBERS))}
    with pytest.raises(ValueError, match=rf"holds a whole model of {kind}; .*MaskRCNN.from_checkpoint") as refusal:
        MaskRCNN.from_preset("resnet50_fpn", num_classes=2, weights=files[kind])
    assert "\n" not in str(refusal.value)


def test_a_backbone_of_keras_applications_is_still_read(tmp_path):
    application = keras.applications.MobileNetV2(weights=None, include_top=False)
    application.save_weights(tmp_path / "mobilenet.weights.h5")
    told: list[str] = []
    changes = {**SMALL, "weights": tmp_path / "mobilenet.weights.h5", "log": told.append}
    model = MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=1, **changes)
    assert told == [f"{changes['weights']}: a backbone, {len(model.backbone.weights)} weights loaded. {HEADS_ANEW}"]
    assert model.config.backbone.conv_bias and model.config.image.mean == (127.5, 127.5, 127.5)
    np.testing.assert_array_equal(
        model.backbone.get_layer("Conv1").get_weights()[0], application.get_layer("Conv1").get_weights()[0]
    )


def test_class_weights_of_other_classes_are_forgotten(tmp_path):
    with with_small_backbone():
        MaskRCNN(small_config(box_head__class_weights=(1.0, 2.0, 3.0))).save(tmp_path / "three.keras")
        options = {"log": lambda text: None, "seed": 0}
        kept = MaskRCNN.from_checkpoint(tmp_path / "three.keras", new_classes=["class 1", "class 2", "class 3"], **options)
        other = MaskRCNN.from_checkpoint(tmp_path / "three.keras", new_classes=["cat", "dog"], **options)
        given = MaskRCNN.from_checkpoint(
            tmp_path / "three.keras", new_classes=["cat", "dog"], **options, box_head__class_weights=(1.0, 4.0)
        )
    weights = [model.config.box_head.class_weights for model in (kept, other, given)]
    assert weights == [(1.0, 2.0, 3.0), (), (1.0, 4.0)]

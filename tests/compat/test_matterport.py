"""Scripts written for matterport/Mask_RCNN run with other imports alone. The scripts' part here is written as theirs are."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from PIL import Image
from references import matterport as reference

from maskrcnn.compat.matterport import modellib, utils
from maskrcnn.compat.matterport.config import Config
from maskrcnn.compat.matterport.dataset import LazySamples
from maskrcnn.config import fields
from maskrcnn.config.augment import AugmentConfig
from maskrcnn.weights.files import read
from maskrcnn.weights.projects import matterport as weights


class ShapesConfig(Config):
    NAME = "shapes"
    BACKBONE = "resnet50"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 2
    IMAGE_MIN_DIM = 64
    IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 48, 64)
    STEPS_PER_EPOCH = 1
    VALIDATION_STEPS = 1
    TRAIN_ROIS_PER_IMAGE = 16
    PRE_NMS_LIMIT = 200
    POST_NMS_ROIS_TRAINING = 40
    POST_NMS_ROIS_INFERENCE = 40
    TOP_DOWN_PYRAMID_SIZE = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 16
    DETECTION_MIN_CONFIDENCE = 0.0


class InferenceConfig(ShapesConfig):
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1


class ShapesDataset(utils.Dataset):
    """Squares and circles, drawn when they are asked for."""

    def load_shapes(self, count: int, height: int, width: int):
        self.add_class("shapes", 1, "square")
        self.add_class("shapes", 2, "circle")
        rng = np.random.default_rng(count)
        for number in range(count):
            shapes = [
                (rng.choice(["square", "circle"]), rng.integers(0, 256, 3), rng.integers(12, 50, 2), int(rng.integers(6, 12)))
                for _ in range(3)
            ]
            self.add_image("shapes", image_id=number, path=None, width=width, height=height, shapes=shapes)

    def load_image(self, image_id):
        info = self.image_info[image_id]
        image = np.full((info["height"], info["width"], 3), 128, np.uint8)
        for shape in info["shapes"]:
            image[self.draw(shape, info)] = shape[1]
        return image

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        masks = np.stack([self.draw(shape, info) for shape in info["shapes"]], axis=-1)
        return masks, np.array([self.class_names.index(shape[0]) for shape in info["shapes"]], np.int32)

    def draw(self, shape, info):
        kind, _, (x, y), size = shape
        rows, columns = np.mgrid[: info["height"], : info["width"]]
        if kind == "square":
            return (abs(rows - y) <= size) & (abs(columns - x) <= size)
        return (rows - y) ** 2 + (columns - x) ** 2 <= size**2


def shapes_dataset(count: int, *, height: int = 64, width: int = 64) -> ShapesDataset:
    dataset = ShapesDataset()
    dataset.load_shapes(count, height, width)
    dataset.prepare()
    return dataset


def arrays_of(model: modellib.MaskRCNN) -> dict[str, np.ndarray]:
    return {weight.path: np.array(keras.ops.convert_to_numpy(weight)) for weight in model._weights()}


def write_h5(path: Path, num_classes: int) -> Path:
    """A file of weights that find things, of the shapes that `ShapesConfig` says but for the number of classes."""
    numbers = {name: getattr(ShapesConfig, name) for name in reference.NUMBERS} | {"NUM_CLASSES": num_classes}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "RPN_CHANNELS", 512)
        patch.setattr(reference, "MASK_CHANNELS", 256)
        tensors = reference.calibrated(shapes_dataset(1).load_image(0), numbers).weights
    layers: dict[str, list[str]] = {}
    for name in tensors:
        layers.setdefault(name.partition("/")[0], []).append(name)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = list(layers)
        for layer, names in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{name}:0" for name in names]
            for name in names:
                group.create_dataset(f"{name}:0", data=tensors[name])
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A file of 80 classes and the background."""
    return write_h5(tmp_path_factory.mktemp("published") / "mask_rcnn_coco.h5", 81)


# ── a whole script ──


@pytest.mark.slow
@pytest.mark.eager
def test_a_script_trains_in_two_stages_and_detects(tmp_path):
    train_data, val_data = shapes_dataset(4), shapes_dataset(2)
    model = modellib.MaskRCNN(mode="training", config=ShapesConfig(), model_dir=str(tmp_path))
    model.load_weights(write_h5(tmp_path / "start.h5", ShapesConfig.NUM_CLASSES), by_name=True)
    start = arrays_of(model)
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["loss"])))
    model.train(train_data, None, learning_rate=0.001, epochs=1, layers="heads", custom_callbacks=[callback])
    heads = arrays_of(model)
    changed = {path.split("/")[0] for path in start if (start[path] != heads[path]).any()}
    assert changed == {"fpn", "rpn", "box_head", "mask_head"}

    model.train(train_data, val_data, learning_rate=0.0001, epochs=2, layers="all", custom_callbacks=[callback])
    trained = arrays_of(model)
    changed = {path for path in heads if (heads[path] != trained[path]).any()}
    assert {"conv1_conv/kernel", "conv5_block3_3_conv/kernel", "rpn/conv/kernel"} <= changed
    assert not any("moving_" in path for path in changed)  # TRAIN_BN is False
    assert [epoch for epoch, _ in seen] == [0, 1]
    assert np.isfinite([loss for _, loss in seen]).all()
    last = model.find_last()
    assert [path.name for path in sorted(Path(last).parent.glob("*.keras"))] == [
        "mask_rcnn_shapes_0001.keras",
        "mask_rcnn_shapes_0002.keras",
    ]

    inference = modellib.MaskRCNN(mode="inference", config=InferenceConfig(), model_dir=str(tmp_path))
    inference.load_weights(last, by_name=True)
    for path, array in arrays_of(inference).items():
        np.testing.assert_array_equal(array, trained[path])
    assert (inference.epoch, inference.log_dir) == (2, str(Path(last).parent))
    image = val_data.load_image(0)[:50]
    (found,) = inference.detect([image], verbose=0)
    count = len(found["scores"])
    assert count > 0
    assert (found["rois"].shape, found["rois"].dtype) == ((count, 4), np.int32)
    assert (found["masks"].shape, found["masks"].dtype) == ((50, 64, count), bool)
    assert set(found["class_ids"]) <= {1, 2}
    y1, x1, y2, x2 = found["rois"].T
    assert ((y1 >= 0) & (y1 < y2) & (y2 <= 50) & (x1 >= 0) & (x1 < x2) & (x2 <= 64)).all()


# ── the data set ──


def test_a_data_set_numbers_classes_and_images_as_matterport():
    dataset = utils.Dataset()
    dataset.add_class("coco", 7, "train")
    dataset.add_class("coco", 7, "train")  # known already
    dataset.add_class("own", 7, "wagon")
    dataset.add_image("coco", image_id="a", path="a.jpg", width=3)
    dataset.add_image("own", image_id="b", path="b.jpg")
    dataset.prepare()
    assert dataset.num_classes == 3
    assert dataset.class_names == ["BG", "train", "wagon"]
    assert list(dataset.class_ids) == [0, 1, 2]
    assert dataset.map_source_class_id("coco.7") == 1
    assert dataset.map_source_class_id("own.7") == 2
    assert dataset.get_source_class_id(2, "own") == 7
    assert dataset.source_class_ids["own"] == [0, 2]
    assert (dataset.num_images, list(dataset.image_ids)) == (2, [0, 1])
    assert dataset.image_info[0] == {"id": "a", "source": "coco", "path": "a.jpg", "width": 3}
    assert dataset.source_image_link(1) == "b.jpg"
    assert dataset.image_reference(1) == ""
    masks, class_ids = dataset.load_mask(0)
    assert masks.size == class_ids.size == 0
    with pytest.raises(ValueError, match="no dot"):
        dataset.add_class("my.data", 1, "thing")


def test_images_are_read_from_their_paths_as_colours(tmp_path):
    grey = np.arange(60, dtype=np.uint8).reshape(6, 10)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    dataset = utils.Dataset()
    dataset.add_image("own", image_id=0, path=str(tmp_path / "grey.png"))
    dataset.prepare()
    np.testing.assert_array_equal(dataset.load_image(0), np.repeat(grey[:, :, None], 3, axis=2))


class GivenDataset(utils.Dataset):
    """One image with given truth."""

    def __init__(self, image, masks, class_ids):
        super().__init__()
        self.given = image, masks, class_ids
        for number in (1, 2):
            self.add_class("given", number, f"class {number}")
        self.add_image("given", image_id="x", path="nowhere")
        self.prepare()

    def load_image(self, image_id):
        return self.given[0]

    def load_mask(self, image_id):
        return self.given[1:]


def test_truth_becomes_boxes_around_masks():
    masks = np.zeros((20, 30, 3), bool)
    masks[2:7, 4:9, 0] = masks[5, 6, 2] = True  # the second mask is empty
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    (sample,) = LazySamples(GivenDataset(image, masks, np.array([2, 1, -1])))
    np.testing.assert_array_equal(sample.boxes, [[4, 2, 9, 7], [6, 5, 7, 6]])
    np.testing.assert_array_equal(sample.labels, [1, 0])
    np.testing.assert_array_equal(sample.crowd, [False, True])
    np.testing.assert_array_equal(sample.image, image[:, :, :3])


def test_an_image_without_objects_is_no_error():
    for masks in (np.zeros((20, 30, 0)), np.empty((0, 0, 0))):
        (sample,) = LazySamples(GivenDataset(np.zeros((20, 30)), masks, np.array([], np.int32)))
        assert (sample.boxes.shape, sample.image.shape) == ((0, 4), (20, 30, 3))


@pytest.mark.parametrize(
    ("masks", "class_ids", "says"),
    [
        (np.ones((20, 30)), [1], "masks of shape \\(20, 30\\)"),
        (np.ones((20, 30, 2)), [1], "1 classes"),
        (np.ones((30, 20, 1)), [1], "masks of shape \\(30, 20, 1\\)"),
        (np.ones((20, 30, 1)), [3], "classes \\[3\\]; known are 1 to 2"),
        (np.ones((20, 30, 1)), [0], "classes \\[0\\]; known are 1 to 2"),
    ],
)
def test_truth_that_contradicts_itself_is_refused(masks, class_ids, says):
    with pytest.raises(ValueError, match=says):
        LazySamples(GivenDataset(np.zeros((20, 30, 3), np.uint8), masks, np.array(class_ids)))[0]


def test_images_are_loaded_when_they_are_needed():
    """A loader reads some images ahead, and not the whole data set."""
    asked = []

    class Watched(ShapesDataset):
        def load_image(self, image_id):
            asked.append(image_id)
            return super().load_image(image_id)

    dataset = Watched()
    dataset.load_shapes(500, 64, 64)
    dataset.prepare()
    model = object.__new__(modellib.MaskRCNN)
    model.config, model.epoch = ShapesConfig(), 0

    class Network:
        config = modellib._model_config(model.config, weights.shapes_of(model.config))

        def adopt_categories(self, data):
            assert [category.name for category in data.categories] == ["square", "circle"]
            self.config = fields.replace(self.config, categories=data.categories)

    model.keras_model = Network()
    loader = model._loader(dataset)
    assert not asked
    batch = next(iter(loader))
    assert batch["images"].shape == (2, 64, 64, 3)
    assert batch["valid"].sum(axis=1).tolist() == [3, 3]
    assert len(asked) < 100


# ── the model ──


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> modellib.MaskRCNN:
    return modellib.MaskRCNN(mode="inference", config=InferenceConfig(), model_dir=tmp_path_factory.mktemp("logs"))


def test_published_weights_start_a_model_of_other_classes(model, published):
    before = arrays_of(model)
    excluded = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]
    model.load_weights(str(published), by_name=True, exclude=excluded)
    after = arrays_of(model)
    same = {path for path in after if (before[path] == after[path]).all()}
    assert same == {
        *(f"box_head/{layer}/{kind}" for layer in ("classes", "deltas") for kind in ("kernel", "bias")),
        *("mask_head/class_kernel", "mask_head/class_bias"),
    }
    expected = weights.read(read.read_tensors(published).tensors).arrays
    np.testing.assert_array_equal(after["box_head/fc1/kernel"], expected["box_head/fc1/kernel"])


def test_weights_of_other_classes_are_refused_whole(model, published):
    before = arrays_of(model)
    with pytest.raises(ValueError, match="exclude=\\['mrcnn_class_logits'\\]"):
        model.load_weights(published, by_name=True)
    assert all((before[path] == array).all() for path, array in arrays_of(model).items())


def test_a_file_of_another_kind_is_refused(model, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = ["dense"]
        file.create_group("dense").attrs["weight_names"] = ["dense/kernel:0"]
        file["dense"].create_dataset("dense/kernel:0", data=np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="no Mask R-CNN of matterport"):
        model.load_weights(tmp_path / "other.h5", by_name=True)


@pytest.mark.parametrize(
    ("layers", "learn", "rest"),
    [
        ("heads", {"fpn/lateral2", "rpn/conv", "box_head/fc1", "mask_head"}, {"conv1_conv", "conv5_block3_3_conv"}),
        ("5+", {"conv5_block1_0_conv", "rpn/deltas"}, {"conv4_block6_3_conv", "conv1_conv"}),
        ("4+", {"conv4_block1_0_conv", "conv5_block1_0_conv"}, {"conv3_block4_3_conv"}),
        ("3+", {"conv3_block1_1_conv", "conv4_block1_0_conv", "mask_head"}, {"conv2_block3_3_conv", "conv1_conv"}),
        ("all", {"conv1_conv", "conv2_block1_0_conv", "box_head/classes"}, set()),
        ("mrcnn_mask.*", {"mask_head", "mask_head/conv1", "mask_head/deconv1"}, {"box_head/fc1", "rpn/conv", "conv1_conv"}),
    ],
)
def test_layers_that_learn_go_by_matterports_names(model, layers, learn, rest):
    model.set_trainable(modellib.LAYERS.get(layers, layers))
    learning = {weight.path.rpartition("/")[0] for weight in model.keras_model.trainable_variables}
    assert learn <= learning
    assert not rest & learning
    assert not any(name.endswith(("_bn", "_norm")) for name in learning)  # TRAIN_BN is False


def test_detect_takes_any_number_of_images_of_any_kind(model, capsys):
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    found = model.detect([grey, np.repeat(grey[:, :, None], 3, axis=2)], verbose=1)
    assert "Processing 2 images" in capsys.readouterr().out
    for key in ("rois", "class_ids", "scores", "masks"):
        np.testing.assert_array_equal(found[0][key], found[1][key])


def test_modes_and_augmentation_are_checked(model, tmp_path):
    with pytest.raises(ValueError, match="mode='inference'|mode=\"training\""):
        model.train(shapes_dataset(2), None, learning_rate=0.001, epochs=1, layers="heads")
    with pytest.raises(ValueError, match="received 'test'"):
        modellib.MaskRCNN(mode="test", config=InferenceConfig(), model_dir=tmp_path)
    with pytest.raises(ValueError, match="NUM_CLASSES counts the background"):
        modellib.MaskRCNN(mode="training", config=Config(), model_dir=tmp_path)
    training = object.__new__(modellib.MaskRCNN)
    training.mode = "training"
    theirs = type("Fliplr", (), {"__module__": "imgaug.augmenters.flip"})()
    with pytest.raises(ValueError, match='imgaug .* give augmentation="flip"'):
        training.train(shapes_dataset(2), None, 0.001, 1, "heads", augmentation=theirs)
    with pytest.raises(ValueError, match='mode="inference"'):
        training.detect([])


def test_images_vary_as_the_augmentation_says(model):
    plain, mirrored = (model._loader(shapes_dataset(2), change).batch(0) for change in (None, AugmentConfig(horizontal_flip=1)))
    np.testing.assert_array_equal(mirrored["images"], plain["images"][:, :, ::-1])
    assert (mirrored["images"] != plain["images"]).any()
    with pytest.raises(ValueError, match="possible: none, flip, photos, microscopy"):
        model._loader(shapes_dataset(2), "flipp")


def test_the_newest_model_of_the_newest_run_is_found(model):
    root = Path(model.model_dir)
    with pytest.raises(FileNotFoundError, match="No run of 'shapes'"):
        model.find_last()
    for run, epoch in (("shapes20200101T0000", 9), ("shapes20210304T0506", 2), ("shapes20210304T0506", 1), ("other2022", 1)):
        (root / run).mkdir(exist_ok=True)
        (root / run / f"mask_rcnn_shapes_{epoch:04d}.keras").touch()
    last = model.find_last()
    assert Path(last) == root / "shapes20210304T0506" / "mask_rcnn_shapes_0002.keras"
    model.set_log_dir(last)
    assert (model.epoch, Path(model.log_dir)) == (2, root / "shapes20210304T0506")
    model.set_log_dir()
    assert model.epoch == 0


# ── the numbers ──


def test_config_has_matterports_defaults_and_sums():
    config = ShapesConfig()
    assert (config.BATCH_SIZE, tuple(config.IMAGE_SHAPE), config.IMAGE_META_SIZE) == (2, (64, 64, 3), 15)
    for name, value in weights.DEFAULTS.items():
        assert np.array_equal(getattr(Config, name), value), name


def test_config_displays_every_number(capsys):
    ShapesConfig().display()
    lines = capsys.readouterr().out.splitlines()
    assert f"{'NUM_CLASSES':30} 3" in lines
    assert f"{'BATCH_SIZE':30} 2" in lines

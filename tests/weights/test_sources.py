"""Any file of weights is understood by its content, or refused in one line that names it."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from references import matterport as reference
from small_checkpoint import write_h5
from weights import layout_files
from weights.layout_files import fill, narrow

from maskrcnn.weights.files.pth import write_pth
from maskrcnn.weights.sources import holds_whole_model, read_checkpoint

NAMES = ("cat", "dog", "cow")
KINDS = ("torchvision", "detectron2", "mmdet", "matterport")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A file of each kind, all of three classes; what the ending promises is not always what the file is."""
    folder = tmp_path_factory.mktemp("files")
    paths = {name: folder / name for name in ("torchvision.pth", "detectron2.pkl", "mmdet.pth", "resnet.weights")}
    write_pth(paths["torchvision.pth"], fill(layout_files.torchvision(narrow())))
    detectron2, mmdet = (fill(layout(narrow())) for layout in (layout_files.detectron2, layout_files.mmdet))
    paths["detectron2.pkl"].write_bytes(pickle.dumps({"model": detectron2, "__author__": "the tests"}))
    paths["mmdet.pth"].write_bytes(pickle.dumps({"meta": {"CLASSES": NAMES}, "state_dict": mmdet}))
    write_pth(paths["resnet.weights"], fill(layout_files.torch_resnet(narrow())))
    numbers = {**reference.NUMBERS, "NUM_CLASSES": 4}
    write_h5(folder / "matterport.h5", reference.random_weights(numbers))
    return {path.name.partition(".")[0]: path for path in (*paths.values(), folder / "matterport.h5")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_model_is_told_by_its_tensors(files, kind):
    checkpoint = read_checkpoint(files[kind])
    source = {"torchvision": "torchvision v1", "mmdet": "MMDetection"}.get(kind, kind)
    assert (checkpoint.source, len(checkpoint.categories)) == (source, 3)
    assert holds_whole_model(files[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_is_said_is_compared_with_the_tensors(files, kind):
    read_checkpoint(files[kind], source=kind)
    other = KINDS[KINDS.index(kind) - 1]
    with pytest.raises(ValueError, match=rf"{files[kind].name}.* {kind} .*not {other}") as refusal:
        read_checkpoint(files[kind], source=other)
    assert "\n" not in str(refusal.value)


def test_a_backbone_is_no_whole_model(files):
    assert read_checkpoint(files["resnet"]).categories is None
    assert not holds_whole_model(files["resnet"])


def test_names_in_the_file_are_taken_unless_others_are_given(files):
    assert read_checkpoint(files["mmdet"]).config.class_names == list(NAMES)
    assert read_checkpoint(files["mmdet"], class_names=["a", "b", "c"]).config.class_names == ["a", "b", "c"]


def test_a_list_without_names_names_nothing(tmp_path):
    tensors = fill(layout_files.mmdet(narrow()))
    (tmp_path / "mmdet.pth").write_bytes(pickle.dumps({"meta": {"CLASSES": ()}, "state_dict": tensors}))
    assert read_checkpoint(tmp_path / "mmdet.pth").config.class_names == ["class 1", "class 2", "class 3"]


@pytest.mark.parametrize("kind", ["torchvision", "detectron2", "mmdet", "matterport"])
@pytest.mark.parametrize("names", [["a", "b"], []])
def test_names_of_another_number_are_refused(files, kind, names):
    with pytest.raises(ValueError, match=f"{files[kind].name}: .*3 classes.*{len(names)} names"):
        read_checkpoint(files[kind], class_names=names)


def test_matterports_numbers_reach_its_file_and_no_other(files):
    assert read_checkpoint(files["matterport"], matterport_config={"IMAGE_MAX_DIM": 512}).config.image.long_side == 512
    with pytest.raises(ValueError, match=r"torchvision.pth .*matterport's names \(IMAGE_MAX_DIM\)"):
        read_checkpoint(files["torchvision"], matterport_config={"IMAGE_MAX_DIM": 512})


def test_a_file_without_a_mask_head_is_refused_by_the_tensor_it_lacks(tmp_path):
    tensors = fill(layout_files.torchvision(narrow()))
    write_pth(tmp_path / "faster.pth", {name: tensor for name, tensor in tensors.items() if "mask" not in name})
    with pytest.raises(ValueError, match=r"faster.pth: The file has no tensor 'roi_heads.mask_predictor"):
        read_checkpoint(tmp_path / "faster.pth")


def test_tensors_of_no_known_project_are_named(tmp_path):
    write_pth(tmp_path / "other.pth", {"encoder.weight": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match="other.pth holds 1 tensors .'encoder.weight'.* of no project that is known"):
        read_checkpoint(tmp_path / "other.pth")
    assert not holds_whole_model(tmp_path / "other.pth")


def test_an_unknown_source_says_which_are_known(files):
    with pytest.raises(ValueError, match="Unknown source 'caffe'; possible: auto, torchvision, detectron2, mmdet, matterport"):
        read_checkpoint(files["torchvision"], source="caffe")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_off_is_refused_in_one_line(files, kind, tmp_path):
    whole = files[kind].read_bytes()
    (tmp_path / files[kind].name).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ValueError, match=files[kind].name) as refusal:
        read_checkpoint(tmp_path / files[kind].name)
    assert "\n" not in str(refusal.value)
    assert not holds_whole_model(tmp_path / files[kind].name)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.pth"):
        read_checkpoint(tmp_path / "nothing.pth")

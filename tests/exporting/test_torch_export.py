"""Laws of PyTorch's .pt2: it answers as the model, without Keras, and a file that could run code is not opened."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from exports import KINDS, answers_agree, random_model, threads_get_their_own_answers
from small_network import images_of, make_batch

from maskrcnn import engines
from maskrcnn.api import MaskRCNN
from maskrcnn.engines import pt2
from maskrcnn.engines.engine import Engine
from maskrcnn.engines.pt2 import EXAMPLES, PROGRAM
from maskrcnn.exporting import export
from maskrcnn.structures import PaddedDetections

pytestmark = pytest.mark.backend
# Each has operators that no other kind has.
UNLIKE = ("PointRend", "as many samples as a bin has pixels", "mask scoring, keypoints and deformable convolutions")
CONSTANTS = "data/constants/model_constants_config.json"


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    return random_model()


@pytest.fixture(scope="module")
def written(model, tmp_path_factory) -> Path:
    if keras.backend.backend() != "torch":
        pytest.skip("torch is written from torch")
    path = tmp_path_factory.mktemp("exported") / "model.pt2"
    export.WRITERS["torch"].write(model, path, "float32")
    return path


@pytest.fixture(scope="module")
def engine(written) -> Engine:
    return engines.load(written)


@pytest.mark.parametrize(
    ("counts", "frame"), [((3,), (64, 96)), ((3, 5), (64, 96)), ((4, 3, 5), (96, 64)), ((4,), (288, 192)), ((1,), (32, 64))]
)
def test_a_program_answers_as_the_model_whatever_batch_and_frame(model, engine, counts, frame):
    batch = {"images": np.random.default_rng(0).uniform(0, 255, (len(counts), *frame, 3)), "sizes": [frame] * len(counts)}
    if frame[0] > 32:
        batch = images_of(make_batch(counts, frame=frame))
    batch = {"images": np.asarray(batch["images"], np.float32), "sizes": np.asarray(batch["sizes"], np.int32)}
    answers_agree(PaddedDetections(*model.predict_on_batch(batch)), engine.predict_on_batch(batch))
    assert engine.config == model.config


def test_eight_threads_get_their_own_answers_of_a_program(engine):
    threads_get_their_own_answers(engine)


def test_a_frame_that_is_no_multiple_is_told(engine):
    with pytest.raises(ValueError, match="multiples of 32; received 60×96"):
        engine.run(np.zeros((1, 60, 96, 3), np.float32), np.array([[60, 96]], np.int32))


def test_a_program_runs_in_plain_pytorch(model, written, tmp_path):
    batch = images_of(make_batch((3,)))
    np.savez(tmp_path / "given.npz", images=batch["images"].astype(np.float32), sizes=batch["sizes"])
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['keras', 'maskrcnn']));"
        "import numpy as np, torch; given = {name: torch.from_numpy(value) for name, value in np.load('given.npz').items()};"
        f"found = torch.export.load({str(written)!r}).module()(given['images'], given['sizes']);"
        "np.savez('found.npz', **{name: value.numpy() for name, value in found.items()})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-500:]
    want = model.predict_on_batch(batch)
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["masks"], np.asarray(want.masks), atol=1e-3)
        assert found["count"].tolist() == np.asarray(want.valid).sum(axis=1).tolist()


def test_weights_in_half_precision_are_cast_by_the_program_of_a_model_whose_pooling_looks_at_the_frame(written, tmp_path):
    model, path = random_model(**KINDS["pooled as matterport does"]), tmp_path / "half.pt2"
    export.WRITERS["torch"].write(model, path, "float16")
    assert 0 < weights_in(path) < 0.6 * weights_in(written)
    batch = images_of(make_batch((3, 5)))  # of another frame than the writer traces with
    np.testing.assert_allclose(engines.load(path).predict_on_batch(batch).scores, model.predict_on_batch(batch)[1], atol=1e-3)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch is written from torch")
@pytest.mark.parametrize(
    "kind",
    [kind if kind in UNLIKE else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_a_program_is_written_of_every_kind_of_model(kind, tmp_path):
    model, path = random_model(**KINDS[kind]), tmp_path / "model.pt2"
    export.WRITERS["torch"].write(model, path, "float32")
    batch = images_of(make_batch((3, 5)))
    answers_agree(PaddedDetections(*model.predict_on_batch(batch)), engines.load(path).predict_on_batch(batch))


def weights_in(path: Path) -> int:
    """Bytes."""
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist() if "/tensor_" in entry.filename)


def changed(written: Path, path: Path, records: dict[str, tuple[str, str] | bytes], **options) -> Path:
    """A copy with other records, whole or where a first text stands."""
    left = dict(records)
    with zipfile.ZipFile(written) as archive, zipfile.ZipFile(path, "w", **options) as copy:
        for entry in archive.infolist():
            root, _, name = entry.filename.partition("/")
            content, change = archive.read(entry), left.pop(name, None)
            if isinstance(change, bytes):
                content = change
            elif change is not None:
                before, after = (part.encode() for part in change)
                assert before in content
                content = content.replace(before, after, 1)
            copy.writestr(entry.filename, content)
        for name, content in left.items():
            assert isinstance(content, bytes)
            copy.writestr(f"{root}/{name}", content)
    return path


MUL = '"target": "_operator.mul"'
CRIMES = {
    "a shared library": ({"data/aotinductor/model/model.so": b"\x7fELF"}, "may run code or is pickled"),
    "a pickled object": ({"data/constants/opaque_obj_0": b"cos\nsystem\n"}, "may run code or is pickled"),
    "weights as torch.save writes them": ({"data/weights/model.pt": b"PK"}, "may run code or is pickled"),
    "example inputs": ({EXAMPLES: b"cos\nsystem\n"}, "pickled example inputs"),
    "a pickled tensor": ({CONSTANTS: ('"use_pickle": false', '"use_pickle": true')}, "pickled"),
    "a tensor elsewhere": ({CONSTANTS: ('"path_name": "tensor_', '"path_name": "../weights/weight_')}, "pickled"),
    "any function of Python": ({PROGRAM: (MUL, '"target": "torch.serialization.os.system"')}, "os.system"),
    "an operator that reads files": ({PROGRAM: (MUL, '"target": "torch.ops.aten.from_file.default"')}, "from_file"),
    "a formula that is code": ({PROGRAM: ("Symbol('s", "exit('s")}, "expr_str"),
    "a guard that is code": ({PROGRAM: ('"guards_code": [', '"guards_code": ["exit()", ')}, "guards_code"),
    "a name that is code": ({PROGRAM: ('{"name": "images"}', '{"name": "images=exit()"}')}, "images=exit"),
    "a type to import": ({PROGRAM: ("builtins.dict", "collections.defaultdict")}, "_spec"),
}


@pytest.mark.parametrize("crime", CRIMES)
def test_a_program_that_could_run_code_is_not_opened(written, tmp_path, monkeypatch, crime):
    monkeypatch.setattr("torch.export.load", lambda *_: pytest.fail("PyTorch opened it"))
    records, told = CRIMES[crime]
    with pytest.raises(ValueError, match=told) as raised:
        engines.load(changed(written, tmp_path / "model.pt2", records))
    assert "\n" not in str(raised.value)


def test_a_compressed_program_is_not_opened(written, tmp_path):
    with pytest.raises(ValueError, match="compressed"):
        engines.load(changed(written, tmp_path / "model.pt2", {}, compression=zipfile.ZIP_DEFLATED))


def test_a_description_without_bound_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pt2, "MAX_DESCRIPTION_BYTES", 1000)
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"model/{pt2.DESCRIPTION_RECORD}", " " * 1001)
    with pytest.raises(pt2.FileError, match="over 1,000 bytes"):
        pt2.read_description(path)


def test_a_foreign_and_a_damaged_program_are_told_in_one_line(written, tmp_path):
    path = tmp_path / "model.pt2"
    cut = written.read_bytes()[: written.stat().st_size // 2]
    for content, told in ((b"", "damaged"), (b"no model", "damaged"), (cut, "damaged")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=told) as raised:
            engines.load(path)
        assert "\n" not in str(raised.value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other/archive_format", "pt2")
    with pytest.raises(ValueError, match="does not say which model it holds"):
        engines.load(path)
    for change in ({PROGRAM: b"[" * 100_000}, {CONSTANTS: json.dumps({"config": {"a": 1}}).encode()}):
        with pytest.raises(ValueError, match="damaged"):
            engines.load(changed(written, path, change))

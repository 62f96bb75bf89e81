"""What `import maskrcnn` promises: the names, how little it loads, and what it says where no backend is installed."""

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest

import maskrcnn
from maskrcnn import backend, layers

HIDE_BACKENDS = "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'jax', 'torch']));"


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_tensorflow_is_told_to_use_onednn_unless_somebody_says_otherwise(monkeypatch, given, expected):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    monkeypatch.setattr(backend.platform, "machine", lambda: "AMD64")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    backend.choose()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == expected


def test_the_public_names_are_these():
    assert set(maskrcnn.__all__) == {
        "MaskRCNN",
        "Ensemble",
        "load_model",
        "train",
        "predict",
        "export",
        "evaluate",
        "compare",
        "track",
        "convert",
        "CocoEvaluation",
        "measure",
        "read_planes",
        "load_dataset",
        "Dataset",
        "Sample",
        "Detections",
        "Category",
        "ModelConfig",
        "__version__",
    }


OF_KERAS = {"build", "compute_output_shape", "compute_output_spec"}  # Keras says what these are


def public_calls():
    """Each public function, class and method with its signature and docstring, the constructor's with the class's."""
    named = [(name, getattr(maskrcnn, name)) for name in maskrcnn.__all__ if name != "__version__"]
    for name, item in named + [(name, getattr(layers, name)) for name in layers.__all__]:
        if not inspect.isclass(item):
            yield name, item, inspect.getdoc(item) or ""
            continue
        if not dataclasses.is_dataclass(item):  # whose fields say themselves what they are
            yield name, item, f"{inspect.getdoc(item)} {inspect.getdoc(item.__init__)}"
        for method in sorted(vars(item).keys() - OF_KERAS):
            called = getattr(item, method)
            if not method.startswith("_") and (inspect.isfunction(called) or inspect.ismethod(called)):
                yield f"{name}.{method}", called, inspect.getdoc(called) or ""


def test_every_parameter_of_the_public_names_is_documented():
    calls = list(public_calls())
    assert len(calls) >= 50
    missing = {
        name: [word for word in inspect.signature(item).parameters if not re.search(rf"\b{word}\b", text + " self kwargs")]
        for name, item, text in calls
    }
    assert {name: words for name, words in missing.items() if words} == {}


@pytest.mark.parametrize("name", maskrcnn.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert name in dir(maskrcnn)
    assert getattr(maskrcnn, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'detectron'"):
        maskrcnn.detectron  # noqa: B018


def test_reading_images_loads_no_keras():
    imports = "import sys, maskrcnn.images.images, maskrcnn.data.dataset"
    code = f"{imports}; print([m for m in ('keras', 'tensorflow', 'jax', 'torch') if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_a_model_imports_the_kernels_of_its_own_backend_alone():
    """Those of another would need its library, which need not be installed."""
    names = "('tensorflow', 'jax', 'torch')"
    code = f"import sys, maskrcnn.api; print([m for m in {names} if 'maskrcnn.ops.native.' + m in sys.modules])"
    assert python(code, KERAS_BACKEND="tensorflow").stdout.strip() == "['tensorflow']"


@pytest.mark.parametrize("first", ["import maskrcnn.verbs.train", "maskrcnn.train", "from maskrcnn.verbs.train import train"])
def test_a_verb_is_its_function_whoever_imports_its_module_first(first):
    code = f"import maskrcnn; {first}; import maskrcnn.verbs.train; print(type(maskrcnn.train).__name__)"
    assert python(code).stdout.strip() == "function"


def test_without_a_backend_the_import_says_what_to_install():
    done = python(HIDE_BACKENDS + "import maskrcnn")
    assert done.returncode == 0
    assert 'pip install "maskrcnn[tensorflow]"' in done.stderr


def test_without_a_backend_a_model_is_an_import_error_that_says_what_to_install():
    done = python(HIDE_BACKENDS + "from maskrcnn import MaskRCNN")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: maskrcnn needs a backend for Keras")
    assert 'pip install "maskrcnn[tensorflow]"' in done.stderr.splitlines()[-1]


@pytest.fixture
def only_installed(monkeypatch, tmp_path):
    """Gives a machine where only the backends named are installed, and Keras is neither configured nor imported."""
    monkeypatch.setenv("KERAS_BACKEND", "")  # so that what `choose` sets is undone
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras", raising=False)

    def install(*names):
        monkeypatch.setattr(backend, "find_spec", lambda name: ModuleSpec(name, None, origin=name) if name in names else None)
        return tmp_path

    return install


def test_keras_own_choice_stays_where_it_is_installed(only_installed):
    only_installed("tensorflow", "jax")
    backend.choose()
    assert "KERAS_BACKEND" not in os.environ


def test_the_backend_that_is_installed_is_taken(only_installed):
    home = only_installed("torch")
    (home / "keras.json").write_text('{"backend": "tensorflow"}')  # as Keras itself writes it
    backend.choose()
    assert os.environ["KERAS_BACKEND"] == "torch"


def test_what_one_backend_alone_can_do_takes_it_unless_another_is_named(only_installed, monkeypatch):
    monkeypatch.setattr(backend, "_chosen", [])
    only_installed("tensorflow", "torch")
    assert backend.prefer("torch") and os.environ["KERAS_BACKEND"] == "torch"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert not backend.prefer("torch") and os.environ["KERAS_BACKEND"] == "tensorflow"


def test_a_choice_that_nobody_named_gives_way(only_installed, monkeypatch):
    monkeypatch.setattr(backend, "_chosen", [])
    only_installed("jax", "torch")
    backend.choose()
    assert os.environ["KERAS_BACKEND"] == "jax"
    assert backend.prefer("torch") and os.environ["KERAS_BACKEND"] == "torch"


def test_a_backend_named_by_the_user_stays_and_its_absence_is_told(only_installed, monkeypatch):
    only_installed("torch")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    backend.choose()
    assert os.environ["KERAS_BACKEND"] == "jax"
    with pytest.raises(ImportError, match=r'KERAS_BACKEND is "jax", which is not installed'):
        backend.require()

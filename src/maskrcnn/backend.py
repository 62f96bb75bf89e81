"""Which backend Keras runs on, settled before Keras is imported."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

BACKENDS = ("tensorflow", "jax", "torch")  # the first is the default, as in Keras
MAX_CACHE_BYTES = 1 << 30  # of compiled programs; the longest unused ones go first
_chosen: list[str] = []  # by `choose`, and so nobody's word


def installed() -> list[str]:
    """The backends that can be imported, in the order they are preferred."""
    return [name for name in BACKENDS if _found(name)]


def choose() -> None:
    """Sets `KERAS_BACKEND` where Keras would take a backend that isn't installed although another one is.

    A backend named in `KERAS_BACKEND` is somebody's word and stays. The one in Keras's configuration file may be nobody's:
    Keras writes "tensorflow" there, unasked, when it is first imported.
    """
    # TensorFlow's C++ side greets, and complains of shapes that it cannot cost; its real errors reach Python as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Without oneDNN, which TensorFlow turns on by itself only where a processor has AVX-512 VNNI or more, it has no gradient of
    # grouped convolutions on CPUs: no ResNeXt, RegNet or ConvNeXt could be trained there.
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND"):
        return
    if not _found(_configured()) and (others := installed()):
        os.environ["KERAS_BACKEND"] = others[0]
        _chosen.append(others[0])


def prefer(name: str) -> bool:
    """Takes this backend, for what only it can do, where it is installed and nobody named another; whether that is a change."""
    named = os.environ.get("KERAS_BACKEND")
    if "keras" in sys.modules or not _found(name) or (named and named not in _chosen) or name == (named or _configured()):
        return False
    os.environ["KERAS_BACKEND"] = name
    return True


def require() -> None:
    """Raises where Keras would find no backend.

    Raises:
        ImportError: one sentence that says what to install.
    """
    name = os.environ.get("KERAS_BACKEND") or _configured()
    if "keras" in sys.modules or _found(name):
        return
    if installed():
        raise ImportError(
            f'KERAS_BACKEND is "{name}", which is not installed here; install it with pip install "maskrcnn[{name}]" '
            f"or set KERAS_BACKEND={installed()[0]}."
        )
    raise ImportError(
        'maskrcnn needs a backend for Keras and found none: install one with pip install "maskrcnn[tensorflow]", '
        '"maskrcnn[jax]" or "maskrcnn[torch]".'
    )


def keep_compiled_programs() -> None:
    """Lets JAX find what another process compiled, in a folder for each machine, because programs are made for its processor.

    For commands, before JAX is imported; it follows `JAX_COMPILATION_CACHE_DIR` where that is set.
    """
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache_folder() / "jax" / platform.node())
        os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(MAX_CACHE_BYTES))


def cache_folder() -> Path:
    """Where this package keeps what it need not get or make twice: `MASKRCNN_HOME`, else a folder of the user's cache."""
    home = os.environ.get("MASKRCNN_HOME")
    return Path(home).expanduser() if home else user_cache_path("maskrcnn", appauthor=False)


def _configured() -> str:
    """What Keras's own configuration file names, else Keras's default."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return str(json.loads((home / "keras.json").read_text()).get("backend", BACKENDS[0]))
    except (OSError, ValueError, AttributeError):
        return BACKENDS[0]


def _found(name: str) -> bool:
    spec = find_spec(name) if name.isidentifier() else None
    return spec is not None and spec.origin is not None  # a folder of that name in the working directory has no origin

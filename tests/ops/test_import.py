"""Importing the package changes nothing outside of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import maskrcnn

SETTINGS = "{name: repr(value) for name, value in jax.config.values.items()}"


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the settings of JAX")
def test_importing_leaves_the_settings_of_jax_as_they_are(tmp_path):
    code = (
        f"import json, os, jax, keras; before, world = {SETTINGS}, dict(os.environ); "
        f"import maskrcnn, maskrcnn.ops.native; maskrcnn.MaskRCNN; after = {SETTINGS}; "
        "print(json.dumps([len(before), before == after, after['jax_compilation_cache_dir'], "
        "sorted(name for name in os.environ if name not in world)]))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment["PYTHONPATH"] = str(Path(maskrcnn.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-500:]
    num_settings, same, folder, added = json.loads(done.stdout.splitlines()[-1])
    assert num_settings > 50
    assert same
    assert folder == "None"
    assert [name for name in added if name.startswith("JAX")] == []


def test_the_commands_name_a_folder_for_compiled_programs_and_follow_the_users(monkeypatch, tmp_path):
    from maskrcnn import backend

    monkeypatch.setenv("MASKRCNN_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_MAX_SIZE", raising=False)
    backend.keep_compiled_programs()
    assert Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).is_relative_to(tmp_path / "jax")
    assert os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] == str(1 << 30)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    backend.keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"

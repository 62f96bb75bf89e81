"""Laws of training on several devices."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from small_network import evaluate, make_batch, small_network
from typer.testing import CliRunner

from maskrcnn.cli import app
from maskrcnn.config.run import RunConfig
from maskrcnn.data.shapes import make_shapes
from maskrcnn.distributed.devices import check_settings, num_devices, shared_by

HERE = Path(__file__).parent
FLAGS = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=2"
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow")


def run(script: str, *words: str, backend: str, **variables: str) -> str:
    """What a script of this folder prints, in a process of its own on a backend, with more variables in its environment."""
    pytest.importorskip(backend)
    paths = os.pathsep.join([str(HERE.parents[1] / "src"), str(HERE.parent)])
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": paths, "XLA_FLAGS": FLAGS, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, HERE / script, *words], env=environment | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.eager
def test_two_devices_train_as_one_with_both_images(tmp_path):
    """With live norms, averaged weights, accumulation, class weights, few samples, and objects on one device alone."""
    run("same_training.py", str(tmp_path), "1,2", "all together", backend="jax")
    one, two = (dict(np.load(tmp_path / f"all together {devices}.npz")) for devices in (1, 2))
    assert len(one) > 60
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.eager
@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("tensorflow", "after 1 of 2 epochs"),
        ("torch", "Process 1 of 2 that train together was ended by SIGKILL; go on with resume=True (--resume)."),
    ],
)
def test_a_run_goes_on_with_another_number_of_devices_as_if_nothing_had_been(backend, said, tmp_path):
    run("same_run.py", str(tmp_path), backend=backend)
    assert said in (tmp_path / "stopped.txt").read_text()
    check_same_history(tmp_path / "one", tmp_path / "two", epochs=2)


def check_same_history(one: Path, two: Path, *, epochs: int) -> None:
    """Losses but for the order of additions, and the same average precision to the last digit."""
    one, two = (list(csv.DictReader((run / "history.csv").read_text().splitlines())) for run in (one, two))
    assert len(one) == len(two) == epochs
    assert any(name.endswith("_ap") for name in one[0])
    for row, other in zip(one, two):
        numbers = {name: float(value) for name, value in row.items()}
        assert {name: float(value) for name, value in other.items()} == pytest.approx(numbers, rel=1e-4, abs=1e-6)
        assert [row[name] for name in row if name.endswith("_ap")] == [other[name] for name in row if name.endswith("_ap")]


@pytest.mark.slow
@pytest.mark.eager
def test_two_processes_of_jax_train_as_one(tmp_path):
    """As SLURM starts them; each scores a part of the images, too."""
    make_shapes(tmp_path, num_train=2, num_val=3, size=(64, 96), seed=3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = min(free.getsockname()[1], 65000)
    slurm = {"SLURM_NTASKS": "2", "SLURM_LOCALID": "0"}
    words = ("one_of_several.py", str(tmp_path))
    flags = {"XLA_FLAGS": FLAGS.split()[0], "COORDINATOR": f"127.0.0.1:{port}"}
    with ThreadPoolExecutor() as threads:
        other = threads.submit(run, *words, str(tmp_path / "two"), backend="jax", **slurm, SLURM_PROCID="1", **flags)
        run(*words, str(tmp_path / "two"), backend="jax", **slurm, SLURM_PROCID="0", **flags)
        assert "devices share" not in other.result()
    run(*words, str(tmp_path / "one"), backend="jax", SLURM_NTASKS="1", SLURM_PROCID="0", **flags)
    check_same_history(tmp_path / "one", tmp_path / "two", epochs=1)


def test_images_of_size_0_count_nothing():
    network = small_network()
    network.compile("sgd")
    batch = make_batch((3, 5), num_rows=16)
    filled = {name: np.concatenate([array, np.zeros_like(array)]) for name, array in batch.items()}
    expected, found = evaluate(network, batch), evaluate(network, filled)
    assert len(expected) == 6
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_number_of_devices_that_cannot_be_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr("maskrcnn.distributed.devices._devices", lambda: ["a", "b", "c"])
    assert num_devices(1, 2) == num_devices("1", 3) == 1
    assert num_devices("2", 4) == 2
    assert num_devices("all", 3) == 3
    for wanted, batch_size, text in [
        (4, 4, "devices is 4, and .* sees 3 here"),
        (2, 3, "batch_size 3 is no multiple of 2 devices"),
        ("two", 2, "devices is a whole number from 1, or 'all'; received 'two'"),
        (0, 2, "received 0"),
        (True, 2, "received True"),
        (1.5, 2, "received 1.5"),
    ]:
        with pytest.raises(ValueError, match=text):
            num_devices(wanted, batch_size)


@on_tensorflow
def test_what_keras_cannot_do_on_several_devices_is_refused():
    check_settings(RunConfig(precision="bfloat16"))
    with pytest.raises(ValueError, match="accumulate needs one device"):
        check_settings(RunConfig(accumulate=2))
    with pytest.raises(ValueError, match="set precision to bfloat16"):
        check_settings(RunConfig(precision="float16"))


def test_one_device_changes_nothing():
    with shared_by(1):
        assert keras.distribution.distribution() is None


@on_tensorflow
def test_the_command_says_that_there_are_too_few(tmp_path):
    train, _ = make_shapes(tmp_path, num_train=2, num_val=1, size=(64, 96), seed=0)
    words = ["train", "--data", str(train), "--out", str(tmp_path / "run"), "--devices", "64", "--batch-size", "64"]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert "devices is 64" in done.output
    assert not (tmp_path / "run/resume.safetensors").exists()

"""Processes of Ray that end in the middle: the results are those of a run that nothing disturbed, row by row."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_in
from PIL import Image

import maskrcnn
from maskrcnn.distributed import ray as pool
from maskrcnn.distributed.shards import Job, ShardSettings, ShardWorker
from maskrcnn.distributed.store import Store
from maskrcnn.verbs import predict_many as verb

parquet = pytest.importorskip("pyarrow.parquet", reason="the extra ray is not installed")

NUMBER = 24
DRIVER = """
import sys
import stand_in
from maskrcnn.distributed.ray import Workers, pack
from maskrcnn.verbs import predict_many as verb
verb._load, verb._packed = stand_in.load, lambda path: pack(path)
from pathlib import Path
verb.predict_many([sys.argv[1]], sys.argv[2], model=Path(sys.argv[3]), workers=Workers(2, 1), shard_size=3)
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(NUMBER):
        Image.fromarray(np.full((40, 60, 3), 10 * number, np.uint8)).save(folder / f"{number:02d}.png")
    (folder / "broken.png").write_text("no image")
    return folder


@pytest.fixture
def undisturbed(photos: Path, tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """What one process finds, without Ray."""
    job = Job.open([photos], Store(tmp_path / "alone"), ShardSettings(shard_size=3), model=("", ""), log=lambda _: None)
    for number in job.pending():
        ShardWorker(job.store, job.settings, stand_in.StandIn()).run(number)
    return tables(tmp_path / "alone")


def tables(out: Path) -> dict[str, list[dict[str, Any]]]:
    return {kind: parquet.read_table(out / kind).to_pylist() for kind in ("images", "objects")}


def test_models_travel_as_they_are(tmp_path):
    (tmp_path / "a.keras").write_bytes(b"1")
    (tmp_path / "exported/deep").mkdir(parents=True)
    (tmp_path / "exported/model.xml").write_bytes(b"2")
    (tmp_path / "exported/deep/model.bin").write_bytes(b"3")
    packed = [pool.pack(tmp_path / name) for name in ("a.keras", "exported")]
    assert len({each.digest for each in packed}) == 2
    for each in packed:
        unpacked = each.unpack(tmp_path / "there")
        assert unpacked == tmp_path / "there" / each.name
        assert pool.pack(unpacked) == each


@pytest.mark.parametrize(
    ("resources", "workers", "num_shards", "expected"),
    [
        ({"CPU": 2.0}, pool.Workers(), 9, (1, 2, 0.0)),
        ({"CPU": 16.0}, pool.Workers(), 9, (4, 4, 0.0)),
        ({"CPU": 16.0}, pool.Workers(cpus=1), 9, (9, 1, 0.0)),
        ({"CPU": 16.0, "GPU": 8.0}, pool.Workers(), 99, (8, 2, 1.0)),
        ({"CPU": 16.0, "GPU": 2.0}, pool.Workers(gpus=0.5), 99, (4, 4, 0.5)),
        ({"CPU": 16.0, "GPU": 2.0}, pool.Workers(gpus=0.0), 99, (4, 4, 0.0)),
        ({"CPU": 16.0}, pool.Workers(number=2), 99, (2, 4, 0.0)),
    ],
)
def test_workers_share_what_there_is(resources, workers, num_shards, expected):
    assert pool._room(resources, workers, num_shards) == expected


def test_an_address_where_nobody_listens_is_said_at_once():
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for given in (address, f"ray://{address}"):
            with pytest.raises(ConnectionError, match=f"No Ray cluster at {given}: .*refused"), pool.connected(given):
                pass


def test_no_room_is_said():
    with pytest.raises(ValueError, match="A worker of 8 cores and 0 GPUs finds no room: there are 2 cores and 0 GPUs"):
        pool._room({"CPU": 2.0}, pool.Workers(cpus=8), 1)


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes find the stand-in, where Ray is installed."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    folders = [Path(module.__file__ or "").parents[depth] for module, depth in ((stand_in, 0), (maskrcnn, 1))]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(photos, undisturbed, tmp_path, monkeypatch, importable):
    trap = tmp_path / "trap"
    trap.touch()
    model = stand_in.write(tmp_path / "model", trap=trap)
    monkeypatch.setattr(verb, "_packed", pool.pack)
    monkeypatch.setattr(verb, "_load", stand_in.load)
    many = verb.predict_many([photos], tmp_path / "out", model=model, workers=pool.Workers(2, 1), shard_size=3)
    assert not trap.exists() and many.left == ()
    assert many.totals == (NUMBER + 1, 2 * NUMBER, 1)
    assert tables(tmp_path / "out") == undisturbed
    monkeypatch.setattr(verb, "connected", None)
    assert verb.predict_many([photos], tmp_path / "out", model=model, shard_size=3) == many


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_where_it_was(photos, undisturbed, tmp_path, importable):
    out, model = tmp_path / "out", stand_in.write(tmp_path / "model", seconds=0.3)
    command = [sys.executable, "-c", DRIVER, str(photos), str(out), str(model)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while first.poll() is None and len(list(out.glob("images/*.parquet"))) < 2:
        time.sleep(0.02)
    first.kill()
    first.wait()
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("images/*.parquet")}
    assert 2 <= len(done) < 9 and not json.loads((out / "manifest.json").read_text())["finished"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "goes on where it was" in again.stdout
    assert {name: (out / "images" / name).stat().st_mtime_ns for name in done} == done  # those were not done again
    assert tables(out) == undisturbed
    assert list(out.glob("*/.*")) == []


@pytest.mark.slow
def test_a_machine_that_is_gone_for_good_loses_nothing(photos, undisturbed, tmp_path, monkeypatch, importable):
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setattr(verb, "_packed", pool.pack)
    monkeypatch.setattr(verb, "_load", stand_in.load)
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)

        class Ends:
            num_done = 0

            def begin(self, total: int, about: str = "") -> None:
                assert total == 9

            def advance(self) -> None:
                self.num_done += 1
                if self.num_done == 2:
                    cluster.remove_node(second, allow_graceful=False)

        many = verb.predict_many(
            [photos],
            tmp_path / "out",
            model=stand_in.write(tmp_path / "model", seconds=0.1),
            address=cluster.address,
            workers=pool.Workers(2, 1),
            watcher=Ends(),
            shard_size=3,
        )
    finally:
        cluster.shutdown()
    assert many.left == () and many.totals == (NUMBER + 1, 2 * NUMBER, 1)
    assert tables(tmp_path / "out") == undisturbed

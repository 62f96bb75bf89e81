"""Shards: done whole or not at all, by whom and how often does not matter."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_in import StandIn

from maskrcnn.data.dataset import load_dataset
from maskrcnn.distributed import store as stores
from maskrcnn.distributed.shards import FEWEST, Job, ShardSettings, ShardWorker, Totals
from maskrcnn.distributed.store import Store, read_bytes
from maskrcnn.images.images import read_image
from maskrcnn.inference.whole import detect

parquet = pytest.importorskip("pyarrow.parquet", reason="the extra ray is not installed")
pytest.importorskip("fsspec", reason="the extra ray is not installed")
MODEL = ("stand-in", "1234")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eleven images of three frames, and one that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(11):
        size = ((40, 60), (60, 40), (50, 50))[number % 3]
        Image.fromarray(np.full((*size, 3), 20 * number, np.uint8)).save(folder / f"{number:02d}.png")
    (folder / "broken.png").write_text("no image")
    return folder


def open_job(inputs: list[str | Path], out: str | Path, **settings) -> Job:
    return Job.open(inputs, Store(out), ShardSettings(**settings), model=MODEL, log=lambda _: None)


def work(job: Job, numbers: list[int] | None = None) -> StandIn:
    model = StandIn()
    worker = ShardWorker(job.store, job.settings, model, readers=2)
    for number in job.pending() if numbers is None else numbers:
        worker.run(number)
    return model


def tables(out: Path) -> dict[str, list[dict]]:
    return {kind: parquet.read_table(out / kind).to_pylist() for kind in ("images", "objects")}


def test_rows_are_what_detect_finds(photos, tmp_path):
    job = open_job([photos], tmp_path / "out", batch_size=2, shard_size=5, score=0.55)
    assert job.num_images == 12 and job.pending() == [0, 1, 2]
    work(job)
    assert job.pending() == []
    totals = job.finish(StandIn.config.categories)
    rows = tables(tmp_path / "out")
    assert totals == Totals(images=12, objects=len(rows["objects"]), failed=1) and 11 < totals.objects < 22
    assert [Path(row["image"]).name for row in rows["images"]] == [f"{number:02d}.png" for number in range(11)] + ["broken.png"]
    assert rows["images"][-1]["error"] == f"Cannot read {photos}/broken.png: it is no image of a known kind."
    assert {row["error"] for row in rows["images"][:-1]} == {None}
    for row in rows["images"][:-1]:
        own = [each for each in rows["objects"] if each["image"] == row["image"]]
        (found,) = detect(StandIn(), read_image(row["image"]), score=0.55)
        assert (row["height"], row["width"]) == found.size and row["num_objects"] == len(own) == len(found)
        assert [each["object"] for each in own] == list(range(1, len(own) + 1))
        assert [each["class"] for each in own] == found.names
        assert {(each["class"], each["category_id"]) for each in own} <= {("cell", 4), ("dot", 7)}
        assert [each["rle"].encode() for each in own] == [rle["counts"] for rle in found.rle()]
        assert [each["area"] for each in own] == found.areas().tolist()
        np.testing.assert_array_equal(np.float32([each["score"] for each in own]), found.scores)
        np.testing.assert_array_equal([[each[name] for name in ("x1", "y1", "x2", "y2")] for each in own], found.boxes)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["finished"] and manifest["totals"] == totals._asdict()


def test_a_job_that_was_ended_goes_on_and_comes_to_the_same(photos, tmp_path):
    whole, ended = (open_job([photos], tmp_path / name, batch_size=2, shard_size=4) for name in ("whole", "ended"))
    work(whole)
    work(ended, [1])
    rows = tables(tmp_path / "ended")
    work(ended, [2])
    (tmp_path / "ended/images/part-00000002.parquet").unlink()  # ended between its two files
    again = open_job([photos], tmp_path / "ended", batch_size=2, shard_size=4)
    assert again.pending() == [0, 2]
    model = work(again)
    assert sum(int((batch["sizes"] > 1).all(axis=1).sum()) for batch in model.batches) == 7  # images of shards 0 and 2
    assert tables(tmp_path / "ended") == tables(tmp_path / "whole")
    assert all(row in tables(tmp_path / "ended")["images"] for row in rows["images"])
    assert again.finish(()) == whole.finish(())


def test_a_shard_that_is_done_is_not_done_again(photos, tmp_path):
    job = open_job([photos], tmp_path / "out", shard_size=6)
    work(job)
    assert work(job, [0, 1]).batches == []


def test_a_job_of_others_is_refused_once_something_is_done(photos, tmp_path):
    job = open_job([photos], tmp_path / "out", score=0.5)
    assert open_job([photos / "00.png"], tmp_path / "out", score=0.7).num_images == 1  # nothing was done: a new job
    job = open_job([photos], tmp_path / "out", score=0.5)
    work(job, [0])
    for inputs, settings, model, said in (
        ([photos], {"score": 0.7}, MODEL, "other settings: .*0.5.*now .*0.7"),
        ([photos / "00.png"], {}, MODEL, "other inputs: .*photos'\\], now .*00.png"),
        ([photos], {}, ("another", "99"), "another model: .*1234.*now .*99"),
    ):
        with pytest.raises(ValueError, match=said):
            Job.open(inputs, Store(tmp_path / "out"), ShardSettings(**settings), model=model, log=lambda _: None)
    told: list[str] = []
    Job.open([photos], Store(tmp_path / "out"), ShardSettings(), model=MODEL, log=told.append)
    assert told == [f"{tmp_path / 'out'} holds this job already; it goes on where it was."]


def test_a_folder_of_something_else_is_refused(photos, tmp_path):
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ValueError, match="of no job of maskrcnn predict --ray"):
        open_job([photos], tmp_path)
    (tmp_path / "other/images").mkdir(parents=True)
    (tmp_path / "other/images/a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="of something else"):
        open_job([photos], tmp_path / "other")
    with pytest.raises(ValueError, match="shard_size is at least 1; received 0"):
        ShardSettings(shard_size=0)


def test_a_damaged_list_is_refused(photos, tmp_path):
    job = open_job([photos], tmp_path / "out")
    (tmp_path / "out/list/part-00000000.json").write_text("[1")
    with pytest.raises(ValueError, match=r"list/part-00000000.json is gone or damaged"):
        work(job)


def test_small_jobs_are_cut_into_several_shards(tmp_path, photos):
    assert len(open_job([photos], tmp_path / "few").pending()) == 3  # of four images each
    (tmp_path / "list.txt").write_text("\n".join(f"{number}.png" for number in range(20 * FEWEST)))
    assert len(open_job([tmp_path / "list.txt"], tmp_path / "more").pending()) == FEWEST
    (tmp_path / "list.txt").write_text("\n".join(f"{number}.png" for number in range(9000)))
    assert len(open_job([tmp_path / "list.txt"], tmp_path / "many").pending()) == 36


def test_images_named_twice_are_looked_at_once(photos, tmp_path):
    told: list[str] = []
    job = Job.open([photos, photos / "00.png"], Store(tmp_path / "out"), ShardSettings(), model=MODEL, log=told.append)
    assert job.num_images == 12 and told == ["1 images were named more than once; each is looked at once."]


def test_images_and_results_lie_behind_addresses(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "PAUSE", 0.0)
    bucket = Store(f"memory://{uuid.uuid4().hex}")
    for path in sorted(photos.iterdir()):
        bucket.write(f"photos/{path.name}", path.read_bytes())
    out = f"{bucket.place}/found"
    job = open_job([f"{bucket.place}/photos", f"{bucket.place}/photos/gone.png.txt"][:1], out, shard_size=5)
    work(job, [0])
    job = open_job([f"{bucket.place}/photos"], out, shard_size=5)
    assert job.pending() == [1, 2]
    work(job)
    assert job.finish(()) == Totals(images=12, objects=22, failed=1)
    content = job.store.read("images/part-00000000.parquet")
    assert content is not None
    sizes = [(row["height"], row["width"]) for row in parquet.read_table(io.BytesIO(content)).to_pylist()]
    assert sizes == [(40, 60), (60, 40), (50, 50), (40, 60), (60, 40)]
    with pytest.raises(ValueError, match=r"Cannot read .*gone.png: FileNotFoundError"):
        read_bytes(f"{bucket.place}/gone.png")
    with pytest.raises(ValueError, match="Cannot read nosuch://a/b.png: Protocol not known"):
        read_bytes("nosuch://a/b.png")
    monkeypatch.setattr(stores, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="it has more than 0 MB"):
        read_bytes(f"{bucket.place}/photos/00.png")


def test_the_results_are_a_data_set(photos, tmp_path):
    job = open_job([photos], tmp_path / "out", shard_size=5)
    work(job)
    job.finish(StandIn.config.categories)
    data = load_dataset(tmp_path / "out")
    assert len(data.samples) == 11 and [fault.kind for fault in data.faults] == ["unreadable image"]
    assert [(category.id, category.name) for category in data.categories] == [(4, "cell"), (7, "dot")]
    assert {tuple(sample.labels.tolist()) for sample in data.samples} == {(1, 0)}

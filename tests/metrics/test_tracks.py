"""Laws of scores of tracks, worked by hand; and MOTChallenge's rules, checked against trackeval's own reading of its files."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from maskrcnn.annotations.tracks import read_tracks
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle
from maskrcnn.metrics.tracks import evaluate_tracks
from maskrcnn.structures import TrackedObjects
from maskrcnn.verbs.evaluate_tracks import evaluate_tracks as evaluate_files

SIZE = (40, 100)


def objects(*rows, masks: bool = True) -> TrackedObjects:
    """Of (id, left, width) or (id, left, width, label): bars of 10 pixels' height."""
    bitmaps = np.zeros((len(rows), *SIZE), bool)
    for bitmap, (_, left, width, *_) in zip(bitmaps, rows):
        bitmap[10:20, left : left + width] = True
    return TrackedObjects(
        ids=np.array([row[0] for row in rows], np.int64),
        boxes=np.array([mask_to_box(bitmap) for bitmap in bitmaps], np.float32).reshape(-1, 4),
        labels=np.array([(*row, 0)[3] for row in rows], np.int64),
        rles=[mask_to_rle(bitmap) for bitmap in bitmaps] if masks else None,
    )


def scored(truth, result) -> dict:
    pytest.importorskip("trackeval", reason="the extra `tracking` is not installed")
    return evaluate_tracks({"a": dict(enumerate(truth))}, {"b": dict(enumerate(result))})


TWO = [objects((1, 5, 20), (2, 50, 20))] * 4


def test_the_truth_itself_scores_one():
    scores = scored(TWO, TWO)
    assert all(scores[name] == 1 for name in ("HOTA", "DetA", "AssA", "LocA", "MOTA", "sMOTSA", "IDF1", "IDP", "IDR"))
    assert (scores["objects"], scores["tracks"], scores["tracks_found"], scores["switches"]) == (8, 2, 2, 0)
    assert (scores["missed"], scores["wrong"], scores["compared"]) == (0, 0, "masks")


def test_ids_that_change_places_half_way_cost_half_of_idf1():
    swapped = TWO[:2] + [objects((2, 5, 20), (1, 50, 20))] * 2
    scores = scored(TWO, swapped)
    assert (scores["IDF1"], scores["switches"], scores["DetA"]) == (0.5, 2, 1)
    assert scores["MOTA"] == 1 - 2 / 8
    assert scores["AssA"] == pytest.approx(2 / 6)  # of each pair 2 frames agree, of 4 + 4 - 2
    assert scores["HOTA"] == pytest.approx((2 / 6) ** 0.5)


def test_what_is_missed_and_what_is_wrong_are_counted():
    scores = scored(TWO, [objects((1, 5, 20), (7, 75, 20))] * 4)
    assert (scores["missed"], scores["wrong"], scores["MOTA"], scores["IDF1"]) == (4, 4, 0, 0.5)


def test_smotsa_counts_a_mask_by_its_iou():
    truth, result = [objects((1, 10, 20))], [objects((1, 10, 16))]  # IoU 0.8
    scores = scored(truth, result)
    assert (scores["MOTA"], scores["sMOTSA"]) == (1, pytest.approx(0.8))
    without = scored([each._replace(rles=None) for each in truth], result)
    assert "sMOTSA" not in without and without["compared"] == "boxes" and without["MOTP"] == pytest.approx(0.8)


def test_objects_of_different_classes_are_never_the_same():
    other = (2, 50, 20, 1)
    scores = scored([objects((1, 5, 20, 1), other)] * 3, [objects((1, 5, 20, 2), other)] * 3)
    assert (scores["missed"], scores["wrong"]) == (3, 3) and "note" not in scores
    assert scored([objects((1, 5, 20))] * 3, [objects((1, 5, 20, 2))] * 3)["IDF1"] == 1  # the truth says none


def test_the_only_class_of_each_is_the_same_whatever_its_number_and_that_is_said():
    ignored = objects((1, 5, 20, 2), (9, 50, 20, 10))._replace(ignored=np.array([False, True]))
    scores = scored([ignored] * 3, [objects((1, 5, 20, 1))] * 3)
    assert scores["IDF1"] == 1
    assert scores["note"] == "The truth's only class is 2, the result's 1: they were taken for the same."


def test_classes_of_which_none_is_shared_are_told():
    with pytest.raises(ValueError, match=r"the truth has the classes 1, 2 and the result 3\. The same classes need the same"):
        scored([objects((1, 5, 20, 1), (2, 50, 20, 2))], [objects((1, 5, 20, 3))])


def test_what_covers_an_ignored_object_is_neither_right_nor_wrong():
    truth = [each._replace(ignored=np.array([False, True])) for each in TWO]
    for result in (TWO, [objects((1, 5, 20))] * 4):
        scores = scored(truth, result)
        assert (scores["MOTA"], scores["wrong"], scores["missed"], scores["objects"]) == (1, 0, 0, 4)


def test_a_mask_that_lies_mostly_in_an_ignored_region_is_neither_right_nor_wrong():
    truth = [objects((1, 5, 20), (9, 40, 60))._replace(ignored=np.array([False, True]))] * 3
    inside, beside = objects((1, 5, 20), (2, 50, 10)), objects((1, 5, 20), (2, 30, 18))
    assert [scored(truth, [result] * 3)["wrong"] for result in (inside, beside)] == [0, 3]


def test_what_covers_an_unwanted_object_is_wrong():
    truth = [each._replace(unwanted=np.array([False, True])) for each in TWO]
    scores = scored(truth, TWO)
    assert (scores["wrong"], scores["missed"], scores["objects"]) == (4, 0, 4)


def test_frames_that_one_side_lacks_are_empty_there():
    scores = scored(TWO, TWO[:3])
    assert (scores["missed"], scores["IDR"]) == (2, 0.75)


def test_several_videos_are_scored_together_and_each():
    pytest.importorskip("trackeval", reason="the extra `tracking` is not installed")
    truth = {"a": dict(enumerate(TWO)), "b": dict(enumerate(TWO))}
    scores = evaluate_tracks(truth, {"a": dict(enumerate(TWO)), "b": {}})
    assert [scores["per_video"][name]["IDF1"] for name in "ab"] == [1, 0]
    assert (scores["IDR"], scores["IDP"]) == (0.5, 1)
    with pytest.raises(ValueError, match="The result has no tracks of b; videos are matched by name, it has a, c"):
        evaluate_tracks(truth, {"a": {}, "c": {}})


def test_truth_without_objects_is_told():
    pytest.importorskip("trackeval", reason="the extra `tracking` is not installed")
    with pytest.raises(ValueError, match="The truth has no objects"):
        evaluate_tracks({"a": {}}, {"a": {}})


def test_without_trackeval_it_says_what_to_install(monkeypatch):
    for name in ("trackeval", "trackeval.metrics"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'Scores of tracks need trackeval, .* pip install "maskrcnn\[tracking\]"'):
        evaluate_tracks({"a": {}}, {"a": {}})


def test_mot17_is_scored_as_trackeval_scores_it_from_its_folders(shared_data, tmp_path):
    """A result made of the truth: every box of every class moved a little, some left out, ids that change."""
    trackeval = pytest.importorskip("trackeval", reason="the extra `tracking` is not installed")
    folder, rng, found = shared_data / "mot17_mini", np.random.default_rng(0), tmp_path / "found"
    lengths = {}
    found.mkdir()
    for sequence in sorted(path.name for path in folder.iterdir() if path.is_dir()):
        rows = [line.split(",") for line in (folder / sequence / "gt/gt.txt").read_text().split()]
        frames = sorted({int(row[0]) for row in rows})
        lengths[sequence] = frames[-1]
        lines = []
        for frame, number, *box in (map(float, row[:6]) for row in rows):
            if rng.random() < 0.85:
                left, top, width, height = box + rng.normal(0, 0.06, 4) * np.tile(box[2:], 2)
                name = int(number) + 1000 * (frame > frames[len(frames) // 2] and rng.random() < 0.3)
                lines.append(f"{int(frame)},{name},{left:.1f},{top:.1f},{width:.1f},{height:.1f},0.9,-1,-1,-1\n")
        (found / f"{sequence}.txt").write_text("".join(lines))
    ours = evaluate_files(folder, found)
    (tmp_path / "trackers").mkdir()
    found.rename(tmp_path / "trackers/found")
    quiet = {"PRINT_CONFIG": False}
    dataset = trackeval.datasets.MotChallenge2DBox(
        quiet
        | {"GT_FOLDER": str(folder), "TRACKERS_FOLDER": str(tmp_path / "trackers"), "BENCHMARK": "MOT17"}
        | {"SKIP_SPLIT_FOL": True, "SEQ_INFO": lengths, "TRACKER_SUB_FOLDER": "", "OUTPUT_FOLDER": str(tmp_path / "scores")}
    )
    for sequence in lengths:
        data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("found", sequence), "pedestrian")
        theirs = trackeval.metrics.HOTA().eval_sequence(data)
        mine = ours["per_video"][sequence]
        assert mine["HOTA"] == pytest.approx(np.mean(theirs["HOTA"]), abs=1e-6)
        clear = trackeval.metrics.CLEAR(quiet).eval_sequence(data)
        assert (mine["missed"], mine["wrong"], mine["switches"]) == (clear["CLR_FN"], clear["CLR_FP"], clear["IDSW"])
        assert mine["IDF1"] == pytest.approx(trackeval.metrics.Identity(quiet).eval_sequence(data)["IDF1"])
    assert 0.5 < ours["IDF1"] < 0.95
    assert set(read_tracks(folder)) == set(lengths)

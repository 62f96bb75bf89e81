"""Laws of `track` from the video to the files: what comes first stays, however the video ends."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest
from PIL import Image
from small_tracks import SIZE, WhiteBox, drawn, write_video

import maskrcnn
from maskrcnn.annotations.tracks import read_tracks
from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, ImageConfig
from maskrcnn.images import decoder, video
from maskrcnn.images.video import open_video
from maskrcnn.pipeline import ahead
from maskrcnn.structures import PaddedDetections, VideoFrame
from maskrcnn.verbs.evaluate_tracks import evaluate_tracks
from maskrcnn.verbs.track import track_files, track_frames

pytest.importorskip("av", reason="the extra `video` is not installed")
FILES = ("mot.txt", "mots.txt", "tracks.json", "positions.csv", "tracks.csv", "overlay.mp4")


def moving(count: int, size=SIZE) -> list[np.ndarray]:
    return [drawn([(4 * k, 20, 4 * k + 20, 40)], size) for k in range(count)]


def noisy(count: int, size=SIZE) -> list[np.ndarray]:
    """A box that moves over dark noise, so that every frame takes many bytes."""
    rng = np.random.default_rng(0)
    return [np.maximum(image, rng.integers(0, 90, image.shape).astype(np.uint8)) for image in moving(count, size)]


def frames_in(folder) -> set[int]:
    (tracks,) = read_tracks(folder / "mot.txt").values()
    assert {name for name in FILES if (folder / name).exists()} == set(FILES)
    assert not [path for path in folder.iterdir() if ".part" in path.name]
    said = json.loads((folder / "tracks.json").read_text())
    assert said["videos"][0]["frames"] == sorted(tracks)
    assert len(list(open_video(folder / "overlay.mp4").frames)) == len(tracks)
    return set(tracks)


def test_a_video_gives_detections_with_ids_frame_by_frame(tmp_path):
    path = write_video(tmp_path / "a.mp4", moving(6))
    found = list(maskrcnn.track(WhiteBox(), path))
    assert [each.track_ids.tolist() for each in found] == [[1]] * 6
    np.testing.assert_allclose([each.boxes[0] for each in found], [(4 * k, 20, 4 * k + 20, 40) for k in range(6)], atol=1)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_and_every_change_nothing_else(tmp_path, batch_size):
    path = write_video(tmp_path / "a.mp4", moving(7))
    pairs = list(track_frames(WhiteBox(), path, batch_size=batch_size, every=2))
    assert [(frame.number, found.track_ids.tolist()) for frame, found in pairs] == [(k, [1]) for k in (0, 2, 4, 6)]


def test_auto_begins_tracks_from_the_best_score_of_a_class(tmp_path):
    class Measured(WhiteBox):
        def __init__(self, best):
            self.config = replace(WhiteBox.config, detect__best_scores=best)

    path = write_video(tmp_path / "a.mp4", moving(3))
    rest = (1.0,) * (WhiteBox.config.num_classes - 1)
    for best, count in ((0.85, 1), (0.95, 0)):
        assert [len(found) for found in maskrcnn.track(Measured((best, *rest)), path, score="auto")] == [count] * 3
    with pytest.raises(ValueError, match="no best scores"):
        maskrcnn.track(WhiteBox(), path, score="auto")


def test_a_folder_of_images_is_seen_as_predict_sees_each(tmp_path):
    """Channels and scaling are the model's."""
    seen = []

    class Looks(WhiteBox):
        config = dataclasses.replace(
            WhiteBox.config, image=ImageConfig(64, 96, channels=2, scaling="each_channel", mean=(0, 0), std=(1, 1))
        )

        def predict_on_batch(self, batch):
            seen.append(batch["images"][0].max(axis=(0, 1)).tolist())
            return super().predict_on_batch(batch)

    values = np.stack([drawn([(10, 10, 30, 30)])[:, :, 0] * np.uint16(factor) for factor in (1, 50)], axis=2)
    np.save(tmp_path / "0.npy", values)
    np.save(tmp_path / "1.npy", values)
    list(maskrcnn.track(Looks(), [tmp_path / "0.npy", tmp_path / "1.npy"]))
    assert seen == [[255, 255]] * 2


def test_all_files_are_written_and_every_frame_is_told(tmp_path):
    told = []
    count = track_files(
        WhiteBox(),
        write_video(tmp_path / "a.mp4", moving(5)),
        tmp_path / "out",
        on_start=lambda number: told.append(number),
        on_frame=lambda frame, found: told.append((frame.number, len(found))),
    )
    assert count == 5
    assert told == [5, *((k, 1) for k in range(5))]
    assert frames_in(tmp_path / "out") == set(range(5))


def test_a_file_that_breaks_off_keeps_its_frames_and_the_files_are_whole(tmp_path):
    path = write_video(tmp_path / "a.mp4", noisy(16))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(ValueError, match=r"breaks off after \d+ frames of 16\. They are done") as told:
        track_files(WhiteBox(), path, tmp_path / "out", batch_size=3)
    done = frames_in(tmp_path / "out")
    assert 4 < len(done) < 16
    assert f"after {len(done)} frames" in str(told.value)
    assert set(range(4)) < done and max(done) < 16


def test_a_change_of_size_keeps_the_frames_before_it(tmp_path):
    first, second = (write_video(tmp_path / f"{k}.ts", noisy(5, size)).read_bytes() for k, size in enumerate((SIZE, (48, 64))))
    (tmp_path / "both.ts").write_bytes(first + second)
    with pytest.raises(ValueError, match="both changes the video's size at frame 5 from 96×64 to 64×48. The 5 frames before"):
        track_files(WhiteBox(), tmp_path / "both.ts", tmp_path / "out", batch_size=2)
    assert frames_in(tmp_path / "out") == set(range(5))


def test_an_image_that_cannot_be_read_keeps_the_frames_before_it(tmp_path):
    (tmp_path / "in").mkdir()
    for number, image in enumerate(moving(5)):
        Image.fromarray(image).save(tmp_path / f"in/{number}.png")
    (tmp_path / "in/3.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"in/3\.png"):
        track_files(WhiteBox(), tmp_path / "in", tmp_path / "out")
    assert frames_in(tmp_path / "out") == {0, 1, 2}


def test_ctrl_c_keeps_what_is_done(tmp_path):
    def stop(frame: VideoFrame, _) -> None:
        if frame.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        track_files(WhiteBox(), write_video(tmp_path / "a.mp4", moving(9)), tmp_path / "out", on_frame=stop)
    assert frames_in(tmp_path / "out") == {0, 1, 2, 3}


def test_no_more_frames_are_held_than_those_that_wait(tmp_path, monkeypatch):
    """Memory does not grow with the video: a frame is read only when one before it is done."""
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield VideoFrame(read - 1, read / 10, drawn([(10, 10, 30, 30)]))

    opened = decoder.Video("endless", 10.0, None, ahead(endless(), video.READ_AHEAD))
    monkeypatch.setattr(sys.modules["maskrcnn.verbs.track"], "open_video", lambda *_, **__: opened)
    answers = maskrcnn.track(WhiteBox(), "endless")
    for number in range(1, 40):
        next(answers)
        assert read <= number + video.READ_AHEAD + 1
    answers.close()


def test_numbers_out_of_range_are_told_before_anything_is_read():
    with pytest.raises(ValueError, match="batch_size is at least 1"):
        maskrcnn.track(WhiteBox(), "none.mp4", batch_size=0)
    with pytest.raises(ValueError, match="A tracker is one of"):
        maskrcnn.track(WhiteBox(), "none.mp4", tracker="deepsort")
    with pytest.raises(ValueError, match="no file or folder"):
        maskrcnn.track(WhiteBox(), "none.mp4")


@pytest.mark.parametrize("tracker", ["mask", "bytetrack"])
def test_from_mot17s_folders_to_mot_text_and_its_scores(shared_data, tmp_path, tracker):
    """With a stand-in for a detector of people that finds the truth, where it is at least half visible."""
    pytest.importorskip("trackers", reason="the extra `tracking` is not installed")
    folder = shared_data / "mot17_mini"
    for sequence in ("MOT17-02-FRCNN", "MOT17-04-FRCNN"):
        rows = [list(map(float, line.split(","))) for line in (folder / sequence / "gt/gt.txt").read_text().split()]
        people = [row for row in rows if row[6] and row[7] == 1]

        class FindsPeople(WhiteBox):
            config = replace(WhiteBox.config, categories=(Category(1, "person"),), image__short_side=64, image__long_side=114)
            seen = 0

            def predict_on_batch(self, batch, people=people):
                self.seen += 1
                boxes = np.array([row[2:6] for row in people if row[0] == self.seen and row[8] >= 0.5], np.float32)
                boxes[:, :2] -= 1
                boxes[:, 2:] += boxes[:, :2]
                count = len(boxes)
                return PaddedDetections(
                    boxes=(boxes * np.tile(batch["sizes"][0][::-1] / (1920, 1080), 2))[None].astype(np.float32),
                    scores=np.full((1, count), 0.9, np.float32),
                    labels=np.zeros((1, count), np.int32),
                    masks=np.ones((1, count, 28, 28), np.float32),
                    valid=np.ones((1, count), bool),
                )

        track_files(FindsPeople(), folder / sequence / "img1", tmp_path / sequence, tracker=tracker, save=("mot",))
    scores = evaluate_tracks(folder, tmp_path)
    assert scores["switches"] == 0 and scores["wrong"] == 0
    assert scores["IDP"] > 0.99

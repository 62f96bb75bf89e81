"""Laws of the overlay video: every frame at its time, in every size, with colours that stay."""

from __future__ import annotations

import numpy as np
import pytest
from small_tracks import SIZE, drawn, found

from maskrcnn.images.video import open_video
from maskrcnn.results.draw import colour_of, draw_tracks
from maskrcnn.results.tracks import overlay as video
from maskrcnn.results.tracks.overlay import OverlayWriter
from maskrcnn.structures import VideoFrame

av = pytest.importorskip("av", reason="the extra `video` is not installed")


def overlay(path, boxes, *, times=None, size=SIZE) -> None:
    """A frame for each box, with a detection that fills it."""
    writer = OverlayWriter(path, rate=10)
    for number, box in enumerate(boxes):
        seconds = number / 10 if times is None else times[number]
        shown = [] if box is None else [box]
        writer.write(VideoFrame(number, seconds, drawn([], size)), found(shown, ids=[1] * len(shown), size=size))
    writer.close()


def test_every_frame_is_there_at_its_own_time_in_h264_where_the_build_has_it(tmp_path):
    times = [0, 0.1, 0.25, 0.6, 0.65, 1.2]
    overlay(tmp_path / "a.mp4", [(10, 10, 40, 40)] * 6, times=times)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert container.duration / av.time_base == pytest.approx(1.3, abs=1e-3)  # the last one is shown by the rate
        assert stream.codec_context.name == ("h264" if "libx264" in av.codecs_available else stream.codec_context.name)
        assert (stream.height, stream.width) == SIZE
    np.testing.assert_allclose([frame.time for frame in open_video(tmp_path / "a.mp4").frames], times, atol=1e-3)


def test_odd_sizes_are_filled_up_by_a_pixel(tmp_path):
    overlay(tmp_path / "a.mp4", [(5, 5, 20, 20)] * 2, size=(33, 47))
    assert next(open_video(tmp_path / "a.mp4").frames).image.shape == (34, 48, 3)


def test_an_object_has_one_colour_in_every_frame_and_another_one_another(tmp_path):
    one, other = (draw_tracks(drawn([]), found([(30, 20, 60, 50)], ids=[number]))[35, 45].astype(int) for number in (1, 2))
    assert np.abs(one - other).max() > 40
    overlay(tmp_path / "a.mp4", [(30, 20, 60, 50)] * 4)
    for frame in open_video(tmp_path / "a.mp4").frames:
        assert np.abs(frame.image[30:40, 40:50].mean(axis=(0, 1)) - one).max() < 25


def test_a_trail_shows_where_an_object_came_by_and_fades_when_it_is_gone(tmp_path):
    boxes = [(8 * k, 20, 8 * k + 6, 26) for k in range(8)] + [None] * 10
    overlay(tmp_path / "a.mp4", boxes)
    frames = [frame.image for frame in open_video(tmp_path / "a.mp4").frames]
    row = [(image[21:25].max(axis=(0, 2)) > 60).sum() for image in frames]
    assert row[7] > 45  # the whole way
    assert row[10] < row[7] and row[-1] == 0


def test_without_a_frame_there_is_no_video(tmp_path):
    OverlayWriter(tmp_path / "a.mp4", rate=10).close()
    assert not list(tmp_path.iterdir())


def test_a_build_without_encoders_is_told_and_a_plainer_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "ENCODERS", ("h264_no_such",))
    with pytest.raises(ValueError, match="This build of FFmpeg has none of h264_no_such; leave out overlay"):
        overlay(tmp_path / "a.mp4", [(5, 5, 20, 20)])
    monkeypatch.setattr(video, "ENCODERS", ("h264_no_such", "mpeg4"))
    overlay(tmp_path / "b.mp4", [(5, 5, 20, 20)] * 3)
    assert len(list(open_video(tmp_path / "b.mp4").frames)) == 3


def test_colours_of_the_first_tracks_differ():
    colours = np.array([colour_of(number) for number in range(1, 9)])
    apart = np.abs(colours[:, None] - colours).max(axis=2) + 255 * np.eye(8, dtype=int)
    assert apart.min() > 20

"""Laws of the overlay video: every frame at its time, in every size, with colours that stay."""

from __future__ import annotations

import numpy as np
import pytest
from pages import CHROMIUM, FLAGS
from small_tracks import SIZE, drawn, found

from maskrcnn.images.video import open_video
from maskrcnn.results.draw import colour_of, draw_tracks
from maskrcnn.results.tracks import overlay as video
from maskrcnn.results.tracks.overlay import OverlayWriter
from maskrcnn.structures import VideoFrame

av = pytest.importorskip("av", reason="the extra `video` is not installed")


def overlay(path, boxes, *, times=None, size=SIZE, codec=None) -> None:
    """A frame for each box, with a detection that fills it."""
    writer = OverlayWriter(path, rate=10, codec=codec)
    for number, box in enumerate(boxes):
        seconds = number / 10 if times is None else times[number]
        shown = [] if box is None else [box]
        writer.write(VideoFrame(number, seconds, drawn([], size)), found(shown, ids=[1] * len(shown), size=size))
    writer.close()


@pytest.mark.parametrize("codec", [None, *video.CODECS])
def test_every_frame_is_there_at_its_own_time_in_every_codec(tmp_path, codec, capfd):
    if codec is not None and not set(video.CODECS[codec]) & av.codecs_available:
        pytest.skip(f"this build of FFmpeg writes no {codec}")
    times = [0, 0.1, 0.25, 0.6, 0.65, 1.2]
    overlay(tmp_path / "a.mp4", [(10, 10, 40, 40)] * 6, times=times, codec=codec)
    assert capfd.readouterr() == ("", "")  # encoders like to talk
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert container.duration / av.time_base == pytest.approx(1.3, abs=1e-3)  # the last one is shown by the rate
        first = video.find_encoders(codec)[0]
        assert stream.codec_context.codec.canonical_name == next(name for name, those in video.CODECS.items() if first in those)
        assert (stream.height, stream.width) == SIZE
    np.testing.assert_allclose([frame.time for frame in open_video(tmp_path / "a.mp4").frames], times, atol=1e-3)


@pytest.mark.browser
@pytest.mark.parametrize("codec", [None, "h264"])
def test_a_browser_plays_it(tmp_path, codec):
    library = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    if codec is not None and not set(video.CODECS[codec]) & av.codecs_available:
        pytest.skip(f"this build of FFmpeg writes no {codec}")
    overlay(tmp_path / "a.mp4", [(10, 10, 40, 40)] * 12, codec=codec)
    (tmp_path / "page.html").write_text("<video src='a.mp4' muted></video>")
    with library.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page()
        tab.goto((tmp_path / "page.html").as_uri())
        played = tab.evaluate(
            "new Promise(resolve => { const video = document.querySelector('video'); video.onended = () => "
            "resolve([video.videoWidth, video.videoHeight, video.duration]); video.onerror = () => "
            "resolve(video.error.message); video.play().catch(error => resolve(String(error))) })"
        )
        browser.close()
    assert played == [SIZE[1], SIZE[0], pytest.approx(1.2, abs=0.01)]


def test_odd_sizes_are_filled_up_by_a_pixel(tmp_path):
    overlay(tmp_path / "a.mp4", [(5, 5, 20, 20)] * 2, size=(33, 47))
    assert next(open_video(tmp_path / "a.mp4").frames).image.shape == (34, 48, 3)
    overlay(tmp_path / "small.mp4", [(1, 1, 3, 3)] * 2, size=(5, 7))  # too small for the first encoder
    assert next(open_video(tmp_path / "small.mp4").frames).image.shape == (6, 8, 3)


def test_an_encoder_under_the_gpl_is_taken_only_where_it_is_asked_for():
    assert not {"libx264", "libx265"} & set(video.ENCODERS)
    assert video.find_encoders(None)[0] in video.ENCODERS
    with pytest.raises(ValueError, match="codec is av1, vp9, h264, mpeg4; received 'h265'"):
        video.find_encoders("h265")


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
    with pytest.raises(ValueError, match="This build of FFmpeg has none of h264_no_such; choose another codec"):
        overlay(tmp_path / "a.mp4", [(5, 5, 20, 20)])
    monkeypatch.setattr(video, "ENCODERS", ("h264_no_such", "mpeg4"))
    overlay(tmp_path / "b.mp4", [(5, 5, 20, 20)] * 3)
    assert len(list(open_video(tmp_path / "b.mp4").frames)) == 3


def test_colours_of_the_first_tracks_differ():
    colours = np.array([colour_of(number) for number in range(1, 9)])
    apart = np.abs(colours[:, None] - colours).max(axis=2) + 255 * np.eye(8, dtype=int)
    assert apart.min() > 20

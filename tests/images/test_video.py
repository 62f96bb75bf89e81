"""Laws of frames: order, times, turns, and what is said of what cannot be read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile
from medical_files import write_dicom
from PIL import Image
from small_tracks import SIZE, drawn, write_video

from maskrcnn.images.values import to_channels
from maskrcnn.images.video import open_video

needs_av = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('av')", reason="PyAV is not installed")


def moving(count: int) -> list[np.ndarray]:
    return [drawn([(4 * k, 20, 4 * k + 20, 40)]) for k in range(count)]


def left_edges(frames) -> list[int]:
    return [int(np.flatnonzero((frame.image[:, :, 0] > 128).any(axis=0))[0]) for frame in frames]


@needs_av
def test_frames_come_in_order_with_number_and_time(tmp_path):
    opened = open_video(write_video(tmp_path / "a.mp4", moving(8)))
    frames = list(opened.frames)
    assert (opened.name, opened.rate, opened.num_frames) == ("a", 10, 8)
    assert [frame.number for frame in frames] == list(range(8))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(8) / 10, atol=1e-3)
    np.testing.assert_allclose(left_edges(frames), 4 * np.arange(8), atol=1)
    assert frames[0].image.shape == (*SIZE, 3)
    assert frames[0].image.dtype == np.uint8


@needs_av
def test_times_of_a_variable_rate_are_the_files_own(tmp_path):
    times = [0, 0.1, 0.15, 0.9, 1.0]
    frames = open_video(write_video(tmp_path / "a.mp4", moving(5), times=times)).frames
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1e-3)


@needs_av
def test_times_of_an_avi_go_on_where_frames_refer_to_later_ones(tmp_path):
    """Its packets say only in which order they are decoded."""
    frames = list(open_video(write_video(tmp_path / "a.avi", moving(12))).frames)
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 10, atol=2e-3)
    np.testing.assert_allclose(left_edges(frames), 4 * np.arange(12), atol=1)


@needs_av
def test_times_that_go_back_go_on_by_the_rate(tmp_path):
    one = write_video(tmp_path / "one.ts", moving(5)).read_bytes()
    (tmp_path / "two.ts").write_bytes(one + one)  # recordings that were joined
    frames = open_video(tmp_path / "two.ts").frames
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(10) / 10, atol=1e-3)


@needs_av
@pytest.mark.parametrize("form", ["gray16le", "gray12le", "rgb48le"])
def test_values_of_more_than_8_bits_are_stretched_as_those_of_images_are(tmp_path, form):
    values = np.uint16(2000) + moving(3)[2][:, :, 0] // np.uint16(4)  # of 4095, or of 65535
    values = np.stack([values] * 3, axis=2) if form == "rgb48le" else values
    frames = list(open_video(write_video(tmp_path / "a.mkv", [values] * 2, codec="ffv1", form=form)).frames)
    np.testing.assert_allclose(frames[1].image, to_channels(values), atol=1)
    assert np.ptp(frames[1].image) == 255


@needs_av
@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_a_turned_camera_gives_upright_frames_as_opencv_shows_them(tmp_path, rotation):
    corner = drawn([(0, 0, 40, 20)])
    path = write_video(tmp_path / "a.mp4", [corner] * 3, rotation=rotation)
    first = next(open_video(path).frames).image
    _, shown = cv2.VideoCapture(str(path)).read()
    assert first.shape == shown.shape
    assert np.abs(first.astype(int) - shown[:, :, ::-1]).mean() < 3
    assert np.abs(first.astype(int) - corner[: first.shape[0], : first.shape[1]].mean()).mean() > 10


@needs_av
def test_every_third_frame_keeps_its_number_and_time(tmp_path):
    opened = open_video(write_video(tmp_path / "a.mp4", moving(8)), every=3)
    frames = list(opened.frames)
    assert [frame.number for frame in frames] == [0, 3, 6]
    assert opened.num_frames == 3
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.3, 0.6], atol=1e-3)


def test_images_come_in_natural_order_and_those_left_out_are_not_read(tmp_path):
    for number in (10, 9, 1):
        Image.fromarray(drawn([(number, 0, 96, 64)])).save(tmp_path / f"frame{number}.png")
    assert left_edges(open_video(tmp_path).frames) == [1, 9, 10]
    assert left_edges(open_video(str(tmp_path / "*.png")).frames) == [1, 9, 10]
    (tmp_path / "frame9.png").write_bytes(b"broken")
    frames = list(open_video(tmp_path, every=2, rate=4).frames)
    assert [(frame.number, frame.time) for frame in frames] == [(0, 0), (2, 0.5)]
    assert frames[1].path == str(tmp_path / "frame10.png")


def test_the_pages_of_a_tiff_are_frames(tmp_path):
    stack = np.stack([drawn([(4 * k, 20, 4 * k + 20, 40)])[:, :, 0] for k in range(5)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    opened = open_video(tmp_path / "stack.tif", every=2)
    assert opened.num_frames == 3
    assert left_edges(opened.frames) == [0, 8, 16]


def test_a_dicom_file_is_known_by_its_content_where_its_name_says_nothing(tmp_path):
    pytest.importorskip("pydicom", reason="the extra `medical` is not installed")
    slices = np.stack([drawn([(4 * k, 20, 4 * k + 20, 40)])[:, :, 0] for k in range(3)])
    opened = open_video(write_dicom(tmp_path / "IM00001", slices))
    assert (opened.num_frames, left_edges(opened.frames)) == (3, [0, 4, 8])


@needs_av
def test_a_file_that_breaks_off_gives_its_whole_frames_and_then_one_line(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, *SIZE, 3), np.uint8)
    path = write_video(tmp_path / "a.mp4", list(noise))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    frames = []
    with pytest.raises(ValueError, match=r"a\.mp4 breaks off after \d+ frames of 20") as told:
        frames.extend(open_video(path).frames)
    assert f"after {len(frames)} frames" in str(told.value)
    assert 5 < len(frames) < 20
    assert "\n" not in str(told.value)


@needs_av
@pytest.mark.parametrize(
    ("name", "codec", "said"),
    [
        ("a.mp4", "libx264", "is damaged from frame 19 on"),
        ("a.mp4", "mpeg4", "is damaged from frame 19 on"),
        ("a.ts", "libx264", "is damaged from frame 19 on"),
        ("a.mkv", "libx264", "breaks off after 19 frames, 1.90 of 2.00 s"),
        ("a.webm", "libvpx-vp9", "breaks off after 19 frames, 1.90 of 2.00 s"),
    ],
)
def test_a_last_frame_that_is_cut_is_told_in_every_container_and_the_others_are_given(tmp_path, name, codec, said):
    noise = np.random.default_rng(0).integers(0, 256, (20, *SIZE, 3), np.uint8)
    path = write_video(tmp_path / name, list(noise), codec=codec)
    path.write_bytes(path.read_bytes()[:-40])
    frames = []
    with pytest.raises(ValueError, match=said) as told:
        frames.extend(open_video(path).frames)
    assert [frame.number for frame in frames] == list(range(19))
    assert "\n" not in str(told.value)


@needs_av
@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9")])
@pytest.mark.parametrize("times", [[0, 0.1, 0.15, 0.9, 1.0], [0, 0.1, 0.15, 0.2, 0.25, 3.0], [0, 0.5, 1, 1.1, 1.11, 1.12]])
def test_a_whole_file_of_a_variable_rate_does_not_seem_to_break_off(tmp_path, name, codec, times):
    frames = open_video(write_video(tmp_path / name, moving(len(times)), times=times, codec=codec)).frames
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=2e-3)


@needs_av
def test_an_avi_with_sound_breaks_off_only_where_it_is_cut(tmp_path):
    """FFmpeg writes its sound as longer by as much as frames wait for later ones."""
    import av

    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        images, sound = container.add_stream("libx264", rate=10), container.add_stream("mp2", rate=44100)
        images.height, images.width, images.pix_fmt = *SIZE, "yuv420p"
        for image in moving(12):
            container.mux(images.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.int16), layout="mono")
            silence.sample_rate = 44100
            container.mux(sound.encode(silence))
        container.mux([*images.encode(), *sound.encode()])
    np.testing.assert_allclose([frame.time for frame in open_video(path).frames], np.arange(12) / 10)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(ValueError, match=r"a\.avi breaks off after \d+ frames, .* of 1\.20 s"):
        list(open_video(path).frames)


@needs_av
@pytest.mark.parametrize("left", [0, 150])  # bytes of the index; of some FFmpeg makes a file without streams
def test_a_recording_that_never_got_its_index_is_told_in_one_line(tmp_path, left):
    path = write_video(tmp_path / "a.mov", moving(8))  # the index is at the end
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") + left])
    with pytest.raises(ValueError, match=r"Cannot read .*a\.mov: it has no index: the recording was not ended"):
        open_video(path)


@needs_av
def test_images_of_another_size_end_the_video_and_say_where(tmp_path):
    for number, size in enumerate([SIZE, SIZE, (40, 50)]):
        Image.fromarray(drawn([], size)).save(tmp_path / f"{number}.png")
    frames = open_video(tmp_path).frames
    assert len([next(frames), next(frames)]) == 2
    with pytest.raises(
        ValueError, match=r"2\.png changes the video's size at frame 2 from 96×64 to 50×40\. The 2 frames before"
    ):
        next(frames)


@needs_av
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.mp4", b"no video at all" * 50, "Cannot read .*a.mp4: Invalid data"),
        ("a.mkv", b"", "Cannot read .*a.mkv"),
        ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n\n", "there is no video in it"),
    ],
)
def test_what_is_no_video_is_told_in_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as told:
        list(open_video(tmp_path / name).frames)
    assert "\n" not in str(told.value)


@needs_av
def test_an_unknown_codec_is_told_in_one_line(tmp_path):
    path = write_video(tmp_path / "a.avi", moving(4), codec="mpeg4")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZZ9"))
    with pytest.raises(ValueError, match="Cannot read .*a.avi") as told:
        list(open_video(path).frames)
    assert "\n" not in str(told.value)


def test_sources_that_are_not_there_and_numbers_out_of_range_are_told(tmp_path):
    with pytest.raises(ValueError, match="no file or folder"):
        open_video(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match="empty list"):
        open_video([])
    with pytest.raises(ValueError, match="every is at least 1"):
        open_video(tmp_path, every=0)
    with pytest.raises(ValueError, match="rate is above 0"):
        open_video(tmp_path, rate=0)


def test_a_camera_that_is_not_there_is_told_and_opencv_says_nothing_besides(capfd):
    level = cv2.utils.logging.getLogLevel()
    with pytest.raises(ValueError, match="no camera 97"):
        open_video("97")
    assert capfd.readouterr().err == ""
    assert cv2.utils.logging.getLogLevel() == level


def test_a_camera_gives_rgb_until_it_is_let_go(monkeypatch):
    class Camera:
        left, released = 3, False

        def isOpened(self):  # noqa: N802
            return True

        def get(self, _):
            return 25.0

        def grab(self):
            self.left -= 1
            return self.left >= 0

        def retrieve(self):
            return True, np.full((4, 6, 3), (10, 20, 30), np.uint8)  # blue, green, red

        def release(self):
            self.released = True

    camera = Camera()
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: camera)
    opened = open_video(0)
    frame = next(opened.frames)
    assert frame.image[0, 0].tolist() == [30, 20, 10]
    assert (opened.rate, opened.num_frames) == (25, None)
    opened.frames.close()
    assert camera.released

"""Laws of the door to Pillow: no file starts a program, and what is read whole is not refused."""

from __future__ import annotations

import ast
import io
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import maskrcnn
from maskrcnn.images.files import ALL_SUFFIXES
from maskrcnn.images.images import decoded_size, read_image, read_label_map, read_planes, read_size
from maskrcnn.images.opening import image_size, open_large
from maskrcnn.images.video import open_video

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
PROGRAMS = {  # what some reader of images, somewhere, hands to a program
    "eps": EPS,
    "eps of DOS": b"\xc5\xd0\xd3\xc6" + (32).to_bytes(4, "little") + len(EPS).to_bytes(4, "little") + bytes(20) + EPS,
    "pdf": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="ephemeral:/etc/passwd"/></svg>',
    "mvg": b"push graphic-context\nfill 'url(https://127.0.0.1/x.png\"|touch started\")'\npop graphic-context\n",
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "emf": b"\x01\0\0\0" + bytes(36) + b" EMF" + bytes(60),
    "fits": b"SIMPLE  =                    T" + b" " * 2850,
    "play list": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "concatenation": b"ffconcat version 1.0\nfile secret.mp4\n",
}
READERS = (read_image, read_size, decoded_size, read_label_map, image_size, open_large, lambda path: list(read_planes(path)))


@pytest.mark.parametrize("kind", PROGRAMS)
def test_no_file_starts_a_program(tmp_path, monkeypatch, kind):
    programs, started = tmp_path / "programs", tmp_path / "started"
    programs.mkdir()
    for name in ("gs", "gswin64c", "convert", "magick", "ffmpeg", "ffprobe", "inkscape", "rsvg-convert", "djpeg"):
        (programs / name).write_text(f"#!/bin/sh\necho {name} >> {started}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert len(ALL_SUFFIXES) > 20
    for suffix in ALL_SUFFIXES:
        path = tmp_path / f"x{suffix}"
        path.write_bytes(PROGRAMS[kind])
        for read in READERS:
            with pytest.raises(ValueError) as error:
                read(path)
            assert "\n" not in str(error.value)
    assert not started.exists()


def test_an_eps_is_named(tmp_path):
    (tmp_path / "x.png").write_bytes(EPS)
    with pytest.raises(ValueError, match=r"x\.png: it is an EPS or PostScript file, which is not read; save it as PNG\.$"):
        read_image(tmp_path / "x.png")


def test_pillow_is_opened_in_one_place_only():
    root = Path(maskrcnn.__file__).parent
    files = sorted(root.rglob("*.py"))
    assert len(files) > 100
    opens = [
        file.relative_to(root).as_posix()
        for file in files
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("Image.open", "PIL.Image.open")
    ]
    assert set(opens) == {"images/pillow.py"}


@pytest.mark.parametrize("kind", ["play list", "concatenation"])
def test_a_play_list_opens_no_other_file(tmp_path, monkeypatch, kind):
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    with av.open(str(tmp_path / "secret.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = 64, 48
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(stream.encode())
    assert len(list(open_video(tmp_path / "secret.mp4").frames)) == 1
    (tmp_path / "clip.video").write_bytes(PROGRAMS[kind])
    with pytest.raises(ValueError, match=r"Cannot read .*clip\.video"):
        open_video(tmp_path / "clip.video")


# ── JPEG without its end ──

PHOTO = np.kron(np.random.default_rng(0).integers(0, 256, (12, 17, 3), np.uint8), np.ones((8, 8, 1), np.uint8))


def jpeg(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_whose_end_marker_alone_is_missing_is_read(tmp_path, progressive):
    whole = jpeg(progressive=progressive)
    assert whole.endswith(b"\xff\xd9")
    for name, content in (("whole.jpg", whole), ("cut.jpg", whole[:-2]), ("half.jpg", whole[:-1])):
        (tmp_path / name).write_bytes(content)
    wanted = read_image(tmp_path / "whole.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "cut.jpg"), wanted)
    np.testing.assert_array_equal(read_image(tmp_path / "half.jpg"), wanted)
    assert decoded_size(tmp_path / "cut.jpg") == PHOTO.shape[:2]


@pytest.mark.parametrize("missing", [4, 10, 300])
def test_a_jpeg_that_lacks_pixels_is_refused(tmp_path, missing):
    (tmp_path / "cut.jpg").write_bytes(jpeg()[:-missing])
    with pytest.raises(ValueError, match=r"cut\.jpg: image file is truncated"):
        read_image(tmp_path / "cut.jpg")


# ── formats ──


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".avif", ".jp2", ".gif", ".ppm", ".tga", ".qoi", ".dib"])
def test_what_a_folder_gives_is_read(tmp_path, suffix):
    Image.fromarray(PHOTO).save(tmp_path / f"a{suffix}")
    read = read_image(tmp_path / f"a{suffix}").astype(int)
    assert read.shape == PHOTO.shape == (*read_size(tmp_path / f"a{suffix}"), 3)
    assert np.abs(read - PHOTO).mean() < (40 if suffix == ".gif" else 12)


def test_heic_is_read():
    pytest.importorskip("pi_heif", reason="the extra `heif` is not installed")
    path = Path(__file__).with_name("phone.heic")
    image = read_image(path)
    assert image.shape == (360, 360, 3) and read_size(path) == (360, 360) and image.std() > 5


def test_heic_without_its_extra_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    (tmp_path / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(ValueError, match=r'phone\.jpg: it is HEIC.*pip install "maskrcnn\[heif\]"\.$'):
        read_image(tmp_path / "phone.jpg")


def test_a_video_is_named(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isomavc1" + bytes(100))
    with pytest.raises(ValueError, match=r"clip\.mp4: it is a video, of which `maskrcnn track` takes each frame\.$"):
        read_image(tmp_path / "clip.mp4")

"""Images behind an address and on standard input: which file they become, and what is refused."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from maskrcnn.images import remote
from maskrcnn.images.images import read_image
from maskrcnn.images.remote import bring, is_remote


def png(value: int = 7) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/a/cell.png")
            self.end_headers()
            return
        if path == "/gone.png":
            self.send_error(404)
            return
        body = {"/page.png": b"<html>please log in</html>", "/b/cell.png": png(9)}.get(path, png())
        self.send_response(200)
        if path not in ("/endless.png", "/slow.png"):
            self.send_header("Content-Length", "999999999999" if path == "/huge.png" else str(len(body)))
        self.end_headers()
        try:
            while path in ("/endless.png", "/slow.png"):
                self.wfile.write(body if path == "/slow.png" else b"\0" * 100_000)
                time.sleep(0.05 if path == "/slow.png" else 0)
            self.wfile.write(body)
        except OSError:  # the client had enough
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(remote, "INSECURE", True)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def brought(folder: Path, *inputs: str) -> tuple[list[str | Path], list[str]]:
    told: list[str] = []
    return bring(inputs, folder, told.append), told


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_addresses_are_known_and_paths_stay_as_they_are(tmp_path: Path) -> None:
    assert all(map(is_remote, ("https://a/b.png", "HTTPS://A", "http://a", "-")))
    assert not any(map(is_remote, ("a.png", "https.png", "./-", "folder/https://x", Path("a"))))
    assert brought(tmp_path / "inputs", "a.png", "*.tif") == (["a.png", "*.tif"], [])
    assert names(tmp_path) == []


def test_each_address_becomes_a_file_and_the_query_is_not_told(server: str, tmp_path: Path) -> None:
    addresses = [f"{server}/a/cell.png?token=secret", f"{server}/b/cell.png", f"{server}/moved", f"{server}/%2e%2e%2fx%20y.png"]
    paths, told = brought(tmp_path / "out" / "inputs", *addresses)
    assert names(tmp_path / "out" / "inputs") == ["cell.png", "cell_2.png", "moved", "x_y.png"]
    assert [read_image(path)[0, 0, 0] for path in paths] == [7, 9, 7, 7]
    assert len(told) == 4 and "secret" not in "".join(told) and "cell_2.png" in told[1]
    assert brought(tmp_path / "out" / "inputs", *addresses)[0] == paths  # the same again, and no copies


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/page.png", r"/page\.png is no image that can be read: it is no image"),
        ("/gone.png", r"could not be downloaded \(HTTPError 404\)"),
        ("/huge.png", "has 953674 MB; 0 are the most"),
        ("/endless.png", "more than 0 MB"),
        ("/slow.png", "not there after 0 seconds"),
    ],
)
def test_what_is_no_image_or_too_much_leaves_nothing(server, tmp_path, monkeypatch, path: str, message: str) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 1_000_000)
    if path == "/slow.png":
        monkeypatch.setattr(remote, "SECONDS", 0.2)
    with pytest.raises(ValueError, match=message) as refusal:
        brought(tmp_path / "out" / "inputs", f"{server}{path}")
    assert "\n" not in str(refusal.value)
    assert names(tmp_path) == []


def test_no_server_and_no_encryption_are_one_line(server, tmp_path, monkeypatch) -> None:
    with pytest.raises(ValueError, match=r"could not be downloaded \(ConnectionError\)"):
        brought(tmp_path, "http://127.0.0.1:1/a.png")
    monkeypatch.setattr(remote, "INSECURE", False)
    with pytest.raises(ValueError, match="is not encrypted"):
        brought(tmp_path, f"{server}/a.png")


def test_standard_input_is_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(png(5)), isatty=lambda: False))
    (path,), told = brought(tmp_path, "-")
    assert read_image(path)[0, 0, 0] == 5 and told == [f"Standard input is kept as {path}."]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"text"), isatty=lambda: False))
    with pytest.raises(ValueError, match="Standard input is no image"):
        brought(tmp_path, "-")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(), isatty=lambda: True))
    with pytest.raises(ValueError, match="is a terminal"):
        brought(tmp_path, "-")
    assert names(tmp_path) == ["stdin"]

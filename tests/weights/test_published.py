"""Published files: against a server on this machine, which counts what it sends."""

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from maskrcnn.weights import finding
from maskrcnn.weights.finding import fetch, resolve
from maskrcnn.weights.published import PUBLISHED, Published

CONTENT = bytes(range(256)) * 4000  # about 1 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """One file at every address, and how to misbehave."""

    content = CONTENT
    ranges = True  # whether it knows them
    breaks_after: int | None = None  # bytes of an answer, whereupon the connection is cut; once
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str | None] = []  # the Range of each
        self.sent = 0

    def published(self, **changes: object) -> Published:
        url = f"http://127.0.0.1:{self.server_address[1]}/models/tiny-weights.pth"
        return Published(
            **({"name": "tiny", "url": url, "digest": f"sha256:{SHA256[:8]}", "licence": "CC0", "about": "x"} | changes)
        )


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        if server.breaks_after is not None:
            body, server.breaks_after = body[: server.breaks_after], None
        server.sent += len(body)  # before the client has all of it, and goes on to look at this
        try:
            self.wfile.write(body)
        except ConnectionError:  # of a client that leaves because it wants none of this
            server.sent -= len(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(finding, "INSECURE", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(PUBLISHED, "tiny", server.published())
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKRCNN_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# ── the table ──


def test_every_published_file_is_named_by_its_key_and_lies_behind_https() -> None:
    assert [file.name for file in PUBLISHED.values()] == list(PUBLISHED)
    assert all(file.url.startswith("https://") and file.licence for file in PUBLISHED.values())
    assert len({file.file_name for file in PUBLISHED.values()}) == len(PUBLISHED)  # in one folder


def test_digests_have_the_digits_that_the_publisher_put_into_the_file_name() -> None:
    lengths = {"sha256": (8, 64), "md5": (6, 32)}
    for file in PUBLISHED.values():
        algorithm, digits = re.fullmatch(r"(sha256|md5):([0-9a-f]+)", file.digest).groups()
        assert len(digits) in lengths[algorithm]
        in_name = re.search(r"[-_]([0-9a-f]{6,8})\.(pth|pkl)$", file.file_name)
        assert file.name == "matterport-coco" or digits.startswith(in_name[1])


# ── downloading ──


def test_a_fresh_download_is_the_file_and_shows_the_licence_once(server, cache, capsys) -> None:
    path = fetch("tiny")
    assert path == cache / "tiny-weights.pth"
    assert path.read_bytes() == CONTENT
    assert names(cache) == ["tiny-weights.pth"]
    assert capsys.readouterr().err.count("license: CC0") == 1


def test_a_second_call_asks_nobody_and_says_nothing(server, cache, capsys) -> None:
    fetch("tiny", progress=False)
    assert fetch("tiny") == cache / "tiny-weights.pth"
    assert len(server.requests) == 1
    assert capsys.readouterr() == ("", "")


def test_a_broken_connection_is_resumed_and_only_the_rest_is_sent(server, cache) -> None:
    server.breaks_after = 4 * finding.CHUNK
    assert fetch("tiny", progress=False).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={4 * finding.CHUNK}-"]
    assert server.sent == len(CONTENT)


def test_what_an_earlier_call_left_is_resumed(server, cache) -> None:
    cache.mkdir(parents=True)
    (cache / "tiny-weights.pth.part").write_bytes(CONTENT[:700_000])
    assert fetch("tiny", progress=False).read_bytes() == CONTENT
    assert server.requests == ["bytes=700000-"]
    assert server.sent == len(CONTENT) - 700_000


def test_a_server_without_ranges_sends_all_of_it_again(server, cache) -> None:
    server.ranges = False
    server.breaks_after = 4 * finding.CHUNK
    assert fetch("tiny", progress=False).read_bytes() == CONTENT
    assert server.sent == 4 * finding.CHUNK + len(CONTENT)


def test_a_piece_longer_than_the_file_is_thrown_away(server, cache) -> None:
    cache.mkdir(parents=True)
    (cache / "tiny-weights.pth.part").write_bytes(CONTENT + b"more")
    assert fetch("tiny", progress=False).read_bytes() == CONTENT
    assert len(server.requests) == 2 and server.requests[1] is None


def test_a_wrong_digest_removes_the_download_and_is_one_line(server, cache) -> None:
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(ValueError, match=f"is not tiny: its sha256 is .*, published is {SHA256[:8]}") as caught:
        fetch("tiny", progress=False)
    assert "\n" not in str(caught.value)
    assert names(cache) == []
    server.content = CONTENT
    assert fetch("tiny", progress=False).read_bytes() == CONTENT


def test_an_md5_is_checked_too(server, cache, monkeypatch) -> None:
    monkeypatch.setitem(PUBLISHED, "tiny", server.published(digest=f"md5:{hashlib.md5(CONTENT).hexdigest()[:6]}"))
    assert fetch("tiny", progress=False).is_file()
    monkeypatch.setitem(PUBLISHED, "tiny", server.published(digest="md5:ffffff"))
    with pytest.raises(ValueError, match="its md5 is"):
        fetch("tiny", progress=False)


def test_a_wrong_length_is_refused_before_anything_is_written(server, cache, monkeypatch) -> None:
    monkeypatch.setitem(PUBLISHED, "tiny", server.published(size=len(CONTENT) + 1))
    with pytest.raises(ValueError, match=r"has 1,024,000 bytes; tiny has 1,024,001, so nothing was downloaded."):
        fetch("tiny", progress=False)
    assert names(cache) == []


def test_a_file_beyond_the_bound_is_refused(server, cache, monkeypatch) -> None:
    monkeypatch.setattr(finding, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="has 1,024,000 bytes; tiny has at most 1,000"):
        fetch("tiny", progress=False)
    assert names(cache) == []


def test_without_an_answer_one_sentence_says_what_to_put_where(server, cache) -> None:
    server.status = 404
    with pytest.raises(ConnectionError) as caught:
        fetch("tiny", progress=False)
    assert str(caught.value) == (
        f"tiny-weights.pth could not be downloaded (HTTPError 404): get it from {PUBLISHED['tiny'].url} "
        f"and put it at {cache / 'tiny-weights.pth'}, where it is then found."
    )
    assert len(server.requests) == 1


def test_without_a_connection_too(server, cache, monkeypatch) -> None:
    monkeypatch.setitem(PUBLISHED, "tiny", server.published(url="http://127.0.0.1:1/tiny-weights.pth"))
    with pytest.raises(ConnectionError, match="could not be downloaded .ConnectionError.: get it from http://127.0.0.1:1/"):
        fetch("tiny", progress=False)


def test_an_address_without_https_is_refused(server, cache, monkeypatch) -> None:
    monkeypatch.setattr(finding, "INSECURE", False)
    with pytest.raises(ConnectionError, match="InvalidSchema"):
        fetch("tiny", progress=False)
    assert server.requests == []


def test_two_threads_at_once_download_once(server, cache) -> None:
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch("tiny", progress=False))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [cache / "tiny-weights.pth"] * 2
    assert paths[0].read_bytes() == CONTENT
    assert len(server.requests) == 1


# ── files that are there ──


def test_a_file_put_there_by_hand_is_used_if_its_digest_is_right(server, cache) -> None:
    cache.mkdir(parents=True)
    path = cache / "tiny-weights.pth"
    path.write_bytes(CONTENT)
    assert fetch("tiny") == path
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="is not tiny.*Delete it, and it is downloaded anew."):
        fetch("tiny")
    assert path.read_bytes() == b"something else"
    assert server.requests == []


def test_the_cache_may_be_any_folder(server, tmp_path) -> None:
    assert fetch("tiny", progress=False, cache=tmp_path / "here") == tmp_path / "here" / "tiny-weights.pth"


def test_resolve_takes_names_and_paths(server, cache, tmp_path) -> None:
    file = tmp_path / "own.pth"
    file.touch()
    assert resolve("tiny", progress=False) == cache / "tiny-weights.pth"
    assert resolve(file) == file
    assert resolve(str(file)) == file
    with pytest.raises(FileNotFoundError, match=f"No weights file at {re.escape(str(tmp_path / 'none'))}"):
        resolve(tmp_path / "none")


@pytest.mark.parametrize("find", [fetch, resolve])
def test_an_unknown_name_names_the_nearest(find) -> None:
    with pytest.raises(ValueError, match="'torchvison-v2'; published are torchvision-v2, torchvision-v1"):
        find("torchvison-v2")
    with pytest.raises(ValueError, match=re.escape(", ".join(PUBLISHED))):
        find("zzz")


def test_without_the_variable_the_cache_is_the_platforms(monkeypatch) -> None:
    monkeypatch.delenv("MASKRCNN_HOME", raising=False)
    assert finding.cache_folder().parts[-2:] == ("maskrcnn", "weights") or os.name == "nt"


def test_a_published_name_is_a_model_to_work_with_and_a_backbone_is_not(cache, monkeypatch) -> None:
    import maskrcnn
    from maskrcnn.cli import models

    assert finding.published_model("torchvision-v2") == "torchvision-v2"
    assert finding.published_model("runs/first") is finding.published_model(Path("nuclei")) is None
    backbones = [name for name, file in PUBLISHED.items() if file.is_backbone]
    assert {"torchvision-resnet50", "timm-resnet50d", "torchvision-swin_tiny"} <= set(backbones)
    assert not any(file.box_ap for name, file in PUBLISHED.items() if name in backbones)
    with pytest.raises(ValueError, match="torchvision-resnet50 is a backbone alone"):
        models.load_model("torchvision-resnet50")
    fetched, opened = [], []
    monkeypatch.setattr(finding, "fetch", lambda name: fetched.append(name) or cache / "file.pth")
    monkeypatch.setattr(maskrcnn.MaskRCNN, "from_checkpoint", lambda name: opened.append(name) or "model")
    assert models.load_model(Path("torchvision-v2")) == maskrcnn.load_model("torchvision-v2") == "model"
    assert (fetched, opened) == (["torchvision-v2"], ["torchvision-v2"] * 2)

"""A server as a process: signals, ports, workers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
from small_server import image_bytes

from maskrcnn.serving.running import listen

WAIT = 120  # seconds; the machine may be busy
PROGRAM = """
import sys, time
from small_server import BrightDetector
from maskrcnn.serving import app, running
from maskrcnn.serving.settings import ServerSettings

class SlowDetector(BrightDetector):
    def predict_on_batch(self, batch):
        if batch["images"].any():  # not of the empty image that is answered at the start
            time.sleep(float(sys.argv[1]))
        return super().predict_on_batch(batch)

def work(listener):
    running.run(app.create_app(SlowDetector(), ServerSettings(grace=float(sys.argv[2]))), listener)

if __name__ == "__main__":
    listener = running.listen("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    if sys.argv[3] == "1":
        work(listener)
    else:
        running.run_workers(work, listener, int(sys.argv[3]), float(sys.argv[2]))
"""


@contextmanager
def server(
    tmp_path: Path, *, seconds: float = 0.0, grace: float = 10.0, workers: int = 1
) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server of its own, and its address; killed in the end if it still runs."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    folders = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, str(program), str(seconds), str(grace), str(workers)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = f"http://127.0.0.1:{int(process.stdout.readline())}"
        until_ready(address)
        yield process, address
    finally:
        process.kill()
        process.communicate()


def until_ready(address: str) -> None:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("The server is not ready.")


def until_taken(address: str, count: int) -> None:
    """Until so many requests are being answered."""
    deadline = time.monotonic() + WAIT
    while f"maskrcnn_places_taken {count}.0" not in httpx.get(f"{address}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def detect(address: str) -> httpx.Response:
    return httpx.post(f"{address}/v1/detect", content=image_bytes(), timeout=WAIT)


def until_answered(address: str) -> None:
    """Asks until the answer is another than 503, or there is none because the port is closed."""
    while detect(address).status_code == 503:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_end_and_no_new_ones_in(tmp_path, number) -> None:
    with server(tmp_path, seconds=4.0, grace=60) as (process, address), ThreadPoolExecutor(1) as threads:
        running = threads.submit(detect, address)
        until_taken(address, 1)
        process.send_signal(number)
        with pytest.raises(httpx.TransportError):
            until_answered(address)
        assert running.result(WAIT).status_code == 200
        _, log = process.communicate(timeout=WAIT)
        assert process.returncode == 0
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events.index("stopping") < events.index("stopped")


@pytest.mark.slow
def test_it_is_over_within_the_grace_whatever_the_model_does(tmp_path) -> None:
    with server(tmp_path, seconds=WAIT, grace=5) as (process, address), ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(detect, address) for _ in range(8)]
        until_taken(address, 8)
        start = time.monotonic()
        process.terminate()
        answers = [one.result(WAIT) for one in asked]
        assert {(answer.status_code, answer.headers["Retry-After"]) for answer in answers} == {(503, "5")}
        _, log = process.communicate(timeout=WAIT)
        assert time.monotonic() - start < WAIT / 4
        assert process.returncode == 0
        assert "Traceback" not in log


@pytest.mark.slow
def test_workers_share_a_port_and_end_together(tmp_path) -> None:
    with server(tmp_path, workers=2) as (process, address):
        assert {detect(address).status_code for _ in range(10)} == {200}
        process.terminate()
        assert process.wait(WAIT) == 0
        with pytest.raises(httpx.TransportError):
            detect(address)


def test_a_port_in_use_is_told_in_a_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=re.escape(f"Cannot listen on 127.0.0.1, port {port}: ")):
            listen("127.0.0.1", port)

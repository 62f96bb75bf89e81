"""A server under load: answers a second and seconds an answer for 1, 8, 64 and 200 clients at once, and 2,000 damaged uploads.

Clients ask as fast as they are answered; where they are told that the queue is full they wait as long as Retry-After says. Any
other error is counted, and the run fails in the end. Memory is the server's own, before and after. Everything stays on the
loopback.

    python bench/serve.py --model nuclei --image cells.png --clients 1 8 64 200 --seconds 60

One part alone, 200 clients for a minute or the damaged uploads:

    python bench/serve.py --image cells.png --clients 200 --seconds 60 --damaged 0 --json clients.json
    python bench/serve.py --image cells.png --clients --damaged 2000 --json damaged.json

With a Python that has torch and torchvision, of this Python's version, a ResNet-50-FPN with random weights, calibrated so that
about a hundred objects are found, is served by this package on Keras and on OpenVINO, and by torchvision in the same server:

    python bench/serve.py --peer-python PYTHON --sides 256 320 --image cells.png --json serve.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from side import Side

from maskrcnn import engines

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from hostile_uploads import damaged, seeds

HERE = Path(__file__).parent
START, END = 900, 120  # seconds that a server has to be ready, and to end; the machine may be busy
WARM = 200  # damaged uploads before memory is looked at


class Server:
    """A server as a process of its own, on a free port; `with` ends it as an operator would."""

    def __init__(self, command: list[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"MASKRCNN_PREPARE_ENGINE": "off"},  # no export is written while it is timed
        )

    def __enter__(self) -> Server:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.address}/v2/health/ready").status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        self.process.kill()
        raise SystemExit("The server did not start.")

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(END)
        finally:
            self.process.kill()
        if code:
            raise SystemExit(f"The server ended with {code}.")

    @property
    def megabytes(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


class Load:
    """What clients were answered: seconds of each answer and of each refusal, and the other codes."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.refused: list[float] = []
        self.errors: Counter[str] = Counter()  # by code, or by what broke

    @property
    def codes(self) -> dict[str, int]:
        """Answers by status code, and requests without one by what broke."""
        counts = Counter({"200": len(self.seconds), "503": len(self.refused)}) + self.errors
        return dict(sorted(counts.items()))

    async def client(self, address: str, body: bytes, until: float) -> None:
        """Asks until the time is over."""
        async with httpx.AsyncClient(timeout=120) as session:
            while time.monotonic() < until:
                start = time.monotonic()
                try:
                    answer = await session.post(f"{address}/v1/detect", content=body)
                except httpx.TransportError as error:
                    self.errors[type(error).__name__] += 1
                    continue
                took = time.monotonic() - start
                if answer.status_code == 503:
                    self.refused.append(took)
                    await asyncio.sleep(min(float(answer.headers["Retry-After"]), max(until - time.monotonic(), 0)))
                elif answer.status_code == 200:
                    self.seconds.append(took)
                else:
                    self.errors[str(answer.status_code)] += 1


async def load(address: str, body: bytes, clients: int, duration: float) -> Load:
    found, until = Load(), time.monotonic() + duration
    await asyncio.gather(*(found.client(address, body, until) for _ in range(clients)))
    return found


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """The median and the 95th."""
    if not seconds:
        return float("nan"), float("nan")
    p50, p95 = np.percentile(seconds, (50, 95))
    return float(p50), float(p95)


def measure(server: Server, body: bytes, clients: int, duration: float) -> dict[str, Any]:
    before, start = server.megabytes, time.monotonic()
    found = asyncio.run(load(server.address, body, clients, duration))
    took = time.monotonic() - start
    p50, p95 = percentiles(found.seconds)
    row = {"clients": clients, "answers": len(found.seconds), "answers_a_second": len(found.seconds) / took}
    row |= {"p50": p50, "p95": p95, "refused": len(found.refused), "errors": dict(found.errors), "codes": found.codes}
    row |= {"refused_p95": float(np.percentile(found.refused, 95)) if found.refused else 0.0}
    return row | {"megabytes_before": before, "megabytes_after": server.megabytes}


def send_damaged(server: Server, count: int) -> dict[str, Any]:
    """Codes that damaged uploads are answered, one after the other, in which time, and the server's memory before and after."""
    rng, files, codes, seconds = np.random.default_rng(1), seeds(), Counter[str](), list[float]()
    with httpx.Client(timeout=120) as session:

        def send(number: int) -> int:
            return session.post(f"{server.address}/v1/detect", content=damaged(files[number % len(files)], rng)).status_code

        for number in range(WARM):
            send(number)
        before = server.megabytes
        for number in range(count):
            start = time.monotonic()
            codes[str(send(number))] += 1
            seconds.append(time.monotonic() - start)
    p50, p95 = percentiles(seconds)
    memory = {"megabytes_before": before, "megabytes_after": server.megabytes}
    return {"codes": dict(sorted(codes.items())), "p50": p50, "p95": p95} | memory


def batch_mean(address: str) -> float:
    """Images a batch so far, from the server's counters."""
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("maskrcnn_batch_images_")}
    return values["maskrcnn_batch_images_sum"] / max(values["maskrcnn_batch_images_count"], 1)


def examine(command: list[str], body: bytes, given: argparse.Namespace) -> dict[str, Any]:
    """All that is measured of one server."""
    with Server(command) as server:
        asyncio.run(load(server.address, body, given.batch_size, 5))  # compiles what is to be compiled
        answer = httpx.post(f"{server.address}/v1/detect", content=body, timeout=120).json()
        rows = []
        for clients in given.clients:
            rows.append(measure(server, body, clients, given.seconds))
            print(json.dumps(rows[-1]), flush=True)  # for whoever waits
        found: dict[str, Any] = {"objects": len(answer["images"][0]["detections"]), "rows": rows}
        found["images_a_batch"] = batch_mean(server.address)
        if given.damaged:
            found["damaged"] = send_damaged(server, given.damaged)
        return found


def commands(given: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """How each server is started, by name."""
    options = ["--batch-size", str(given.batch_size)]

    def ours(model: str | Path) -> list[str]:
        engine = [] if engines.recognise(model) else ["--engine", given.engine]
        return [sys.executable, "-m", "maskrcnn", "serve", "--model", str(model), *engine, *options]

    if given.peer_python is None:
        return {str(model): ours(model) for model in given.model}
    weights, model, exported, config = (folder / name for name in ("weights.pth", "model.keras", "openvino", "config.json"))
    if not exported.exists():
        prepare(given, weights, model, exported)
    from maskrcnn.weights.models import read_config

    config.write_text(json.dumps(read_config(model)["config"]["config"]))
    peer_server = [given.peer_python, str(HERE / "serve_torchvision.py"), "--weights", str(weights), "--config", str(config)]
    peer_server += ["--packages", sysconfig.get_path("purelib"), *options]
    return {"Keras": ours(model), "OpenVINO": ours(exported), "torchvision": peer_server}


def prepare(given: argparse.Namespace, weights: Path, model: Path, exported: Path) -> None:
    """Random weights that find objects in the image, as torchvision's file, as a model of this package and exported."""
    short, long = given.sides
    with Side(given.peer_python, HERE / "side_torchvision.py") as peer:
        peer.ask("prepare", image=str(given.image), weights=str(weights), sides=[short, long])
    with Side(sys.executable, HERE / "side_ours.py", TF_CPP_MIN_LOG_LEVEL="3") as side:
        side.ask("convert", weights=str(weights), out=str(model), image__short_side=short, image__long_side=long)
        side.ask("export", model=str(model), out=str(exported), precision="float32", size=[short, short])


def show(name: str, found: dict[str, Any], console: Console) -> None:
    table = Table("clients", "answers", "a second", "p50 s", "p95 s", "503", "p95 of 503, s", "errors", "MB before", "MB after")
    for row in found["rows"]:
        numbers = (row["answers_a_second"], row["p50"], row["p95"])
        counts = (str(row["refused"]), f"{row['refused_p95']:.3f}", str(row["errors"] or 0))
        memory = (f"{row['megabytes_before']:.0f}", f"{row['megabytes_after']:.0f}")
        table.add_row(str(row["clients"]), str(row["answers"]), *(f"{number:.2f}" for number in numbers), *counts, *memory)
    console.print(f"{name}: {found['objects']} objects, {found['images_a_batch']:.2f} images a batch on average", table)
    if "damaged" in found:
        console.print("damaged uploads:", found["damaged"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["nuclei"], help="one or several, exported ones too")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--engine", default="keras", help="auto: the one that is prepared already")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 64, 200], help="none: only damaged uploads")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--damaged", type=int, default=2000, help="damaged uploads; 0: none")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--peer-python", help="a Python with torch and torchvision")
    parser.add_argument("--sides", type=int, nargs=2, default=[800, 1333], help="short and longest side beside torchvision")
    parser.add_argument("--work", type=Path, help="keeps the models of that comparison there, for another run")
    parser.add_argument("--only", nargs="+", choices=["Keras", "OpenVINO", "torchvision"], help="of that comparison")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    body, results, console = given.image.read_bytes(), dict[str, Any](), Console()
    with tempfile.TemporaryDirectory() as folder:
        if given.work is not None:
            given.work.mkdir(parents=True, exist_ok=True)
        for name, command in commands(given, given.work or Path(folder)).items():
            if given.only and name not in given.only:
                continue
            load_before = os.getloadavg()
            results[name] = examine(command, body, given) | {"load": [load_before, os.getloadavg()]}
            show(name, results[name], console)
    console.print(f"{os.cpu_count()} processors; loads before and after: {[found['load'] for found in results.values()]}")
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n")
    wrong = [found for found in results.values() if any(row["errors"] for row in found["rows"])]
    if wrong or any(code >= "500" for found in results.values() for code in found.get("damaged", {"codes": {}})["codes"]):
        raise SystemExit("Some answers were errors other than 503.")


if __name__ == "__main__":
    main()

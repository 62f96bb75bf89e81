"""A server under load: answers a second and seconds an answer for 1, 8, 64 and 200 clients at once; a table and a JSON.

Clients ask as fast as they are answered; where the queue is full they wait as long as Retry-After says. Any other
error ends the run with a failure. Memory is the server's own, before and after.

    python bench/serve.py --model nuclei --image cells.png --clients 1 8 64 200 --seconds 60
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
import time
from pathlib import Path

import httpx2 as httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

START = 300  # seconds that a server has to be ready


class Server:
    """`maskrcnn serve` as a process of its own; `with` ends it as an operator would."""

    def __init__(self, words: list[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "maskrcnn", "serve", "--port", str(port), *words]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

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
        code = self.process.wait(60)
        if code:
            raise SystemExit(f"The server ended with {code}.")

    @property
    def megabytes(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


async def client(address: str, body: bytes, until: float, seconds: list[float], refused: list[float]) -> None:
    """Asks until the time is over; notes how long each answer took, and when it was sent away."""
    async with httpx.AsyncClient(timeout=120) as session:
        while time.monotonic() < until:
            start = time.monotonic()
            answer = await session.post(f"{address}/v1/detect", content=body)
            took = time.monotonic() - start
            if answer.status_code == 503:
                refused.append(took)
                await asyncio.sleep(min(float(answer.headers["Retry-After"]), max(until - time.monotonic(), 0)))
            elif answer.status_code == 200:
                seconds.append(took)
            else:
                raise SystemExit(f"A client was answered {answer.status_code}: {answer.text[:200]}")


async def load(address: str, body: bytes, clients: int, duration: float) -> tuple[list[float], list[float]]:
    seconds: list[float] = []
    refused: list[float] = []
    until = time.monotonic() + duration
    await asyncio.gather(*(client(address, body, until, seconds, refused) for _ in range(clients)))
    return seconds, refused


def batch_mean(address: str) -> float:
    """Images a batch so far, from the server's counters."""
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("maskrcnn_batch_images_")}
    return values["maskrcnn_batch_images_sum"] / max(values["maskrcnn_batch_images_count"], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64, 200])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    body = given.image.read_bytes()
    rows = []
    with Server(["--model", given.model, "--batch-size", str(given.batch_size)]) as server:
        asyncio.run(load(server.address, body, given.batch_size, 5))  # compiles what is to be compiled
        for clients in given.clients:
            before = server.megabytes
            start = time.monotonic()
            seconds, refused = asyncio.run(load(server.address, body, clients, given.seconds))
            took = time.monotonic() - start
            p50, p95 = np.percentile(seconds, (50, 95))
            row = {"clients": clients, "answers": len(seconds), "answers_a_second": len(seconds) / took, "p50": p50, "p95": p95}
            row |= {"refused": len(refused), "refused_p95": float(np.percentile(refused, 95)) if refused else 0.0}
            rows.append(row | {"megabytes_before": before, "megabytes_after": server.megabytes})
        mean = batch_mean(server.address)
    table = Table("clients", "answers", "a second", "p50 s", "p95 s", "503", "p95 of 503, s", "MB before", "MB after")
    for row in rows:
        numbers = (row["answers_a_second"], row["p50"], row["p95"])
        memory = (f"{row['megabytes_before']:.0f}", f"{row['megabytes_after']:.0f}")
        counts = (str(row["refused"]), f"{row['refused_p95']:.3f}")
        table.add_row(str(row["clients"]), str(row["answers"]), *(f"{number:.2f}" for number in numbers), *counts, *memory)
    Console().print(table, f"{mean:.2f} images a batch on average; {os.cpu_count()} processors")
    if given.json:
        given.json.write_text(json.dumps({"model": given.model, "rows": rows, "images_a_batch": mean}, indent=2) + "\n")


if __name__ == "__main__":
    main()

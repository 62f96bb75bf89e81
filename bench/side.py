"""One side of a comparison: a process that does what it is asked, a line of JSON in, a line of JSON out.

Two packages cannot be timed in one process: their threads and memory would mix. So each gets a process, often a Python of its
own, and the two are asked in turn, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Task = Callable[..., dict[str, Any]]


class Side:
    """A process to ask.

    Args:
        python: its interpreter.
        script: calls `serve`.
        environment: variables on top of this process's own.
    """

    def __init__(self, python: str, script: Path, **environment: str) -> None:
        self.name = script.stem
        self.process = subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment
        )

    def ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} ended in the task {task}; what it said is above.")
        return json.loads(answer)

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve(tasks: dict[str, Task]) -> None:
    """Answers until stdin ends. What the tasks print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answer = tasks[request.pop("task")](**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The answer, with seconds by the clock and of the processor."""
    clock, busy = time.perf_counter(), time.process_time()
    answer = function()
    return answer, {"seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - busy}


def peak_mb() -> float:
    """Most megabytes that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

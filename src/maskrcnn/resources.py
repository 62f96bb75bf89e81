"""How much memory this process can still have."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil

SWITCH = "MASKRCNN_MEMORY_CHECK"  # "off" in the environment: nothing is checked
GIGABYTE = 1e9
SHARE = 0.95  # of what is free that may be planned for

# cgroup 2 and 1: the limit, what counts against it, and the name of what can be dropped of that
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes", "total_inactive_file"),
)


def available() -> int:
    """Bytes that this process can still have: the machine's, or its container's where that has a limit of its own."""
    free = psutil.virtual_memory().available
    for limit, used, droppable in _CGROUPS:
        try:
            allowed, held = Path(limit).read_text().strip(), int(Path(used).read_text())
            lines = dict(line.split() for line in Path(used).with_name("memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if allowed.isdecimal():  # else it says "max"
            free = min(free, int(allowed) - held + int(lines.get(droppable, 0)))
    return max(free, 0)


def is_checked() -> bool:
    """Whether the environment leaves memory checks on."""
    return os.environ.get(SWITCH) != "off"


def gigabytes(number: float) -> str:
    """Bytes for people to read."""
    return f"{number / GIGABYTE:.1f} GB"


def seconds_since_start() -> float:
    """How long this process has been running."""
    return time.time() - psutil.Process().create_time()

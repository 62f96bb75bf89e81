"""Where a process stands among those that train together, as a person or a launcher says it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

AUTO = "auto"
FIRST_PORT = 61440  # of SLURM's jobs, each of which has two of the 4096 ports from here on
VARIABLES = (  # process, processes, process on its machine
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun, Kubeflow
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    ("JOB_COMPLETION_INDEX", "", ""),  # an indexed Job of Kubernetes, which tells a container not how many there are
)


class Place(NamedTuple):
    """Where a process stands among those that train together.

    Attributes:
        number: of the process, from 0.
        among: so many processes.
        address: HOST:PORT where they meet.
        local: number of the process on its machine.
        launched: whether each process was started from outside, by a person or a launcher, on whatever machine.
    """

    number: int = 0
    among: int = 1
    address: str = ""
    local: int = 0
    launched: bool = False

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and talks."""
        return self.number == 0

    def voice(self, log: Callable[[str], None]) -> Callable[[str], None]:
        """`log` of the first process; what it says, no other does."""
        return log if self.is_first else _silent


def _silent(text: str) -> None:
    pass


ALONE = Place()


def find_place(
    coordinator: str | None,
    process: int | None = None,
    processes: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Place:
    """The place of this process among those that a launcher started.

    Example:
        maskrcnn.train("train.json", "val.json", "runs/first", place=find_place("auto"))

    Args:
        coordinator: HOST:PORT of the first process, the same for all; PORT and the next one are free there. `"auto"` takes it
            from the environment. None: this process trains alone.
        process: number of this process, from 0; from the environment where None.
        processes: how many there are; from the environment where None.
        environment: with the variables of torchrun or Kubeflow (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), SLURM's of a
            job step, or Kubernetes' JOB_COMPLETION_INDEX.

    Raises:
        ValueError: what is missing, or cannot be; one line.
    """
    if coordinator is None:
        if process is not None or processes is not None:
            raise ValueError("--process and --processes need --coordinator HOST:PORT, the address of the first process.")
        return ALONE
    named = next((names for names in VARIABLES if names[0] in environment), ("", "", ""))
    number, among = _count(process, named[0], environment), _count(processes, named[1], environment)
    for value, option in ((number, "process"), (among, "processes")):
        if value is None:
            raise ValueError(
                f"--coordinator needs --{option} N: neither torchrun, SLURM (srun) nor Kubernetes says it in the environment."
            )
    assert number is not None and among is not None
    if among < 1 or number >= among:
        raise ValueError(f"Processes are numbered from 0 to {among - 1}; received --process {number}, --processes {among}.")
    if among == 1:
        return ALONE
    address = _from_launcher(environment) if coordinator == AUTO else coordinator
    return Place(number, among, _checked(address), _count(None, named[2], environment) or 0, launched=True)


def first_host(names: str) -> str:
    """The first host of a list as SLURM writes it: `node[003-004,007],gpu1` begins with `node003`."""
    head, bracket, rest = names.partition("[")
    if not bracket or "," in head:
        return names.partition(",")[0]
    inside, _, behind = rest.partition("]")
    return head + inside.partition(",")[0].partition("-")[0] + behind.partition(",")[0]


def _from_launcher(environment: Mapping[str, str]) -> str:
    if "MASTER_ADDR" in environment:
        return f"{environment['MASTER_ADDR']}:{environment.get('MASTER_PORT', '29500')}"
    names = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    host = first_host(names) or environment.get("SLURM_LAUNCH_NODE_IPADDR", "")
    if not host:
        raise ValueError(
            "--coordinator auto finds no first process: neither MASTER_ADDR nor SLURM_JOB_NODELIST is set. Give HOST:PORT."
        )
    job = environment.get("SLURM_JOB_ID", "0")
    return f"{host}:{FIRST_PORT + 2 * (int(job) % 2047 if job.isdecimal() else 0)}"


def _checked(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65535:
        raise ValueError(f"--coordinator is HOST:PORT with a port from 1 to 65534, or {AUTO}; received {address!r}.")
    return address


def _count(given: Any, name: str, environment: Mapping[str, str]) -> int | None:
    value = environment.get(name) if given is None else given
    if value is None:
        return None
    if not str(value).isdecimal():
        raise ValueError(f"{name or 'process'} is a whole number from 0; received {value!r}.")
    return int(value)

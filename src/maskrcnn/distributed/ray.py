"""Shards done by processes of Ray: on this machine, or on all of a cluster.

Ray starts the processes where there is room. One that ends, or whose machine does, is replaced, and its shards go to whoever is
free next. Images and results never pass through it: workers read and write them where they lie.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from maskrcnn import extras
from maskrcnn.distributed.shards import Job, ShardDone, ShardSettings, ShardWorker
from maskrcnn.distributed.store import Store
from maskrcnn.inference.batches import READERS
from maskrcnn.structures import Detector

LOCAL = "local"  # the address of this machine alone: Ray is started for the job, and ends with it
CONNECT_SECONDS = 10.0  # to find somebody at a cluster's address
CPUS = 4  # of a worker without a GPU, where the machine has so many
RETRIES = 3  # of a shard whose worker's process ends; then the shard is left
WAITING = 2  # shards a worker has been given, so that it never waits for the next
THREADS = (  # what bounds the threads of TensorFlow, PyTorch and NumPy's libraries, JAX
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC",
)  # fmt: skip

Load = Callable[[Path], Detector]


class Workers(NamedTuple):
    """How many processes, and what each has.

    Attributes:
        number: None: as many as there is room for.
        cpus: cores of each; None: with GPUs an even share, else `CPUS`.
        gpus: of each; None: one where there are some.
    """

    number: int | None = None
    cpus: int | None = None
    gpus: float | None = None


class PackedModel(NamedTuple):
    """The files of a model, on their way to machines that do not have them."""

    name: str
    files: dict[str, bytes]  # by path below the model's own; "" for a model of one file
    digest: str  # SHA-256 of names and contents, or what else tells one model from another

    def unpack(self, folder: Path) -> Path:
        """Writes the files into a folder; where the model is then."""
        for name, content in self.files.items():
            path = folder / self.name / name if name else folder / self.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder / self.name


def pack(path: Path) -> PackedModel:
    """The model in a file or a folder."""
    if path.is_file():
        files = {"": path.read_bytes()}
    else:
        found = sorted(file for file in path.rglob("*") if file.is_file())
        files = {file.relative_to(path).as_posix(): file.read_bytes() for file in found}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return PackedModel(path.name, files, digest.hexdigest())


class Left(NamedTuple):
    """A shard that no process came through."""

    number: int
    reason: str


@contextmanager
def connected(address: str, *, model_bytes: int = 0) -> Iterator[Any]:
    """Ray, while it is open: started on this machine, or that of a cluster.

    Args:
        address: `"local"`, `"auto"` for the cluster that this machine is part of, `HOST:PORT` or `ray://HOST:PORT`.
        model_bytes: what it must be able to hold, started here.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a worker without GPUs sees what the user lets it see
    ray = extras.load("ray", extra="ray", why="--ray needs Ray")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    _check_listening(address)
    if address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": 2 * model_bytes + (200 << 20)}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address == LOCAL:
            raise
        raise ConnectionError(f"No Ray cluster at {address}: {' '.join(str(error).split()):.200}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Says at once that nobody listens at HOST:PORT; Ray itself tries for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"No Ray cluster at {address}: {error}.") from error


def run_shards(
    ray: Any,
    pending: Sequence[int],
    *,
    job: Job,
    model: PackedModel,
    load: Load,
    workers: Workers | None = None,
) -> Iterator[ShardDone | Left]:
    """Has shards done, in whatever order; each is there as soon as it is done.

    Args:
        ray: connected.
        pending: their numbers.
        job: theirs.
        model: packed.
        load: makes a model of its path, in the worker's process.
        workers: how many, and what each has.

    Raises:
        ValueError: the cluster has no room for one worker.
        RuntimeError: workers cannot begin: their machine lacks this package, say.
        Exception: whatever a worker raises, which is no process's end.
    """
    count, cpus, gpus = _room(ray.cluster_resources(), workers or Workers(), len(pending))
    options = {"num_cpus": cpus, "num_gpus": gpus}
    environment = {name: os.environ[name] for name in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL") if name in os.environ}
    packed = [ray.put(model)]  # once for all workers; in a list it travels as a reference
    arguments = (load, job.store.place, job.settings, environment, cpus)
    todo, ended, gone = deque(pending), Counter[int](), set[Any]()
    given: dict[Any, tuple[int, Any]] = {}

    def start() -> Any:
        return ray.remote(_Worker).options(**options).remote(*arguments)

    def give(actor: Any) -> None:
        if todo:
            number = todo.popleft()
            given[actor.run.remote(number, packed)] = (number, actor)

    for actor in [start() for _ in range(count)] * WAITING:
        give(actor)
    while given or todo:
        if not given:
            give(start())
        (done, *_), _ = ray.wait(list(given))
        number, actor = given.pop(done)
        try:
            yield ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayActorError as error:
            if error.actor_init_failed:  # nobody's shard: this package is not there, say
                raise RuntimeError(f"A worker cannot begin: {str(error).strip().splitlines()[-1]}") from error
            ended[number] += 1
            if ended[number] > RETRIES:
                yield Left(number, " ".join(str(error).split())[:300])
            else:
                todo.appendleft(number)  # for whoever is free next
            if actor in gone:  # its other shard; it has been replaced already
                continue
            gone.add(actor)
            actor = start()
        give(actor)
        del actor  # Ray ends a worker that nothing refers to, so that one in another's place finds room


def _room(resources: dict[str, float], workers: Workers, num_shards: int) -> tuple[int, int, float]:
    """How many workers, and the cores and GPUs of each."""
    all_cpus, all_gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
    gpus = workers.gpus if workers.gpus is not None else min(1.0, all_gpus)
    by_gpus = int(all_gpus / gpus) if gpus else None
    share = all_cpus // by_gpus if by_gpus else CPUS
    cpus = workers.cpus or max(1, min(share, all_cpus))
    fitting = min(all_cpus // cpus, all_cpus if by_gpus is None else by_gpus)
    if not fitting:
        raise ValueError(
            f"A worker of {cpus} cores and {gpus:g} GPUs finds no room: there are {all_cpus} cores and {all_gpus:g} GPUs."
        )
    return max(1, min(workers.number or fitting, num_shards)), cpus, gpus


class _Worker:
    """In a process of its own: a `ShardWorker`, made with the first shard, which raises what is wrong with the model."""

    def __init__(self, load: Load, place: str, settings: ShardSettings, environment: dict[str, str], cpus: int) -> None:
        os.environ.update(environment)
        os.environ.update(dict.fromkeys(THREADS, str(cpus)))
        self._load, self._place, self._settings, self._cpus = load, place, settings, cpus
        self._worker: ShardWorker | None = None

    def run(self, number: int, packed: list[Any]) -> ShardDone:
        if self._worker is None:
            import ray

            model: PackedModel = ray.get(packed[0])
            with tempfile.TemporaryDirectory() as folder:
                detector = self._load(model.unpack(Path(folder)))
            readers = max(1, min(READERS, self._cpus))
            self._worker = ShardWorker(Store(self._place), self._settings, detector, readers=readers)
        return self._worker.run(number)

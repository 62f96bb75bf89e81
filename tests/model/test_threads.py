"""One model serves several threads."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from small_network import FRAME, images_of, make_batch, small_network


def test_eight_threads_get_each_their_own_answer():
    network = small_network(detect__score=0.0)
    rng = np.random.default_rng(0)
    size = np.array([FRAME], np.int32)
    batches = [{"images": rng.uniform(0, 255, (1, *FRAME, 3)).astype(np.float32), "sizes": size} for _ in range(8)]
    together = Barrier(len(batches))

    def ask(batch):
        together.wait(timeout=60)  # the first call, which compiles, is everybody's
        return [network.predict_on_batch(batch) for _ in range(3)]

    with ThreadPoolExecutor(len(batches)) as threads:
        answers = list(threads.map(ask, batches))
    alone = [network.predict_on_batch(batch) for batch in batches]
    assert not np.allclose(alone[0].boxes, alone[1].boxes, atol=0.1)
    for three, wanted in zip(answers, alone, strict=True):
        for answer in three:
            for one, other in zip(answer, wanted, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning")
def test_a_forked_process_is_told_to_load_the_model_itself():
    network = small_network()
    batch = images_of(make_batch((3,)))
    network.predict_on_batch(batch)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def use() -> None:
        try:
            network.predict_on_batch(batch)
            theirs.send("answered")
        except Exception as error:
            theirs.send(f"{type(error).__name__}: {error}")

    child = context.Process(target=use, daemon=True)
    child.start()
    try:
        assert ours.poll(60), "the forked process hangs"
        told = ours.recv()
    finally:
        child.kill()
        child.join()
    assert told.startswith(f"RuntimeError: This model was made in process {os.getpid()} and cannot be used in {child.pid}")
    assert "spawn" in told

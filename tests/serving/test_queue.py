from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from small_server import BrightDetector

from maskrcnn.serving.queue import ModelQueue, Turns

WAIT = 20  # seconds; a test that hangs ends


@pytest.fixture
def queue(detector: BrightDetector):
    queue = ModelQueue(detector, batch_size=4, wait=0.05)
    yield queue
    detector.gate.set()
    assert queue.close(WAIT)


def image(value: int, frame: tuple[int, int] = (64, 64)) -> np.ndarray:
    pixels = np.zeros((*frame, 3), np.uint8)
    pixels[:value, :value] = 255
    return pixels


def test_images_of_one_frame_go_together_and_each_gets_its_own_answer(queue, detector) -> None:
    futures = [queue.submit(image(side), (64, 64)) for side in (8, 16, 24, 32)]
    queue.start()
    rows = [future.result(WAIT) for future in futures]
    assert detector.batches == [4]
    assert [row.answer.boxes[row.row, 0].tolist() for row in rows] == [[0, 0, side, side] for side in (8, 16, 24, 32)]


def test_images_of_other_frames_do_not(queue, detector) -> None:
    futures = [queue.submit(image(8, frame), frame) for frame in ((64, 64), (64, 96), (64, 64))]
    queue.start()
    assert [future.result(WAIT).frame for future in futures] == [(64, 64), (64, 96), (64, 64)]
    assert sorted(zip(detector.batches, detector.frames)) == [(1, (64, 96)), (2, (64, 64))]


def test_the_first_batch_of_a_shape_says_nothing_of_those_to_come(queue) -> None:
    """Backends compile when they first see one."""
    queue.start()
    queue.submit(image(8), (64, 64)).result(WAIT)
    assert queue.seconds_for(1) == 1.0
    queue.submit(image(8), (64, 64)).result(WAIT)
    assert queue.seconds_for(1) != 1.0
    assert queue.seconds_for(6) == 6 * queue.seconds_for(1)


def test_a_batch_is_filled_up_to_a_power_of_two(queue, detector) -> None:
    futures = [queue.submit(image(8), (64, 64)) for _ in range(3)]
    queue.start()
    assert [future.result(WAIT).row for future in futures] == [0, 1, 2]
    assert detector.batches == [4]


def test_a_single_image_waits_no_longer_than_told(detector) -> None:
    queue = ModelQueue(detector, batch_size=64, wait=0.05)
    queue.start()
    start = time.monotonic()
    queue.submit(image(8), (64, 64)).result(WAIT)
    assert 0.04 < time.monotonic() - start < 2
    assert queue.close(WAIT)


def test_what_is_cancelled_leaves_the_queue_and_is_never_run(queue, detector) -> None:
    kept, dropped = queue.submit(image(8), (64, 64)), queue.submit(image(16), (64, 64))
    assert len(queue) == 2
    assert dropped.cancel()
    assert len(queue) == 1
    queue.start()
    assert kept.result(WAIT).answer.boxes.shape[0] == 1
    assert detector.batches == [1]


def test_an_error_is_of_its_batch_alone(queue, detector) -> None:
    detector.config, right = None, detector.predict_on_batch
    detector.predict_on_batch = lambda batch: 1 / 0
    queue.start()
    with pytest.raises(ZeroDivisionError):
        queue.submit(image(8), (64, 64)).result(WAIT)
    detector.predict_on_batch = right
    assert queue.submit(image(8), (64, 64)).result(WAIT).row == 0


def test_the_model_is_asked_by_one_thread(queue, detector) -> None:
    threads, right = set(), detector.predict_on_batch

    def remember(batch):
        threads.add(threading.get_ident())
        return right(batch)

    detector.predict_on_batch = remember
    queue.start()
    batch = {"images": image(8)[None], "sizes": np.array([[64, 64]], np.int32)}
    askers = [threading.Thread(target=queue.predict_on_batch, args=(batch,)) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(WAIT)
    assert len(detector.batches) == 8
    assert len(threads) == 1


def test_closing_lets_what_waits_be_done(queue, detector) -> None:
    futures = [queue.submit(image(8), (64, 64)) for _ in range(9)]
    queue.start()
    assert queue.close(WAIT)
    assert [future.result(0).frame for future in futures] == [(64, 64)] * 9
    with pytest.raises(RuntimeError, match="closed"):
        queue.submit(image(8), (64, 64))


def test_turns_that_are_cancelled_ask_no_more(queue) -> None:
    queue.start()
    turns = Turns(queue)
    batch = {"images": image(8)[None], "sizes": np.array([[64, 64]], np.int32)}
    assert turns.predict_on_batch(batch).boxes.shape == (1, 4, 4)
    turns.cancel()
    with pytest.raises(Exception, match="^$") as caught:
        turns.predict_on_batch(batch)
    assert type(caught.value).__name__ == "CancelledError"


def test_a_refusal_is_what_everybody_gets_who_waits_and_whoever_comes(queue, detector) -> None:
    error = ValueError("closing")
    queue.start()
    detector.gate.clear()
    running = queue.submit(image(8), (64, 64))
    while not running.running():
        time.sleep(0.01)
    waiting = queue.call(lambda _: pytest.fail("it was asked"))
    queue.refuse(error)
    assert running.exception(WAIT) is error and waiting.exception(WAIT) is error
    with pytest.raises(ValueError, match="closing"):
        queue.submit(image(8), (64, 64))
    detector.gate.set()
    assert queue.close(WAIT), "the thread survives answers that nobody waits for"
    assert len(queue) == 0

"""Signals that end a process."""

import os
import signal

import pytest

from maskrcnn.interrupts import SIGNALS, Stopped, StopRequest, exit_code, signals_as_errors


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_each_signal_is_an_error_with_its_exit_code(name):
    number = getattr(signal, name)
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(Stopped) as stop, signals_as_errors():
        send(number)
    assert exit_code(stop.value) == 128 + number
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_ctrl_c_from_elsewhere_is_130():
    assert exit_code(KeyboardInterrupt()) == 130


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        with signals_as_errors(), StopRequest():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def work(number, times, *, release):
    """What is done of a held piece of work while the signal comes so many times, and which error ends it."""
    done = []
    try:
        with StopRequest() as stop:
            stop.hold()
            for _ in range(times):
                send(number)
                done.append("work")
            if release:
                stop.release()
            done.append("more")
    except Stopped as error:
        return done, error.number
    return done, None


def test_a_signal_waits_until_the_work_is_whole():
    assert work(signal.SIGTERM, 1, release=True) == (["work"], signal.SIGTERM)
    assert work(signal.SIGTERM, 1, release=False) == (["work", "more"], None)


def test_the_second_signal_does_not_wait():
    assert work(signal.SIGINT, 2, release=True) == (["work"], signal.SIGINT)


def test_between_works_none_waits():
    with pytest.raises(Stopped), StopRequest():
        send(signal.SIGINT)

"""The machine builds what Python's own would, of plain things, and nothing else."""

import io
import pickle

import pytest

from maskrcnn.pickles import FileError, unpickle

PLAIN = {
    "numbers": [0, 255, 65535, -1, 1 << 31, 1 << 70, -(1 << 3000), 0.5, float("-inf")],
    "constants": (None, True, False, (), [], {}),
    "text": ["", "naïve", "x" * 300],
    "tuples": ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    "nested": {"a": {"b": [{"c": ({"d": 1},)}]}},
}


def machine(data: bytes):
    return unpickle(io.BytesIO(data))[0]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_things_come_out_as_python_reads_them(protocol):
    assert machine(pickle.dumps(PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_bytes_stay_bytes_since_python_3(protocol):
    assert machine(pickle.dumps([b"", b"\xff" * 300], protocol)) == [b"", b"\xff" * 300]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_is_shared_stays_shared_and_a_list_may_hold_itself(protocol):
    inner: list = []
    outer = [inner, inner]
    outer.append(outer)
    first, second, itself = found = machine(pickle.dumps(outer, protocol))
    assert first is second
    assert itself is found


def test_only_text_is_a_key():
    assert machine(pickle.dumps({"a": 1, 2: 3, (4, 5): 6, None: 7, b"b": 8})) == {"a": 1}


def test_pickles_in_a_row_are_read_one_at_a_time():
    file = io.BytesIO(b"".join(pickle.dumps(part, 2) for part in ("one", 2)) + b"rest")
    assert [unpickle(file)[0] for _ in range(2)] == ["one", 2]
    assert file.read() == b"rest"


@pytest.mark.parametrize("thing", [1j, range(3), ValueError, io.BytesIO, len, pickle.PickleBuffer(b"a")])
def test_what_is_not_plain_is_refused(thing):
    with pytest.raises(FileError, match="wants to run|plain containers do without"):
        machine(pickle.dumps(thing, 5, buffer_callback=[].append))

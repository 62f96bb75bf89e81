"""One process at a time writes into a folder."""

import json
import os
import socket
import subprocess
import sys

import pytest

from maskrcnn.locks import LOCK, OWNER, FolderInUseError, owned

HOLD = (
    "import sys, time\nfrom maskrcnn.locks import owned\n"
    "with owned(sys.argv[1], 'training', print):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def hold(folder):
    """Another process that has the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip() == "held"
    return process


def test_another_process_is_told_who_has_the_folder_and_takes_over_when_that_was_killed(tmp_path):
    folder, told = tmp_path / "run", []
    process = hold(folder)
    try:
        words = f"in use by training of process {process.pid} on {socket.gethostname()}"
        with pytest.raises(FolderInUseError, match=words), owned(folder, "training", told.append):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert not told
    unfinished, others = folder / f".best.keras.{process.pid}.part", folder / f".best.keras.{process.pid}1.part"
    unfinished.touch()
    others.touch()
    with owned(folder, "training", told.append):
        assert json.loads((folder / OWNER).read_text())["process"] == os.getpid()
        assert not unfinished.exists() and others.exists()
    assert len(told) == 1 and f"left by training of process {process.pid}" in told[0]
    assert [path.name for path in folder.iterdir()] == [others.name]


def test_of_a_folder_where_nothing_came_about_nothing_is_left(tmp_path):
    with owned(tmp_path / "a/b", "training", print):
        assert (tmp_path / "a/b" / LOCK).exists()
    assert not (tmp_path / "a").exists()


def test_what_was_made_stays(tmp_path):
    with owned(tmp_path / "a", "training", print):
        (tmp_path / "a/result").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["result"]


def test_an_owner_that_says_nothing_is_taken_over_too(tmp_path):
    (tmp_path / OWNER).write_text("[]")
    told = []
    with owned(tmp_path, "prediction", told.append):
        pass
    assert len(told) == 1 and "left by another process" in told[0]

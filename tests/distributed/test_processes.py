"""Laws of processes that train together."""

from __future__ import annotations

import os

import pytest
from leaving import leave

from maskrcnn.distributed.processes import LostProcessError, helped


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGKILL")
def test_a_process_that_is_killed_ends_the_run_with_one_line():
    text = r"Process 1 of 2 that train together was ended by SIGKILL; go on with resume=True"
    with pytest.raises(LostProcessError, match=text), helped(2, leave):
        raise RuntimeError("the connection was closed by a peer")  # what PyTorch says then


def test_an_error_of_the_first_process_stays_what_it_is():
    with pytest.raises(ValueError, match="of the data"), helped(1, leave):
        raise ValueError("of the data")

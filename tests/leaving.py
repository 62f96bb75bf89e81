"""A process that ends before its work is done, for tests of those that wait for it."""

import os
import signal
from typing import Any


def leave(place: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

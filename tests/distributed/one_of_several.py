"""One of several processes that train together, as SLURM starts them: `one_of_several.py DATA OUT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from same_run import SMALL

from maskrcnn.distributed.place import find_place
from maskrcnn.verbs.train import train


def main(data: Path, out: Path) -> None:
    place = find_place(os.environ["COORDINATOR"])
    train(data / "train.json", data / "val.json", out, place=place, resume=True, **SMALL | {"epochs": 1})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

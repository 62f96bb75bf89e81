"""What a process that reads is sent: which samples make a batch. No Keras, which would cost each 650 MB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.data.batch import make_batch
from maskrcnn.data.quiet_grain import grain
from maskrcnn.structures import Batch, Sample

PASSES = 2**32  # of a loader that repeats: Grain asks for a length, and its own for "endless" overflows in batches of one


class TooMany(NamedTuple):
    """A sample that fills up a batch and is not of it."""

    sample: Sample


class Part(grain.MapDataset):
    """One part of each batch; where the last batch has too few samples, others that are `TooMany`."""

    def __init__(self, samples: grain.MapDataset, part: int, own_size: int, batch_size: int):
        super().__init__(samples)
        self._part, self._own_size, self._batch_size = part, own_size, batch_size

    def __len__(self) -> int:
        return -(-len(self._parent) // self._batch_size) * self._own_size

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        batch, row = divmod(index, self._own_size)
        place = batch * self._batch_size + self._part * self._own_size + row
        return self._parent[place] if place < len(self._parent) else TooMany(self._parent[0])


def batched(samples: grain.MapDataset, size: int, model_config: ModelConfig, empty: Callable[..., Any]) -> grain.MapDataset:
    """Batches of so many samples as dicts; `empty` makes their large arrays, see `make_batch`."""
    return samples.batch(size, batch_fn=partial(_make_batch, model_config=model_config, empty=empty)).map(Batch._asdict)


def _make_batch(samples: Sequence[Sample | TooMany], model_config: ModelConfig, empty: Callable[..., Any]) -> Batch:
    """As `make_batch`, where those too many become images of size 0."""
    batch = make_batch([each.sample if isinstance(each, TooMany) else each for each in samples], model_config, empty)
    for row, each in enumerate(samples):
        if isinstance(each, TooMany):
            for array in batch:
                if len(array):  # a model without keypoints has none of them
                    array[row] = 0
    return batch


class Draws:
    """Samples in proportion to their weights, in passes of as many as there are, each pass drawn and ordered anew.

    Each sample comes as often as it is due, rounded down or up, at random: systematic resampling, which spreads less than
    drawing each place for itself. LVIS repeats an image by its factor, rounded so too (Gupta et al. 2019, appendix B).
    """

    def __init__(self, samples: Sequence[Sample], weights: Sequence[float], *, seed: int, endless: bool):
        self._samples = samples
        self._shares = np.cumsum(weights) / np.sum(weights)
        self._seed = seed
        self._length = len(samples) * (PASSES if endless else 1)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        turn, place = divmod(index, len(self._samples))
        return self._samples[_drawn(self._seed, turn, self._shares.tobytes())[place]]


@lru_cache(maxsize=4)
def _drawn(seed: int, turn: int, shares: bytes) -> np.ndarray:
    """(N,) indices of the samples of one pass."""
    ends = np.frombuffer(shares)
    rng = np.random.default_rng([seed, turn])
    points = (np.arange(len(ends)) + rng.random()) / len(ends)
    return rng.permutation(np.searchsorted(ends, points, side="right").clip(max=len(ends) - 1))

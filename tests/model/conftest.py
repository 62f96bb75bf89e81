"""One small network, compiled once, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensors  # noqa: F401  (before anything is compiled)
from small_network import small_network

from maskrcnn.model.mask_rcnn import Network


@pytest.fixture(scope="session")
def compiled_network() -> Network:
    keras.utils.set_random_seed(0)
    network = small_network()
    network.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    network.optimizer.build(network.trainable_variables)
    return network


@pytest.fixture
def network(compiled_network: Network) -> Iterator[Network]:
    """The compiled network; what a test changes of its variables is undone."""
    variables = [*compiled_network.variables, *compiled_network.optimizer.variables]
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    yield compiled_network
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)

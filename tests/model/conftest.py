"""One small network, compiled once, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensors  # noqa: F401  (before anything is compiled)
from small_network import small_network

from maskrcnn.model.mask_rcnn import Network

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(FOLDER):
            # Keras's conversion of torch tensors, with NumPy 2.4.
            item.add_marker(
                pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
            )


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

"""Residual blocks left out at random in training. Huang et al. 2016."""

from __future__ import annotations

import keras
from keras import layers

from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.stages import Staged


def drop_rates(staged: Staged, config: BackboneConfig) -> dict[str, float]:
    """How often each residual block is left out, by the name of the layer that adds it: l / L of the last one's rate.

    Linear decay, Huang et al. 2016, eq. 4. Blocks of frozen stages are never left out: they cannot learn to do without each
    other, so it would only put noise into what the learning stages see.
    """
    stage, frozen, sums = 1, set(), []
    for layer in staged.model.layers:
        if isinstance(layer, layers.Add):
            sums.append(layer.name)
            if stage <= config.frozen_stages:
                frozen.add(layer.name)
        stage += staged.ends.count(layer.name)
    rates = {name: config.stochastic_depth * place / len(sums) for place, name in enumerate(sums, start=1)}
    return {name: rate for name, rate in rates.items() if name not in frozen}


def with_stochastic_depth(staged: Staged, config: BackboneConfig) -> Staged:
    """The same layers anew, with one that drops a residual of whole images before the sum. Huang et al. 2016, section 3.

    Dropout divides by the part that is kept in training, where the paper multiplies by it in inference: the same mean, and
    inference needs to know nothing of it. Layers that drop have no weights, so those of others keep their names.
    """
    rates = drop_rates(staged, config)

    def call(layer, inputs, *args, **kwargs):
        if layer.name in rates:
            shortcut, residual = inputs
            drop = layers.Dropout(rates[layer.name], noise_shape=(None, 1, 1, 1), name=layer.name.removesuffix("add") + "drop")
            inputs = [shortcut, drop(residual)]
        return layer(inputs, *args, **kwargs)

    return staged._replace(model=keras.models.clone_model(staged.model, call_function=call))

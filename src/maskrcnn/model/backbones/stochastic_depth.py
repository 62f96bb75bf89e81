"""Stochastic depth (Huang et al. 2016): residual branches dropped in training."""

from __future__ import annotations

import keras
from keras import layers

from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.stages import STAGE_ENDS


def drop_rates(whole: keras.Model, config: BackboneConfig) -> dict[str, float]:
    """How often each residual block is left out, by the name of the layer that adds it: l / L of the last one's rate.

    Linear decay, Huang et al. 2016, eq. 4. Blocks of frozen stages are never left out: they cannot learn to do without each
    other, so it would only put noise into what the learning stages see.
    """
    stage, frozen, sums = 1, set(), []
    for layer in whole.layers:
        if isinstance(layer, layers.Add):
            sums.append(layer.name)
            if stage <= config.frozen_stages:
                frozen.add(layer.name)
        if layer.name in STAGE_ENDS[config.name]:
            stage += 1
    rates = {name: config.stochastic_depth * place / len(sums) for place, name in enumerate(sums, start=1)}
    return {name: rate for name, rate in rates.items() if name not in frozen}


def with_stochastic_depth(whole: keras.Model, config: BackboneConfig) -> keras.Model:
    """The same layers anew, with one that drops whole images of a residual before the sum. Huang et al. 2016, section 3.

    Dropout divides by the part that is kept in training, where the paper multiplies by it in inference: the same mean, and
    inference needs to know nothing of it. Layers that drop have no weights, so those of others keep their names.
    """
    rates = drop_rates(whole, config)

    def call(layer, inputs, *args, **kwargs):
        if layer.name in rates:
            shortcut, residual = inputs
            drop = layers.Dropout(rates[layer.name], noise_shape=(None, 1, 1, 1), name=layer.name.removesuffix("add") + "drop")
            inputs = [shortcut, drop(residual)]
        return layer(inputs, *args, **kwargs)

    return keras.models.clone_model(whole, call_function=call)

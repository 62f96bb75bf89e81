"""What the transformers among the backbones share: a block of attention and two layers. Vaswani et al. 2017; pre-norm."""

from __future__ import annotations

from keras import layers

from maskrcnn.model.conv import Dense


def block(x, attention: layers.Layer, *, expansion: int, epsilon: float, name: str):
    """Attention, then two layers, each on a norm and beside a shortcut: (B, h, w, C) → the same shape.

    Args:
        x: (B, h, w, C).
        attention: (B, h, w, C) → the same shape.
        expansion: of the first of the two layers.
        epsilon: of the layer norms.
        name: what the names of the layers begin with.
    """
    width = x.shape[-1]
    y = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_norm1")(x)
    y = attention(y)
    x = layers.Add(name=f"{name}_attention_add")([x, y])
    y = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_norm2")(x)
    y = Dense(expansion * width, name=f"{name}_expand")(y)
    y = layers.Activation("gelu", name=f"{name}_gelu")(y)
    y = Dense(width, name=f"{name}_project")(y)
    return layers.Add(name=f"{name}_mlp_add")([x, y])

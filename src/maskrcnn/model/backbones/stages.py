"""Where the stages of a known backbone end."""

from __future__ import annotations

# Layers whose outputs end the five stages: the stem, then C2 … C5 with strides 4 to 32.
STAGE_ENDS = {
    "resnet50": ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    "resnet101": ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block23_out", "conv5_block3_out"),
    # The widest tensor of each stride is the one before it is halved: the expansion of the next stage's first block.
    "mobilenet_v2": ("Conv1_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"),
}
BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}  # He et al. 2015, table 1

"""Stage 2: Batch → Proposals → PaddedDetections, or named losses. Keras layers, one file a box of the paper's figure."""

"""Pure functions on tensors: `keras.ops` only, fixed rows, every backend. Numbers and tensors in, tensors out."""

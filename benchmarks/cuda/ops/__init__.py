"""One module per op with `cases(seed)`, a list of `Case`, and `races(...)` for the GPU. None imports TensorFlow."""

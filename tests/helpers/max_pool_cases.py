"""What the tests of max pooling and unpooling share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library

CORE = _library.core()
NATIVE = _library.native_op("max_pool_with_indices")
needs_native = pytest.mark.skipif(NATIVE is None or CORE is None, reason="the compiled library is off")
FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)
# Window, stride and padding, and the case of PyTorch with the same windows for maps of 13 x 10 pixels. (Windows of 5
# three apart begin one pixel earlier there on the rows, so only their columns could be compared.)
TORCH_CASES = ((2, 2, "valid", "2_2_0"), (3, 2, "valid", "3_2_0"), (3, 1, "same", "3_1_1"))


def golden() -> dict[str, np.ndarray]:
    """PyTorch's answers; make_max_pool_golden.py made them."""
    with np.load(Path(__file__).parents[1] / "ops" / "data" / "max_pool_torch.npz") as file:
        return dict(file)


def in_both_forms(name):
    """A fixture with `kseg_ops.<name>`, native and reference."""

    def fixture(request):
        public = getattr(kseg_ops, name)
        if request.param == "native":
            if NATIVE is None:
                pytest.skip("the compiled library is off")
            return public

        def reference(*args, **kwargs):
            with kseg_ops.use_reference():
                return public(*args, **kwargs)

        return reference

    return pytest.fixture(params=["native", "reference"])(fixture)


def gradient_of(function, x, upstream) -> np.ndarray:
    """The gradient of the first output of `function` for an upstream gradient."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.nest.flatten(function(x))[0]
    return tape.gradient(y, x, tf.cast(upstream, y.dtype)).numpy()


def wide(tensor) -> np.ndarray:
    """As float64: NumPy does not see that a bfloat16 is NaN."""
    return tf.cast(tensor, tf.float64).numpy()


def random_maps(*shape, seed=0, special=True) -> np.ndarray:
    """Few different values, so that windows hold equal ones; with NaN and infinities if `special`."""
    generator = np.random.default_rng(seed)
    x = generator.integers(-3, 4, shape).astype(np.float32)
    if special:
        for value, share in ((np.nan, 0.05), (-np.inf, 0.1), (np.inf, 0.02), (-0.0, 0.1)):
            x[generator.random(shape) < share] = value
    return x


def windows(size, pool, stride, padding):
    """The ranges of the windows along an axis, one by one."""
    if padding == "valid":
        return [range(start, start + pool) for start in range(0, size - pool + 1, stride)]
    count = -(-size // stride)
    before = max((count - 1) * stride + pool - size, 0) // 2
    starts = [i * stride - before for i in range(count)]
    return [range(max(start, 0), min(start + pool, size)) for start in starts]


def scalar_max_pool(x, pool, strides, padding):
    """The definition, one window at a time."""
    batch, height, width, channels = x.shape
    rows, columns = (
        windows(size, *pair, padding)
        for size, pair in zip((height, width), zip(pool, strides, strict=True), strict=True)
    )
    y = np.zeros((batch, len(rows), len(columns), channels), x.dtype)
    indices = np.zeros(y.shape, np.int32)
    for b, i, j, c in np.ndindex(y.shape):
        places = [(row, column) for row in rows[i] for column in columns[j]]
        values = np.array([x[b, row, column, c] for row, column in places])
        nans = np.flatnonzero(np.isnan(values))
        best = nans[0] if len(nans) else int(values.argmax())  # argmax: the first of equal ones
        y[b, i, j, c] = values[best]
        indices[b, i, j, c] = places[best][0] * width + places[best][1]
    return y, indices

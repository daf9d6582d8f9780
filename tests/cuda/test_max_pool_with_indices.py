"""The CUDA kernels of max_pool_with_indices, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.max_pool_with_indices import cases, pooled_shape
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("pool", "strides"), [((2, 2), (2, 2)), ((3, 3), (2, 2)), ((3, 2), (1, 3))])
def test_gradient_is_the_references(device, pool, strides, padding):
    import tensorflow as tf

    import kseg_ops

    generator = np.random.default_rng(3)
    images = generator.standard_normal((2, 9, 11, 8)).astype(np.float32)
    shape = pooled_shape(images.shape, pool, strides, padding)
    gradient = generator.integers(-8, 9, shape).astype(np.float32)  # sums are exact
    numbers = [*pool, *strides, padding == "same"]
    _, indices = device.run("max_pool_with_indices", [images], [gradient, np.zeros(shape, np.int32)], numbers)
    (got,) = device.run("max_pool_with_indices_grad", [gradient, indices], [images], numbers)
    with kseg_ops.use_reference(), tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        pooled, _ = kseg_ops.max_pool_with_indices(x, pool, strides, padding)
    expected = tf.convert_to_tensor(tape.gradient(pooled, x, gradient))
    np.testing.assert_array_equal(got, expected)


def test_shapes_are_checked(device):
    images, pooled = np.zeros((1, 4, 4, 2), np.float32), np.zeros((1, 2, 2, 2), np.float32)
    with pytest.raises(HarnessError, match=r"what is pooled from \[1, 4, 4, 2\] must have shape \[1, 2, 2, 2\], got"):
        device.run("max_pool_with_indices", [images], [pooled[:, :1], pooled.astype(np.int32)], [2, 2, 2, 2, 0])
    with pytest.raises(HarnessError, match=r"strides must be in 1\.\.1048576, got 0"):
        device.run("max_pool_with_indices_grad", [pooled, pooled.astype(np.int32)], [images], [2, 2, 0, 2, 0])

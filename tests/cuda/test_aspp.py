"""The CUDA kernels of aspp, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.case import FLOATS
from benchmarks.cuda.device import HarnessError, convert, to_float
from benchmarks.cuda.ops.aspp import LINEAR, RELU, cases, make_block
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def ones_block(dtype="float32", branches=((8, 1, (1, 1), LINEAR),), pooling=None, projection=(8, LINEAR)):
    def numbers(kind, size, fan_in):
        return np.full(size, kind != "offset", np.float32)

    return make_block(numbers, dtype, 8, branches, pooling, projection)


def run(device, x, block, arrays=None, output=None):
    output = x if output is None else output
    return device.run("aspp", [x, *(block.arrays if arrays is None else arrays)], [output], block.numbers)[0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_not_finite_stays_in_its_image(device, dtype):
    """An infinite pixel reaches where taps read it, and through the mean all pixels of its image."""
    values = np.ones((2, 4, 5, 8), np.float32)
    values[1, 1, 2, 3] = np.inf
    x = convert(values, dtype)
    pixels = to_float(run(device, x, ones_block(dtype, branches=((8, 3, (2, 2), RELU),))))
    taps = np.zeros((4, 5), bool)
    taps[1::2, ::2] = True
    assert np.isfinite(pixels[0]).all()
    np.testing.assert_array_equal(np.isinf(pixels[1]), np.broadcast_to(taps[..., None], (4, 5, 8)))
    images = to_float(run(device, x, ones_block(dtype, pooling=(3, LINEAR))))
    np.testing.assert_array_equal(images[0], 8 * 8 + 3 * 8)
    assert np.isposinf(images[1]).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_an_image_does_not_depend_on_its_batch(device, dtype):
    generator = np.random.default_rng(3)

    def numbers(kind, size, fan_in):
        return generator.standard_normal(size).astype(np.float32)

    branches = ((5, 3, (2, 2), RELU), (7, -3, (1, 2), RELU))
    block = make_block(numbers, dtype, 8, branches, (4, RELU), (6, LINEAR))
    images = generator.standard_normal((3, 15, 10, 8)).astype(np.float32)
    room = convert(np.zeros((3, 15, 10, 6), np.float32), dtype)
    together = run(device, convert(images, dtype), block, output=room)
    for index in range(3):
        alone = run(device, convert(images[index : index + 1], dtype), block, output=room[:1])
        assert alone.tobytes() == together[index : index + 1].tobytes()


def test_the_branches_are_all_that_is_written_between(device):
    """Scratch memory: branches of 8 + 4 filters, sums of one chunk, mean, pooled branch and its share."""
    x = np.ones((2, 4, 5, 8), np.float32)
    block = ones_block(branches=((8, 1, (1, 1), LINEAR), (4, 3, (2, 2), LINEAR)), pooling=(3, LINEAR))
    run(device, x, block)
    wanted = 4 * np.array([2 * 4 * 5 * 12, 2 * 8, 2 * 8, 2 * 3, 2 * 8])
    assert wanted.sum() <= device.scratch_bytes <= wanted.sum() + 256 * len(wanted)


def test_shapes_are_checked(device):
    x = np.zeros((1, 4, 4, 8), np.float32)
    block = ones_block(branches=((8, 1, (1, 1), LINEAR), (4, -3, (2, 2), LINEAR)), pooling=(3, LINEAR))
    arrays = block.arrays
    for index, wrong, message in [
        (0, arrays[0][:, :, :7], r"branches\[0\].filters must have shape \[kh, kw, C, F\] with C = 8"),
        (1, arrays[1][:7], r"branches\[0\].scale must have one entry per channel of filters, 8, got 7"),
        (6, arrays[6][:, :, :7], r"branches\[1\].depthwise must have shape \[kh, kw, C, 1\] with C = 8"),
        (9, np.ones((3, 3, 8, 3), np.float32), r"pooling.filters must have shape \[1, 1, C, F\]"),
        (12, arrays[12][:, :, :14], "projection.filters must have shape .* with C = 15"),
    ]:
        with pytest.raises(HarnessError, match=message):
            run(device, x, block, [*arrays[:index], wrong, *arrays[index + 1 :]])
    with pytest.raises(HarnessError, match=r"the output must have shape \[1, 4, 4, 8\], got \[1, 4, 4, 7\]"):
        run(device, x, block, output=x[..., :7])

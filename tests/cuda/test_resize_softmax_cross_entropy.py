"""The CUDA kernels of resize_softmax_cross_entropy, run on the CPU, against the reference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.resize_softmax_cross_entropy import (
    EPS,
    cases,
    dice_gradient,
    gradient,
    loss_and_unit_gradient,
    problem,
)
from tests.helpers.cuda_cases import check_case

OP = "resize_softmax_cross_entropy"


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_loss_alone_is_that_of_training(device):
    case = loss_and_unit_gradient(problem(np.random.default_rng(2), "4x", "float32", (5, 4), (20, 16), 21))
    (loss,) = device.run(OP, case.inputs, case.outputs[:1], case.numbers)
    np.testing.assert_array_equal(loss, case.run(device)[0])


def test_unit_gradient_is_scaled_where_upstream_is_even(device):
    given = problem(np.random.default_rng(3), "4x", "float32", (5, 4), (20, 16), 21)
    factors = np.array([0.5, -3.0], np.float32)
    even = np.broadcast_to(factors[:, None, None], given.labels.shape).copy()
    even[given.labels == 255] = np.nan  # void pixels do not count
    unit = np.full(given.logits.shape, 7, np.float32)
    inputs = [given.labels, given.logits, unit, even]
    (scaled,) = device.run(f"{OP}_training_grad", inputs, [given.logits], given.numbers)
    np.testing.assert_array_equal(scaled, factors[:, None, None, None] * unit)


@pytest.mark.parametrize("number", [1.5, np.inf, 3e12])
def test_gradient_is_computed_anew_where_upstream_is_not_even(device, number):
    given = problem(np.random.default_rng(3), "4x", "float32", (3, 4), (12, 16), 5)
    upstream = np.full(given.labels.shape, 1.5, np.float32)
    upstream[1] = number
    upstream[1, 3, 4] += 1 if number == 1.5 else 0
    given = dataclasses.replace(given, upstream=upstream)
    given.labels[1, 3, 4] = 0
    unit = np.full(given.logits.shape, np.nan, np.float32)
    inputs = [given.labels, given.logits, unit, upstream]
    (anew,) = device.run(f"{OP}_training_grad", inputs, [given.logits], given.numbers)
    np.testing.assert_array_equal(anew, gradient(given).run(device)[0])


def test_no_pixel_counts(device):
    given = problem(np.random.default_rng(3), "4x", "float32", (3, 4), (12, 16), 5)
    given.labels[:] = 255
    given.logits[0] = np.nan
    loss, unit = loss_and_unit_gradient(given).run(device)
    assert not loss.any()
    assert not unit.any()
    inputs = [given.labels, given.logits, unit, np.full(given.labels.shape, np.nan, np.float32)]
    (scaled,) = device.run(f"{OP}_training_grad", inputs, [given.logits], given.numbers)
    assert not scaled.any()


def test_label_out_of_range_counts_as_void(device):
    given = problem(np.random.default_rng(4), "4x", "float32", (3, 4), (12, 16), 5, labels="int64")
    stray = given.labels.copy()
    stray[given.labels == 255] = np.resize([-1, 5, 1 << 40], (given.labels == 255).sum())
    expected = loss_and_unit_gradient(given).run(device)
    got = loss_and_unit_gradient(dataclasses.replace(given, labels=stray)).run(device)
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("form", [gradient, dice_gradient])
def test_infinite_logits_count_as_large_ones_without_a_gradient(device, form):
    generator = np.random.default_rng(5)
    given = problem(generator, "3x", "float32", (4, 4), (12, 12), 4)
    logits = np.zeros((2, 4, 4, 4), np.float32)
    logits[0, :, :, 1] = np.inf
    logits[0, :, :, 2] = -np.inf
    logits[0, :, 2:, :] = logits[0, :, 2:, ::-1]  # another class at the right
    logits[1, :, :, :2] = np.inf  # two equal ones: half of the probability each
    given = dataclasses.replace(given, logits=logits)
    (got,) = form(given).run(device)
    case = form(given)
    (expected,) = case.expected()
    # Probabilities are 0, 1/2 or 1, but for rounding.
    np.testing.assert_allclose(got, expected, rtol=0, atol=8 * 64 * 25 * EPS)
    assert not got[np.isinf(logits)].any()


def test_infinite_logits_have_the_loss_of_large_ones(device):
    given = problem(np.random.default_rng(5), "3x", "float32", (4, 4), (12, 12), 4, ignore_index=None)
    given.logits[0, 1:3, 1, 2] = np.inf
    given.logits[1, 1:3, 1, 2] = -np.inf
    case = loss_and_unit_gradient(given)
    loss, _ = case.run(device)
    np.testing.assert_allclose(loss, case.expected()[0], rtol=16 * EPS, atol=1e-5)


def test_nan_reaches_the_pixels_that_interpolate_from_it(device):
    given = problem(np.random.default_rng(6), "4x", "float32", (4, 4), (16, 16), 5, ignore_index=None)
    given.logits[0, 1, 1, 3] = np.nan
    loss, unit = loss_and_unit_gradient(given).run(device)
    near = np.zeros((2, 16, 16), bool)
    near[0, 2:10, 2:10] = True
    np.testing.assert_array_equal(np.isnan(loss), near)
    touched = np.zeros((2, 4, 4), bool)
    touched[0, :3, :3] = True
    np.testing.assert_array_equal(np.isnan(unit), np.broadcast_to(touched[..., None], unit.shape))


def test_large_upstream_stays_in_range(device):
    given = problem(np.random.default_rng(7), "4x", "float32", (3, 3), (12, 12), 5, scale=12.0)
    small = gradient(given).run(device)[0]
    large = gradient(dataclasses.replace(given, upstream=given.upstream * np.float32(2.0**110))).run(device)[0]
    np.testing.assert_allclose(large / np.float32(2.0**110), small, rtol=0, atol=given.gradient_tolerance(2.0))


def test_shapes_are_checked(device):
    labels, logits = np.zeros((1, 4, 4), np.int32), np.zeros((1, 2, 2, 3), np.float32)
    loss = np.zeros((1, 4, 4), np.float32)
    with pytest.raises(HarnessError, match="labels must have the batch size of logits, 1"):
        device.run(OP, [np.zeros((2, 4, 4), np.int32), logits], [loss], [1, 255, 0, 0])
    with pytest.raises(HarnessError, match=r"class_weights must have one entry per class, 3, got 2"):
        device.run(OP, [labels, logits], [loss], [1, 255, 0, 0, 1.0, 2.0])
    with pytest.raises(
        HarnessError, match=r"loss_gradient must have the shape of labels, \[1, 4, 4\], got \[1, 4, 5\]"
    ):
        device.run(f"{OP}_grad", [labels, logits, np.zeros((1, 4, 5), np.float32)], [logits], [1, 255, 0, 0])


def test_large_class_weights_stay_in_range(device):
    weights = tuple([2.0**100] * 5)
    plain = problem(np.random.default_rng(8), "4x", "float32", (3, 3), (12, 12), 5, scale=12.0)
    small = gradient(plain).run(device)[0]
    large = gradient(dataclasses.replace(plain, class_weights=weights)).run(device)[0]
    np.testing.assert_allclose(large / np.float32(2.0**100), small, rtol=0, atol=plain.gradient_tolerance(2.0))

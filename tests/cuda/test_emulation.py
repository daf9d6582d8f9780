"""The CPU that stands for a GPU: right kernels give what they should, and faults of every kind are found."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.case import FLOATS
from benchmarks.cuda.device import HarnessError, convert, to_float
from tests.helpers.cuda_cases import VARIATIONS

# As enum Fault in cpp/cuda_harness/selftest.cu.
FAULTS = [
    "none",
    "missing_barrier",
    "divergent_barrier",
    "beyond_shared",
    "inactive_lane",
    "missing_lane",
    "uninitialised",
    "misaligned",
]


@pytest.fixture
def row():
    return np.random.default_rng(0).integers(0, 100, 128).astype(np.int32)


def outcomes(device, row, fault):
    made = []
    for variation in VARIATIONS:
        device.vary(**variation)
        made.append(device.run("selftest_fault", [row], [row], [FAULTS.index(fault)])[0])
    return made


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [0, 1, 8, 1003])
def test_vectors_of_every_float(device, dtype, count):
    values = convert(np.random.default_rng(count).standard_normal(count).astype(np.float32), dtype)
    (scaled,) = device.run("selftest_scale", [values], [values], [3.0])
    np.testing.assert_array_equal(to_float(scaled), to_float(convert(to_float(values) * 3, dtype)))


@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
def test_scans_reductions_and_dynamic_shared_memory(device, variation):
    rows = np.random.default_rng(3).integers(-50, 50, (7, 128)).astype(np.int32)
    device.vary(**variation)
    scanned, totals = device.run("selftest_scan", [rows], [rows, np.zeros((7, 2), np.int32)])
    np.testing.assert_array_equal(scanned, np.cumsum(rows, 1) - rows)
    np.testing.assert_array_equal(totals, np.stack([rows.sum(1), rows.max(1)], 1))
    np.testing.assert_array_equal(device.run("selftest_reverse", [rows], [rows])[0], rows[:, ::-1])


@pytest.mark.parametrize(("dtype", "depth"), [("float16", 16), ("bfloat16", 16), ("float32", 8)])
def test_matrix_products(device, dtype, depth):
    generator = np.random.default_rng(depth)
    # Whole numbers: every product and sum is exact, in TF32 too.
    a, b = (generator.integers(-9, 9, shape).astype(np.float32) for shape in ((16, depth), (depth, 8)))
    given = [convert(a, dtype), convert(b, dtype)]
    (product,) = device.run("selftest_matrix", given, [np.zeros((16, 8), np.float32)])
    np.testing.assert_array_equal(product, a @ b)


def test_kernel_without_fault(device, row):
    for outcome in outcomes(device, row, "none"):
        np.testing.assert_array_equal(outcome, row + np.roll(row, -1))


@pytest.mark.parametrize("fault", ["missing_barrier", "uninitialised", "inactive_lane"])
def test_what_is_undefined_differs_from_run_to_run(device, row, fault):
    first, *others = outcomes(device, row, fault)
    assert any(not np.array_equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("divergent_barrier", "threads wait for each other for ever: 0..31 at a barrier at .*; 32..127 done"),
        ("beyond_shared", "a thread wrote beyond a shared array"),
        ("missing_lane", "threads wait for each other for ever: .* in a warp operation"),
        ("misaligned", r"not so: .*alignof.* \(block 0 0 0, thread 0 0 0"),
    ],
)
def test_faults_are_errors(device, row, fault, message):
    with pytest.raises(HarnessError, match=message):
        device.run("selftest_fault", [row], [row], [FAULTS.index(fault)])
    device.run("selftest_fault", [row], [row], [FAULTS.index("none")])  # goes on working


def test_writes_outside_of_arrays_are_found(device):
    rows = np.zeros((2, 128), np.int32)
    with pytest.raises(HarnessError, match=r"wrote behind an array of shape \(1, 128\)"):
        device.run("selftest_reverse", [rows], [rows[:1]])

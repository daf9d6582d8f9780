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


def shapes(device, elements, threads=256, grid=1, shared_bytes=0):
    outputs = [np.zeros(7, np.int64)] * 3
    return [
        shape.tolist() for shape in device.run("selftest_shapes", [], outputs, [elements, threads, grid, shared_bytes])
    ]


def test_launch_geometry(device):
    by_thread, by_block, rounded = shapes(device, 1000)
    assert by_thread == [4, 1, 1, 256, 1, 1, 0]
    assert by_block == [1000, 1, 1, 256, 1, 1, 0]
    assert rounded[3] == 256
    assert shapes(device, 448)[2][3] == 224  # two turns of 7 warps, where 256 threads would leave 64 idle
    assert shapes(device, 3)[2][3] == 32
    by_thread, by_block, _ = shapes(device, 1 << 41)
    assert by_thread[0] == by_block[0] == 2**31 - 1
    assert shapes(device, (1 << 31) + 1)[0][0] == (1 << 23) + 1
    assert shapes(device, 0)[0][0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid": 1 << 31}, "a grid of 2147483648 x 1 x 1 blocks cannot be launched"),
        ({"grid": -1}, "a grid of -1 x 1 x 1"),
        ({"threads": 1025}, "a block of 1025 x 1 x 1 threads cannot be launched"),
        ({"shared_bytes": 100 << 10}, "a block cannot have 102400 bytes of dynamic shared memory"),
    ],
)
def test_shapes_that_no_gpu_launches(device, arguments, message):
    with pytest.raises(HarnessError, match=message):
        shapes(device, 1, **arguments)

"""XLA's handlers without TensorFlow: stored calls, and the handlers of both platforms in a call frame of our own.

On a GPU they are called by JAX, by the program under test; here the CUDA kernels run on the CPU.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from benchmarks.cuda import jax_calls, jax_ffi
from benchmarks.cuda.build import HarnessError, missing_tools
from benchmarks.cuda.device import BFloat16
from benchmarks.cuda.jax_tolerances import tolerances
from benchmarks.cuda.xla_frame import FrameCaller, build_frame
from kseg_ops import _library, _toolchain
from tests.helpers.repository import CPP
from tests.helpers.xla_cases import CALLS

pytestmark = pytest.mark.skipif(_library.core() is None, reason="calls are made by the compiled library")
EVERY = [(call, dtype) for call in CALLS for dtype in call.dtypes]


def find(op: str) -> object:
    return next(call for call in CALLS if call.op == op)


@pytest.fixture(scope="module")
def library():
    if missing := missing_tools("host"):
        pytest.skip(f"building the handlers needs {', '.join(missing)}")
    tensorflow = _toolchain.find_tensorflow()
    try:
        tensorflow.find_xla()
    except _toolchain.BuildError as error:
        pytest.skip(str(error))
    return build_frame(tensorflow.includes[0], _library.NATIVE_DIR)


@pytest.mark.parametrize(("call", "dtype"), EVERY, ids=lambda value: value if isinstance(value, str) else value.op)
@pytest.mark.parametrize("platform", ["cpu", "CUDA"])
def test_handler_gives_what_the_op_gives(library, platform, call, dtype):
    """The bits on the CPU; on CUDA what the tolerance of the kernel's own cases allows."""
    stored = jax_calls.make(call, dtype)
    if platform == "CUDA" and stored.op not in jax_calls.cuda_ops():
        assert not hasattr(library, f"kseg_xla_cuda_{stored.op}")
        return
    outcome = jax_ffi.Outcome(stored.op, platform)
    jax_ffi.check(FrameCaller(library, platform), stored, outcome, whole=dtype == call.dtypes[0])
    assert not outcome.faults
    if outcome.without_kernel:
        assert (platform, dtype) == ("CUDA", "float64")
        return
    assert outcome.equal + outcome.within == 1
    refusals = 1 + (
        platform == "cpu" and bool(call.message)
    )  # for a wrong shape; for wrong contents, which a GPU takes
    assert outcome.refused == (refusals if dtype == call.dtypes[0] else 0)


def test_every_op_has_its_handlers(library):
    sources = "".join(path.read_text() for path in sorted((CPP / "ops").glob("*/*_xla.cc")))
    both = set(re.findall(r"KSEG_XLA_HANDLERS\((\w+)", sources))
    host = set(re.findall(r"KSEG_XLA_HOST_HANDLER\((\w+)", sources))
    assert both | host == set(jax_calls.constant_inputs())
    assert both == jax_calls.cuda_ops()
    found = jax_ffi.handlers(library, both | host)
    assert set(found["cpu"]) == both | host
    assert set(found["CUDA"]) == both


def test_constants_are_read_from_attributes_on_cuda_and_from_buffers_on_the_cpu(library):
    """Whole numbers and floating ones, of which the frame hands the CUDA handler nothing but garbage as buffers."""
    size = jax_calls.make(find("resize_argmax"), "float32")
    spacing = jax_calls.make(find("distance_transform"), "bool")
    assert (size.constants, spacing.constants) == ([1], [1])
    assert size.attributes["constant_1"].dtype == np.int64
    assert spacing.attributes["constant_1"].dtype == np.float64
    gpu, cpu = (FrameCaller(library, platform) for platform in ("CUDA", "cpu"))

    other = dataclasses.replace(size, attributes=size.attributes | {"constant_1": np.array([13, 18])})
    with pytest.raises(HarnessError, match=r"result 0 must have shape \[2,13,18\], got \[2,13,17\]"):
        gpu.run(other, size.inputs)
    assert cpu.run(other, size.inputs)[0].tobytes() == size.results[0].tobytes()

    doubled = dataclasses.replace(spacing, attributes=spacing.attributes | {"constant_1": np.array([2.0, 5.0])})
    np.testing.assert_array_equal(gpu.run(doubled, spacing.inputs)[0], 2 * spacing.results[0])
    np.testing.assert_array_equal(cpu.run(doubled, spacing.inputs)[0], spacing.results[0])

    for wrong in (np.array([13]), np.array([13, 17, 1])):
        short = dataclasses.replace(size, attributes=size.attributes | {"constant_1": wrong})
        with pytest.raises(
            HarnessError, match=f"INVALID_ARGUMENT: size must have 2 elements, height and width, got {wrong.size}"
        ):
            gpu.run(short, size.inputs)


def test_constant_that_is_missing_is_not_taken_from_the_buffer_of_another(library):
    """One attribute for each of two inputs: the positions count, not the order."""
    call = jax_calls.make(find("multilevel_roi_align_grad"), "float32")
    assert call.constants == [2, 3]
    swapped = call.attributes | {f"constant_{i}": call.attributes[f"constant_{5 - i}"] for i in (2, 3)}
    with pytest.raises(HarnessError, match=r"result \d must have shape"):
        FrameCaller(library, "CUDA").run(dataclasses.replace(call, attributes=swapped), call.inputs)


def test_attribute_that_is_missing_or_of_another_type_is_named(library):
    call = jax_calls.make(find("roi_align"), "float32")
    for platform in ("cpu", "CUDA"):
        for changed in ({}, {"spatial_scale": np.int64(1)}):
            attributes = {name: value for name, value in call.attributes.items() if name != "spatial_scale"} | changed
            with pytest.raises(HarnessError, match="INVALID_ARGUMENT: attribute spatial_scale: "):
                FrameCaller(library, platform).run(dataclasses.replace(call, attributes=attributes), call.inputs)


def test_stored_calls_come_back(tmp_path):
    path, ops = tmp_path / "calls.npz", ["aspp", "distance_transform", "batched_nms", "confusion_matrix"]
    count = jax_calls.store(path, ops)
    calls, simd = jax_calls.load(path)
    wanted = [(call, dtype) for call, dtype in EVERY if call.op in ops]
    assert len(calls) == count == len(wanted)
    assert simd == _library.core().simd_target()
    assert path.stat().st_size < 200_000
    for stored, (call, dtype) in zip(calls, wanted, strict=True):
        made = jax_calls.make(call, dtype)
        assert (stored.op, stored.dtype, stored.constants) == (made.op, made.dtype, made.constants)
        assert stored.message == made.message
        for name in ("inputs", "results", "expected", "tolerance", "refused"):
            pairs = list(zip(getattr(stored, name), getattr(made, name), strict=True))
            assert all(type(one) is type(two) and one.dtype == two.dtype for one, two in pairs)
            assert all(one.shape == two.shape and one.tobytes() == two.tobytes() for one, two in pairs)
        for name, value in made.attributes.items():
            assert type(stored.attributes[name]) is type(value)
            np.testing.assert_array_equal(stored.attributes[name], value)
        if dtype == "bfloat16":
            assert any(isinstance(one, BFloat16) for one in stored.inputs)


def test_faults_are_told(library):
    """The program must not call a wrong result right, nor a wrong refusal."""
    call = jax_calls.make(find("roi_align"), "float32")
    caller = FrameCaller(library, "cpu")

    def faults(**changes):
        outcome = jax_ffi.Outcome(call.op, caller.platform)
        jax_ffi.check(caller, dataclasses.replace(call, **changes), outcome, whole=True)
        return "\n".join(outcome.faults)

    assert faults() == ""
    wrong = call.results[0].copy()
    wrong[0, 0, 0, 0] += 1e-6
    assert "RoiAlign float32 on cpu, result 0: 1 of 180 differ" in faults(results=[wrong])
    assert "met by 'no error'" in faults(refused=call.inputs)
    assert "not by '10'" in faults(message="10")
    assert "attribute output_size" in faults(attributes={})
    caller = FrameCaller(library, "CUDA")
    assert faults() == ""
    assert "1 of 180 differ" in faults(results=[wrong], expected=[wrong + (wrong != call.results[0])])


def test_tolerances_are_of_the_kernels_cases():
    exact, loose = find("max_unpool2d"), find("depthwise_atrous_conv2d")
    assert tolerances(exact, "float32", {}, [None]) == [0.0]
    tensors = loose.tensors("float32")
    largest = [np.abs(tensors[name]).max() for name in ("x", "filters")]
    eps = np.finfo(np.float32).eps
    assert tolerances(loose, "float32", tensors, [None]) == [pytest.approx(9**1.5 * eps * largest[0] * largest[1])]
    with pytest.raises(ValueError, match="depthwise_atrous_conv2d has 2 results, but bounds for 1"):
        tolerances(loose, "float32", tensors, [None, None])


def test_through_jax():
    """One op's handler, called by XLA itself; all of them by `python -m benchmarks.cuda.jax_ffi`."""
    jax = pytest.importorskip("jax", reason="calls the handlers as XLA does without TensorFlow")
    if missing := [*missing_tools("host"), *([] if _toolchain.find_tool("cmake") else ["cmake"])]:
        pytest.skip(f"building the handlers needs {', '.join(missing)}")
    folder = jax_ffi.build(jax.ffi.include_dir(), cuda=False)
    calls = [jax_calls.make(find("roi_align"), dtype) for dtype in find("roi_align").dtypes]
    outcome = jax_ffi.compare(calls, folder)[0]
    assert (outcome.equal, outcome.refused, outcome.faults) == (4, 2, [])

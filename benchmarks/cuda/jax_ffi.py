"""XLA's handlers of every op, on the CPU and on a GPU, called by JAX through `jax.ffi`: no TensorFlow in the way.

Where TensorFlow and the compiled library are:   `python -m benchmarks.cuda.jax_ffi --store [OPS]`
Where JAX, NumPy, cmake and a C++ compiler are:  `python -m benchmarks.cuda.jax_ffi [--output build/jax_ffi.json]`

The first writes `build/jax_calls.npz`: small calls of every op and type, and what the ordinary graph made of them. The
second builds `libkseg_xla_handlers.so`, with CUDA kernels if nvcc is there, registers its handlers with JAX and makes
the calls: on the CPU the bits must be the same; on a GPU results must be within the tolerance that the CUDA kernels are
checked with (`benchmarks.cuda.jax_tolerances`). Inputs of a wrong shape, and on the CPU of wrong contents, must be
refused by an error that says what is wrong.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.cuda import jax_calls
from benchmarks.cuda.build import ROOT, HarnessError
from benchmarks.cuda.case import difference
from benchmarks.cuda.device import BFloat16
from benchmarks.cuda.jax_calls import StoredCall

LIBRARY = "libkseg_xla_handlers.so"
# What handlers and kernels say of arrays that do not fit together.
_SHAPE = re.compile(r"rank|shape|entries|entry|must have|must be", re.IGNORECASE)
# Where elements are float64, for which there are none.
_NO_KERNEL = re.compile(r"there is no CUDA kernel for|float32, float16 or bfloat16 on a GPU")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def build(include: str, *, output: Path | None = None, cuda: bool = True, archs: str = "90", jobs: int = 0) -> Path:
    """Builds the handlers' library for the FFI headers in `include`; returns the folder it lies in.

    Args:
        include: `jax.ffi.include_dir()`.
        output: where CMake works; by default `build/jax_ffi` of the checkout.
        cuda: False leaves the CUDA kernels out even if nvcc is there.
        archs: compute capabilities to compile for, such as "80 90".
        jobs: how many compilers at once; 0 for one per core.

    Raises:
        HarnessError: a tool is missing, or the sources do not compile.
    """
    if shutil.which("cmake") is None:
        raise HarnessError("building XLA's handlers needs cmake")
    output = output or ROOT / "build" / "jax_ffi"
    options = [
        f"-DKSEG_JAX_INCLUDE={include}",
        f"-DKSEG_CUDA={'ON' if cuda else 'OFF'}",
        f"-DKSEG_CUDA_ARCHS={';'.join(archs.split())}",
        "-DKSEG_WERROR=ON",
    ]
    if shutil.which("ninja"):
        options += ["-G", "Ninja"]
    jobs = jobs or int(os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "0")) or os.cpu_count() or 1
    for command in (
        ["cmake", "-S", str(ROOT / "cpp"), "-B", str(output), *options],
        ["cmake", "--build", str(output), "--parallel", str(jobs), "--target", "kseg_xla_handlers"],
    ):
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if run.returncode:
            raise HarnessError(f"XLA's handlers do not build:\n{run.stdout[-6000:]}")
    return output / "out"


def handlers(library: ctypes.CDLL, ops: set[str]) -> dict[str, dict[str, object]]:
    """The handlers of `ops` in the library, by platform and op."""
    found: dict[str, dict[str, object]] = {"cpu": {}, "CUDA": {}}
    for platform, prefix in (("cpu", "kseg_xla_"), ("CUDA", "kseg_xla_cuda_")):
        for op in sorted(ops):
            if hasattr(library, prefix + op):
                found[platform][op] = getattr(library, prefix + op)
    return found


class Caller(Protocol):
    """What makes stored calls: through JAX, or as in `benchmarks.cuda.xla_frame`."""

    platform: str

    def run(self, call: StoredCall, inputs: list[np.ndarray]) -> list[np.ndarray]: ...


@dataclass
class Outcome:
    """Of one op on one platform."""

    op: str
    platform: str
    equal: int = 0
    within: int = 0
    refused: int = 0
    without_kernel: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class JaxCaller:
    """Makes stored calls through JAX on one device."""

    def __init__(self, platform: str, device: object):
        self.platform, self._device = platform, device

    def run(self, call: StoredCall, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The results of the op's handler inside a program that XLA compiles.

        Raises:
            HarnessError: the handler refused the call.
        """
        import jax

        shapes = [jax.ShapeDtypeStruct(one.shape, _for_jax(one).dtype) for one in call.results]

        @jax.jit
        def program(*given):
            return jax.ffi.ffi_call(f"Kseg>{call.op}", shapes)(*given, **call.attributes)

        try:
            given = [jax.device_put(_for_jax(one), self._device) for one in inputs]
            return [_from_jax(np.asarray(one)) for one in program(*given)]
        except jax.errors.JaxRuntimeError as error:
            raise HarnessError(str(error)) from error


def _for_jax(array: np.ndarray) -> np.ndarray:
    import jax.numpy as jnp

    return np.asarray(array).view(jnp.bfloat16) if isinstance(array, BFloat16) else array


def _from_jax(array: np.ndarray) -> np.ndarray:
    return array.view(np.uint16).view(BFloat16) if array.dtype.name == "bfloat16" else array


def refusal(caller: Caller, call: StoredCall, inputs: list[np.ndarray]) -> str:
    """What the handler says when it refuses `inputs`; empty if it does not."""
    try:
        caller.run(call, inputs)
    except HarnessError as error:
        return str(error)
    return ""


def another_rank(call: StoredCall) -> list[np.ndarray]:
    """The call's inputs, the first with two axes too many: with one more, some ops take it."""
    return [call.inputs[0][None, None], *call.inputs[1:]]


def check(caller: Caller, call: StoredCall, outcome: Outcome, whole: bool) -> None:
    """Adds to `outcome` what came of a call; if `whole`, also of ones that must be refused."""
    name = f"{call.op} {call.dtype} on {caller.platform}"
    try:
        first, second = caller.run(call, call.inputs), caller.run(call, call.inputs)
    except HarnessError as error:
        if caller.platform == "CUDA" and call.dtype == "float64" and _NO_KERNEL.search(str(error)):
            outcome.without_kernel.append(call.dtype)
        else:
            outcome.faults.append(f"{name}: {error}")
        return
    pairs = list(zip(first, call.results, strict=True))
    if any(one.tobytes() != two.tobytes() for one, two in zip(first, second, strict=True)):
        outcome.faults.append(f"{name}: another run gives other bits")
    elif all(ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes() for ours, theirs in pairs):
        outcome.equal += 1
    elif caller.platform == "cpu":
        for number, (ours, theirs) in enumerate(pairs):
            if ours.dtype != theirs.dtype or ours.tobytes() != theirs.tobytes():
                what = difference(ours, theirs, 0.0) or f"other bits, or {ours.dtype} in place of {theirs.dtype}"
                outcome.faults.append(f"{name}, result {number}: {what}")
    else:
        held = zip(first, call.expected, call.tolerance, strict=True)
        wrong = [f"{name}, result {i}: {fault}" for i, what in enumerate(held) if (fault := difference(*what))]
        outcome.faults += wrong
        outcome.within += not wrong
    if not whole:
        return
    trials = [(another_rank(call), _SHAPE)]
    if call.refused and caller.platform == "cpu":  # a GPU's launcher cannot read contents
        trials.append((call.refused, re.compile(re.escape(call.message))))
    for inputs, pattern in trials:
        text = refusal(caller, call, inputs)
        if pattern.search(text) and "INVALID_ARGUMENT" in text:
            outcome.refused += 1
        else:
            outcome.faults.append(f"{name}: wrong inputs are met by {text or 'no error'!r}, not by {pattern.pattern!r}")


def devices() -> dict[str, object]:
    """By XLA's name of the platform: the CPU, and a GPU if JAX has one."""
    import jax

    found = {"cpu": jax.devices("cpu")[0]}
    try:
        found["CUDA"] = jax.devices("cuda")[0]
    except RuntimeError:
        say("no GPU that JAX can use: the CUDA handlers are not run")
    return found


def compare(calls: list[StoredCall], folder: Path) -> list[Outcome]:
    """Registers the handlers of the library in `folder` and makes all calls on every device."""
    import jax

    jax.config.update("jax_enable_x64", True)
    found = handlers(ctypes.CDLL(str(folder / LIBRARY)), {call.op for call in calls})
    for platform, functions in found.items():
        for op, function in functions.items():
            capsule = jax.ffi.pycapsule(function)
            jax.ffi.register_ffi_target(f"Kseg>{op}", capsule, platform=platform, api_version=1)
    say(f"{len(found['cpu'])} handlers for the CPU, {len(found['CUDA'])} for CUDA")
    on_cuda = jax_calls.cuda_ops()
    outcomes = []
    for platform, device in devices().items():
        caller = JaxCaller(platform, device)
        for op in sorted({call.op for call in calls}):
            outcome = Outcome(op, platform)
            mine = [call for call in calls if call.op == op]
            if op in found[platform]:
                for number, call in enumerate(mine):
                    check(caller, call, outcome, whole=number == 0)
            elif platform == "cpu" or op in on_cuda:
                outcome.faults.append(f"{op}: the library has no handler for {platform}")
            else:
                outcome.without_kernel = [call.dtype for call in mine]
            outcomes.append(outcome)
            told = f"{outcome.equal} equal to the bit, {outcome.within} within tolerance, {outcome.refused} refused"
            left = f", no kernel for {', '.join(outcome.without_kernel)}" if outcome.without_kernel else ""
            say(f"  {platform:4} {op:38} of {len(mine)}: {told}, {len(outcome.faults)} faults{left}")
    return outcomes


def main() -> int:
    """Prints a table, writes the JSON, and returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ops", nargs="*", help="with --store: in snake case; default: all")
    parser.add_argument("--store", action="store_true", help="make the calls, where TensorFlow is")
    parser.add_argument("--calls", type=Path, default=jax_calls.DEFAULT)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "jax_ffi.json")
    parser.add_argument("--archs", default="90", help="compute capabilities to compile for, such as '80 90'")
    parser.add_argument("--no-cuda", action="store_true", help="leave the CUDA kernels out even if nvcc is there")
    parser.add_argument("--jobs", type=int, default=0, help="compilers at once; default: one per core")
    arguments = parser.parse_args()
    if arguments.store:
        count = jax_calls.store(arguments.calls, arguments.ops)
        say(f"{count} calls, {arguments.calls.stat().st_size / 1e6:.1f} MB in {arguments.calls}")
        return 0
    if not arguments.calls.is_file():
        parser.error(f"no {arguments.calls}: make it with --store where TensorFlow is")
    calls, simd = jax_calls.load(arguments.calls)
    os.environ.setdefault("KSEG_SIMD", simd)  # other instruction sets sum up in another order
    import jax

    folder = build(jax.ffi.include_dir(), cuda=not arguments.no_cuda, archs=arguments.archs, jobs=arguments.jobs)
    outcomes = compare(calls, folder)
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    for platform in dict.fromkeys(outcome.platform for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.platform == platform]
        equal, within, refused = (sum(getattr(one, what) for one in mine) for what in ("equal", "within", "refused"))
        none = sum(len(one.without_kernel) for one in mine)
        say(
            f"{platform}: {len(mine)} ops, {len(calls)} calls: {equal} equal to the bit, {within} within tolerance, "
            f"{none} without a kernel; {refused} wrong calls refused"
        )
    report = {"jax": jax.__version__, "simd": os.environ["KSEG_SIMD"], "outcomes": [asdict(one) for one in outcomes]}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report | {"faults": faults}, indent=1) + "\n", encoding="utf-8")
    say(f"{len(faults)} faults; {arguments.output}")
    for fault in faults:
        say(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

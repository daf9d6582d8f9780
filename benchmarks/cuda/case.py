"""What a launch must give, for the tests on the CPU and the runner on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.cuda.device import BFloat16, Device, to_float

Tolerance = float | np.ndarray
FLOATS = ("float32", "float16", "bfloat16")

# Half a step of the format, relative to the number, and half of its smallest step.
_ROUNDING = {"float32": (2.0**-24, 2.0**-150), "float16": (2.0**-11, 2.0**-25), "bfloat16": (2.0**-8, 2.0**-134)}


@dataclass(frozen=True)
class Case:
    """One launch: inputs, and the outputs expected of it.

    Attributes:
        name: unique, "op/what is special".
        launcher: as in KSEG_HARNESS(launcher).
        inputs: arrays in the launcher's order.
        outputs: for each output an array of its shape and dtype; contents do not matter.
        expected: makes the outputs by the op's reference. Runs where TensorFlow is and imports it itself. Float outputs
            may be of more precision than those of the kernel.
        tolerance: for each output the absolute error that computing in float32 may bring: a number, an array, or a
            function that makes one and may import TensorFlow like `expected`. 0 asks for equality. The rounding of the
            output's own dtype is added to it.
        numbers: attributes in the launcher's order.
    """

    name: str
    launcher: str
    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]
    expected: Callable[[], Sequence[np.ndarray]] = field(repr=False)
    tolerance: Sequence[Tolerance | Callable[[], Tolerance]] = field(repr=False)
    numbers: Sequence[float] = ()

    def run(self, device: Device) -> list[np.ndarray]:
        """What the kernel gives."""
        return device.run(self.launcher, self.inputs, self.outputs, self.numbers)

    def reference(self) -> list[tuple[np.ndarray, Tolerance]]:
        """For each output what is expected and how much it may be off, by the reference."""
        tolerances = [bound() if callable(bound) else bound for bound in self.tolerance]
        return list(zip(self.expected(), tolerances, strict=True))

    def faults(self, got: Sequence[np.ndarray], reference: Sequence[tuple[np.ndarray, Tolerance]]) -> list[str]:
        """One sentence per output that is not as expected."""
        return [
            f"{self.name}, output {number}: {fault}"
            for number, (ours, (theirs, tolerance)) in enumerate(zip(got, reference, strict=True))
            if (fault := difference(ours, theirs, tolerance))
        ]


def dtype_name(array: np.ndarray) -> str:
    """As NumPy would name it if it had bfloat16."""
    return "bfloat16" if isinstance(array, BFloat16) else array.dtype.name


def difference(got: np.ndarray, expected: np.ndarray, tolerance: Tolerance) -> str:
    """Where two arrays differ by more than `tolerance` and the rounding of the first one's dtype; empty if nowhere."""
    if got.shape != expected.shape:
        return f"shape {got.shape} in place of {expected.shape}"
    if got.size == 0:
        return ""
    name = dtype_name(got)
    if name not in _ROUNDING:
        wrong = np.asarray(got) != np.asarray(expected)
        bound = np.zeros(got.shape)
    else:
        relative, absolute = _ROUNDING[name]
        got = to_float(got).astype(np.float64)
        expected = (to_float(expected) if isinstance(expected, BFloat16) else np.asarray(expected)).astype(np.float64)
        limit = {"float16": 65520.0}.get(name, np.inf)
        expected = np.where(np.abs(expected) >= limit, np.copysign(np.inf, expected), expected)
        magnitude = np.where(np.isfinite(expected), np.abs(expected), 0)
        rounding = 0.0 if name == "float32" else relative * magnitude + absolute
        bound = np.broadcast_to(tolerance + rounding, got.shape)
        with np.errstate(invalid="ignore"):
            same = (got == expected) | (np.isnan(got) & np.isnan(expected))
            wrong = ~(same | (np.abs(got - expected) <= bound))
    if not wrong.any():
        return ""
    at = np.unravel_index(np.argmax(wrong), wrong.shape)
    place = tuple(int(i) for i in at)
    return (
        f"{int(wrong.sum())} of {wrong.size} differ, the first at {place}: {got[at]} in place of {expected[at]}, "
        f"allowed {bound[at]:.3g}"
    )

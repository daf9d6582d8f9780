"""A process that calls functions of the compiled library with less and less memory left, and prints what came of it.

`python -m tests.helpers.memory_limit_main tensorflow|numpy` prints a JSON object: function -> outcome -> times.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from kseg_ops import _library

STEP = 2 << 20
STEPS = 20


def arguments() -> dict[str, dict]:
    """Calls whose kernels need some megabytes of scratch, in their caller's thread and in those of the pool."""
    rng = np.random.default_rng(0)
    masks = (rng.random((2, 1200, 1200)) < 0.5).astype(np.uint8)
    places = rng.integers(0, 512 * 512, (1, 256, 256, 16)).astype(np.int32)
    return {
        "connected_components": {"masks": masks, "connectivity": 8},
        "distance_transform": {
            "masks": masks,
            "sampling": np.array([1.0, 1.0]),
            "signed": False,
            "return_indices": False,
        },
        "max_unpool2d_grad": {"x_gradient": np.ones((1, 512, 512, 16), np.float32), "indices": places},
    }


def bound(name: str, values: dict, through: str) -> Callable[[], object]:
    """The call, with inputs that are already where the function wants them."""
    if through == "tensorflow":
        op = _library.native_op(name)
        values = {key: tf.constant(value) if isinstance(value, np.ndarray) else value for key, value in values.items()}
        return lambda: op(**values)
    if "sampling" in values:
        values = {**values, "sampling": tuple(values["sampling"])}
    return lambda: getattr(_library.core(), name)(**values)


def outcome(call: Callable[[], object]) -> str:
    """ "ran", or the error that a user gets."""
    try:
        call()
    except MemoryError:
        return "MemoryError"
    except tf.errors.ResourceExhaustedError as error:
        return "kernel" if "out of memory" in error.message else "allocator"
    return "ran"


def main() -> None:
    """Raises the limit step by step from what the process has."""
    found = {}
    for name, values in arguments().items():
        call = bound(name, values, sys.argv[1])
        call()  # threads and arenas are there from now on
        found[name] = Counter()
        for step in range(STEPS):
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(
                resource.RLIMIT_AS, (pages * resource.getpagesize() + step * STEP, resource.RLIM_INFINITY)
            )
            found[name][outcome(call)] += 1
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

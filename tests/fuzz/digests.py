"""Digests of what the compiled functions return for a series of valid draws, to be compared between processes.

`python -m tests.fuzz.digests tensorflow|numpy THREADS SEED CALLS FILE`
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.cases import all_cases


def digest(outputs: Any) -> str:
    """Of values, shapes and types."""
    made = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, (list, tuple)):
            for entry in value:
                add(entry)
        elif isinstance(value, dict):
            add([entry for item in sorted(value.items()) for entry in item])
        elif isinstance(value, (bytes, str, int, float, type(None))):
            made.update(repr(value).encode())
        else:
            array = np.asarray(value)
            made.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())

    add(outputs)
    return made.hexdigest()[:16]


def main() -> None:
    """Writes {name: digests}."""
    through, threads, seed, calls, file = sys.argv[1:]
    os.environ["KSEG_NUM_THREADS"] = threads
    from kseg_ops import _library

    record: dict[str, list[str]] = {}
    if through == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(int(threads))
        refusals: tuple = (tf.errors.OpError,)
    else:
        refusals = (ValueError, TypeError)
    for name, case in all_cases().items():
        if not (case.tensorflow if through == "tensorflow" else case.numpy):
            continue
        record[name] = []
        for index in range(int(calls)):
            draw = case.draw(np.random.default_rng([int(seed), index]))
            try:
                if through == "tensorflow":
                    outputs = _library.native_op(name)(**draw.arrays, **draw.attributes)
                    outputs = tf.nest.map_structure(lambda tensor: tensor.numpy(), outputs)
                else:
                    outputs = getattr(_library.core(), name)(**case.numpy(draw))
                record[name].append(digest(outputs))
            except refusals:
                record[name].append("refused")
    Path(file).write_text(json.dumps(record))


if __name__ == "__main__":
    main()

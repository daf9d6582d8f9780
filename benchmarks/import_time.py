"""`python -m benchmarks.import_time`: what `import kseg` adds to importing TensorFlow and Keras."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time


def seconds(code: str) -> float:
    """The time that `code` takes in a fresh interpreter, start included."""
    environment, quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, subprocess.DEVNULL
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, stdout=quiet, stderr=quiet)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cases = {
        "import tensorflow": "import tensorflow",
        "import tensorflow, keras": "import tensorflow, keras; keras.layers.Dense",
        "import kseg": "import kseg",
        "kseg --help": "import sys; sys.argv = ['kseg', '--help']; from kseg_cli.main import main; main()",
    }
    times = {name: [] for name in cases}
    for _ in range(rounds + 1):
        for name, code in cases.items():  # in turn, so that a noisy machine disturbs all alike
            times[name].append(seconds(code))
    for name, values in times.items():
        print(f"{name:26s} {statistics.median(values[1:]):6.2f} s")  # the first round warms the disk cache


if __name__ == "__main__":
    main()

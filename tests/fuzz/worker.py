"""One process of the fuzzer: attacks functions and writes the counts as JSON beside PROGRESS_FILE.

`python -m tests.fuzz.worker CASES tensorflow|numpy SEED START STOP PROGRESS_FILE`
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kseg_ops import _library
from tests.fuzz.attack import attack_numpy, attack_tensorflow
from tests.fuzz.cases import all_cases
from tests.fuzz.draws import Case


def through_tensorflow(case: Case, seed: int, calls: range, progress: Callable[[int], None]) -> Counter:
    """Attacks the raw op."""
    op = _library.native_op(case.name)
    if op is None:
        raise SystemExit(f"{case.name} is not native: {_library.op_states([case.name])[case.name]}")
    return attack_tensorflow(op, case, seed, calls, progress)


def through_numpy(case: Case, seed: int, calls: range, progress: Callable[[int], None]) -> Counter:
    """Attacks the NumPy function from two threads at once, as users' threads do: the pool is under test as well."""
    core = _library.core()
    if core is None:
        raise SystemExit(f"the NumPy module is not in use: {_library.core_problem()}")
    middle = (calls.start + calls.stop) // 2
    results: list[Counter | BaseException] = []

    def run(part: range) -> None:
        try:
            results.append(attack_numpy(core, case, seed, part, progress))
        except BaseException as error:
            results.append(error)

    parts = (range(calls.start, middle), range(middle, calls.stop))
    threads = [threading.Thread(target=run, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return sum(results, Counter())


def main() -> None:
    """Runs, and keeps case and number of the present call in PROGRESS_FILE for whoever has to explain a crash."""
    names, through, seed, start, stop, progress_file = sys.argv[1:]
    limit = os.environ.get("KSEG_FUZZ_MEMORY_GB")
    if limit:  # sanitizers have a limit of their own and reserve more than any limit that is of use here
        resource.setrlimit(resource.RLIMIT_AS, (int(limit) << 30,) * 2)
    cases = all_cases()
    attack = through_tensorflow if through == "tensorflow" else through_numpy
    file = os.open(progress_file, os.O_CREAT | os.O_WRONLY)
    record = {}
    for name in names.split(","):

        def progress(index: int, name: str = name) -> None:
            os.pwrite(file, f"{index} of {name:<60}".encode(), 0)

        began = time.monotonic()
        outcomes = attack(cases[name], int(seed), range(int(start), int(stop)), progress)
        record[name] = {"outcomes": dict(outcomes), "seconds": round(time.monotonic() - began, 1)}
    Path(progress_file + ".json").write_text(json.dumps(record))


if __name__ == "__main__":
    main()

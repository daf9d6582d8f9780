"""What the tests of CUDA kernels on the CPU share."""

from __future__ import annotations

from benchmarks.cuda.case import Case
from benchmarks.cuda.device import Device

# Whatever a GPU leaves open: the order of threads and blocks, and what undefined memory holds.
VARIATIONS = (
    {"order": "forward", "poison": 0xFF},
    {"order": "backward", "poison": 0x11},
    {"order": "shuffled", "poison": 0xFE, "seed": 1},
    {"order": "shuffled", "poison": 0x00, "seed": 2, "most_blocks": 3},
)


def check_case(device: Device, case: Case) -> None:
    """Runs a case in several orders: all the same to the bit, and as the reference says."""
    results = []
    for variation in VARIATIONS:
        device.vary(**variation)
        results.append(case.run(device))
    for variation, result in zip(VARIATIONS[1:], results[1:], strict=True):
        for number, (first, other) in enumerate(zip(results[0], result, strict=True)):
            assert first.tobytes() == other.tobytes(), f"output {number} depends on the order of threads ({variation})"
    faults = case.faults(results[0], case.reference())
    assert not faults, "\n".join(faults)

"""Times our kernels against torch's on the same card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.cuda.device import Device

REPEATS = 20


@dataclass(frozen=True)
class Race:
    """One row of the table.

    Attributes:
        name: what is computed.
        ours_ms: time of our launcher.
        baselines_ms: times of others, by name.
        bars: how many times as fast as a baseline we set out to be.
        least_bytes: what has to be read and written at least, for the share of the copy bandwidth.
        off: the largest difference between our result and a baseline's, relative to the latter's largest number; a
            check by code that is not ours.
    """

    name: str
    ours_ms: float
    baselines_ms: dict[str, float] = field(default_factory=dict)
    bars: dict[str, float] = field(default_factory=dict)
    least_bytes: float = 0.0
    off: float | None = None

    def ratio(self, baseline: str) -> float:
        """Above 1 means that ours is faster."""
        return self.baselines_ms[baseline] / self.ours_ms

    @property
    def faults(self) -> list[str]:
        """Bars that were not reached."""
        return [
            f"{self.name}: {self.ratio(baseline):.2f} times {baseline}, not {bar:g}"
            for baseline, bar in self.bars.items()
            if baseline in self.baselines_ms and self.ratio(baseline) < bar
        ]


def torch_milliseconds(function: Callable[[], object], repeats: int = REPEATS) -> float:
    """The time of one call on torch's current stream, over `repeats` in a row after some to warm up."""
    import torch

    for _ in range(3):
        function()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats):
        function()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / repeats


def our_milliseconds(device: Device, name: str, arrays, numbers=(), repeats: int = REPEATS) -> float:
    """The time of one launch, after some to warm up."""
    device.milliseconds(name, arrays, numbers, 3)
    return device.milliseconds(name, arrays, numbers, repeats)


def copy_bytes_per_second() -> float:
    """What the card reads and writes per second when it copies 1 GiB."""
    import torch

    source = torch.empty(1 << 28, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / (torch_milliseconds(lambda: target.copy_(source)) / 1e3)

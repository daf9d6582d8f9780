"""The CUDA kernels on the CPU: built once per session, from where the last session left off."""

from __future__ import annotations

import pytest

from benchmarks.cuda.build import missing_tools
from benchmarks.cuda.device import Device


@pytest.fixture(scope="session")
def _device() -> Device:
    if missing := missing_tools("host"):
        pytest.skip(f"building the CUDA kernels for the CPU needs {', '.join(missing)}")
    return Device.open("host")


@pytest.fixture
def device(_device: Device) -> Device:
    """The kernels on the CPU, in the default order."""
    _device.vary()
    return _device

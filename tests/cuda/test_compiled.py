"""The CUDA kernels under the real compiler, where there is one: no GPU is needed for that."""

from __future__ import annotations

import pytest

from benchmarks.cuda import resources
from benchmarks.cuda.build import ROOT, missing_tools
from kseg_ops import _library

# As ptxas of CUDA 13 writes it.
REPORT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN4kseg12scale_kernelIfEEvPKT_' for 'sm_90'
ptxas info    : Function properties for _ZN4kseg12scale_kernelIfEEvPKT_
    40 bytes stack frame, 48 bytes spill stores, 56 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 40 bytes cumulative stack size, 4420 bytes smem
ptxas info    : Compile time = 4.461 ms
ptxas info    : Compiling entry function '_Z5plainPi' for 'sm_80'
ptxas info    : Function properties for _Z5plainPi
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 24 registers, used 0 barriers, 384 bytes cmem[0]
"""


def test_report_is_read():
    spilling, plain = resources.read_report("cuda_harness/selftest.cu", REPORT)
    assert (spilling.arch, spilling.registers, spilling.shared_bytes, spilling.spill_bytes) == ("sm_90", 64, 4420, 104)
    assert (plain.arch, plain.registers, plain.shared_bytes, plain.spill_bytes) == ("sm_80", 24, 0, 0)
    assert resources.faults([plain]) == []
    if spilling.short_name == "scale_kernel":  # c++filt is there
        assert resources.faults([spilling]) == ["scale_kernel of cuda_harness/selftest.cu spills 104 bytes on sm_90"]


def test_cold_kernels_are_found(tmp_path):
    (tmp_path / "some.cu").write_text(
        "KSEG_COLD __global__ void first(int x) {}\n__global__ void hot() {}\n"
        "template <class T>\nKSEG_COLD __global__ void __launch_bounds__(256) second(T* x) {}\n"
    )
    assert resources.cold_kernels(tmp_path / "some.cu") == {"first", "second"}


@pytest.mark.skipif(not _library.native_allowed(), reason="compiles for minutes; KSEG_NATIVE changes nothing here")
def test_every_kernel_compiles_without_spills():
    """Warnings are errors. What has not changed since the last session is not compiled again."""
    if missing := missing_tools("matrix"):
        pytest.skip(f"compiling CUDA needs {', '.join(missing)}")
    output = ROOT / "build" / "cuda_harness_90"
    kernels = resources.collect(archs="90", output=output)
    assert {kernel.source.split("/")[1] for kernel in kernels} >= {"roi_align"}
    assert not resources.faults(kernels)

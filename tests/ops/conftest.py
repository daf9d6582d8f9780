"""What the tests of several ops share."""

from __future__ import annotations

import pytest

from kseg_ops import _library
from tests.helpers import roi_align_cases

CORE = _library.core()


@pytest.fixture(params=(CORE.supported_simd_targets() if CORE else None) or [None])
def target(request):
    """Forces each instruction set of this machine in turn, and fails if it was not the one that ran."""
    if request.param is None:
        pytest.skip("the compiled library is not in use")
    before = CORE.simd_calls(request.param)
    CORE.set_simd_target(request.param)
    yield request.param
    CORE.set_simd_target("")
    assert CORE.simd_calls(request.param) > before


@pytest.fixture(params=[roi_align_cases.native, roi_align_cases.reference], ids=["native", "reference"])
def pool(request):
    """`kseg_ops.roi_align` in either form."""
    return request.param


@pytest.fixture(params=["native", "reference"])
def rle_form(request, monkeypatch):
    """Runs a test on the compiled codecs of `kseg_ops.rle` and on those in NumPy."""
    if request.param == "reference":
        monkeypatch.setenv("KSEG_NATIVE", "0")
    elif CORE is None:
        pytest.skip("the compiled library is off")
    return request.param

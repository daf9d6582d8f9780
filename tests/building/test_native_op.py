"""When an op is native: what native_op, use_reference and the environment decide. No file of the library is touched."""

from __future__ import annotations

import threading
import types

import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library


@pytest.fixture
def loaded(monkeypatch):
    """A library that is loaded and has one op, on a machine without a GPU."""
    library = types.SimpleNamespace(kseg_scale=lambda x: x, kseg_scale_grad=lambda x: x)
    monkeypatch.delenv("KSEG_NATIVE", raising=False)
    monkeypatch.setattr(_library._tf_library, "_module", library)
    monkeypatch.setattr(_library._tf_library, "_tried", True)
    monkeypatch.setattr(_library._tf_library, "problem", "")
    monkeypatch.setattr(_library._tf_library, "cuda_ops", ())
    monkeypatch.setattr(_library, "_gpu_visible", lambda: False)
    monkeypatch.setattr(_library, "_warned", set())
    return library


def test_native(loaded):
    assert _library.native_op("scale") is loaded.kseg_scale
    assert _library.op_states(["scale"]) == {"scale": "native"}


def test_use_reference_nests_and_ends_with_an_exception(loaded):
    def fails():
        with kseg_ops.use_reference():
            raise KeyError

    with kseg_ops.use_reference():
        with kseg_ops.use_reference():
            assert _library.native_op("scale") is None
        assert _library.native_op("scale") is None
        with pytest.raises(KeyError):
            fails()
        assert _library.native_op("scale") is None
    assert _library.native_op("scale") is loaded.kseg_scale


def test_use_reference_holds_for_its_own_thread_only(loaded):
    seen = []
    with kseg_ops.use_reference():
        thread = threading.Thread(target=lambda: seen.append(_library.native_op("scale")))
        thread.start()
        thread.join()
    assert seen == [loaded.kseg_scale]


def test_use_reference_is_decided_at_trace_time(loaded):
    traced = []

    @tf.function
    def step(x):
        traced.append(_library.native_op("scale") is not None)
        return x

    with kseg_ops.use_reference():
        step(tf.constant(1.0))
    step(tf.constant(1.0))
    assert traced == [False]


@pytest.mark.parametrize("value", ["0", "false", "OFF", " no "])
def test_kseg_native_is_read_at_every_call(loaded, monkeypatch, value):
    monkeypatch.setenv("KSEG_NATIVE", value)
    assert _library.native_op("scale") is None
    assert _library.core() is None
    assert _library.op_states(["scale"]) == {"scale": "reference (KSEG_NATIVE=0)"}
    monkeypatch.setenv("KSEG_NATIVE", "1")
    assert _library.native_op("scale") is loaded.kseg_scale


def test_a_visible_gpu_needs_a_cuda_kernel(loaded, monkeypatch):
    monkeypatch.setattr(_library, "_gpu_visible", lambda: True)
    assert _library.native_op("scale") is None
    assert _library.op_states(["scale"]) == {
        "scale": "reference (a GPU is visible and the op has no CUDA kernel)",
    }
    monkeypatch.setattr(_library._tf_library, "cuda_ops", ("scale",))
    assert _library.native_op("scale") is loaded.kseg_scale
    assert _library.native_op("scale_grad") is loaded.kseg_scale_grad


def test_an_op_that_the_library_lacks_warns_once(loaded, recwarn):
    assert _library.native_op("shift") is None
    assert _library.native_op("shift") is None
    (warning,) = [w for w in recwarn if w.category is RuntimeWarning]
    assert "has no op 'shift', so its reference is used; `kseg build-ops`" in str(warning.message)
    assert _library.op_states(["shift"]) == {"shift": "reference (not in the compiled library)"}


def test_loading_happens_once_from_many_threads():
    opened = []

    class Slow(_library._Library):
        def _open(self):
            opened.append(threading.get_ident())
            return "module"

    library = Slow("a library")
    results = []
    threads = [threading.Thread(target=lambda: results.append(library.load())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["module"] * 8
    assert len(opened) == 1


def test_a_gradient_can_be_registered_by_two_copies_of_a_module():
    first = _library.register_gradient("KsegTestOnly>Op")(lambda op, gradient: gradient)
    assert callable(first)
    with pytest.raises(KeyError):
        tf.RegisterGradient("KsegTestOnly>Op")(lambda op, gradient: gradient)
    second = _library.register_gradient("KsegTestOnly>Op")(lambda op, gradient: -gradient)
    assert callable(second)

"""Which CUDA kernels a build compiles, and which ops run natively where a GPU is visible."""

from __future__ import annotations

import pytest

from kseg_ops import _library, _toolchain, build

GPU_WHEEL = _toolchain.TensorFlow("2.21.0", [], [], "", cuda=True, cuda_version="12.5.1")
CPU_WHEEL = _toolchain.TensorFlow("2.21.0", [], [], "", cuda=False)

needs_native = pytest.mark.skipif(_library.native_op("roi_align") is None, reason="about the compiled ops")


@pytest.fixture(autouse=True)
def _no_wishes(monkeypatch):
    monkeypatch.delenv("KSEG_CUDA", raising=False)
    monkeypatch.delenv("KSEG_CUDA_ARCHS", raising=False)


def test_the_wheel_decides(monkeypatch):
    assert _toolchain.cuda_settings(GPU_WHEEL) == {"KSEG_CUDA": "ON", "KSEG_TF_CUDA_VERSION": "12.5.1"}
    assert _toolchain.cuda_settings(CPU_WHEEL)["KSEG_CUDA"] == "OFF"
    monkeypatch.setenv("KSEG_CUDA", "1")
    assert _toolchain.cuda_settings(CPU_WHEEL)["KSEG_CUDA"] == "OFF"


def test_cuda_can_be_left_out(monkeypatch):
    monkeypatch.setenv("KSEG_CUDA", "0")
    assert _toolchain.cuda_settings(GPU_WHEEL)["KSEG_CUDA"] == "OFF"


def test_compute_capabilities_can_be_chosen(monkeypatch):
    for text in ("80 90", "80;90", " 90, 80 ", "90 80 90"):
        monkeypatch.setenv("KSEG_CUDA_ARCHS", text)
        assert _toolchain.cuda_settings(GPU_WHEEL)["KSEG_CUDA_ARCHS"] == "80;90"
    for text in ("sm_90", "20", "0", "９０"):
        monkeypatch.setenv("KSEG_CUDA_ARCHS", text)
        with pytest.raises(_toolchain.BuildError, match=f"capabilities of 8.0 or later such as '80 90', got '{text}'"):
            _toolchain.cuda_settings(GPU_WHEEL)
        assert "KSEG_CUDA_ARCHS" not in _toolchain.cuda_settings(CPU_WHEEL)


def test_a_wish_that_makes_no_sense_leaves_the_library_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "find_tensorflow", lambda isolated: GPU_WHEEL)
    monkeypatch.setenv("KSEG_CUDA_ARCHS", "sm_90")
    (tmp_path / "_ops.so").write_bytes(b"precious")
    with pytest.raises(_toolchain.BuildError, match="KSEG_CUDA_ARCHS"):
        build.build_native(output_dir=tmp_path, build_dir=tmp_path / "build", log=lambda line: None)
    assert (tmp_path / "_ops.so").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "record", ['{"cuda_ops": 5}', '{"cuda_ops": null, "problems": 7}', '{"problems": [3], "built": {"a": 1}}', "[]"]
)
def test_a_record_of_nonsense_is_no_record(tmp_path, record):
    (tmp_path / "build_info.json").write_text(record)
    assert _library.read_record(tmp_path / "build_info.json") == {}
    wanted = {"kseg": "1", "python": "a", "tensorflow": "2.21.0"}
    assert not build._fits(_library.read_record(tmp_path / "build_info.json"), wanted)


def test_the_two_wheels_build_apart():
    assert GPU_WHEEL.label != CPU_WHEEL.label


@needs_native
@pytest.mark.parametrize("op", build.list_ops())
def test_a_visible_gpu_takes_ops_that_have_no_cuda_kernel_to_the_reference(monkeypatch, op):
    monkeypatch.setattr(_library, "_gpu_visible", lambda: True)
    monkeypatch.setattr(_library._tf_library, "cuda_ops", ())
    assert _library.native_op(op) is None
    assert "no CUDA kernel" in _library.op_states([op])[op]
    assert "no CUDA kernels" in _library.xla_problem()


@needs_native
def test_a_visible_gpu_and_cuda_kernels(monkeypatch):
    monkeypatch.setattr(_library, "_gpu_visible", lambda: True)
    monkeypatch.setattr(_library._tf_library, "cuda_ops", ("roi_align", "nms"))
    assert _library.native_op("roi_align") is not None
    assert _library.native_op("roi_align_grad") is not None
    assert _library.native_op("batched_nms") is None
    assert _library.op_states(["nms", "mask_nms"])["nms"] == "native"
    assert "CUDA kernels" not in _library.xla_problem()

"""Reading checkpoint files: types, nesting, prefixes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from kseg.weights import WeightsError
from kseg.weights.reading import read_state

pytest.importorskip("safetensors", reason="the checkpoints are .safetensors files")

from safetensors.numpy import save_file

VALUES = np.array([[0.0, 1.5, -2.25], [1024.0, -0.15625, 3.0]], np.float32)  # all of them exact in bfloat16


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason=".pth files need torch")


def write_raw(path, dtype, data, shape):
    """A .safetensors file with one tensor of any type."""
    header = b'{"a":{"dtype":"%s","shape":%s,"data_offsets":[0,%d]}}' % (
        dtype.encode(),
        str(list(shape)).encode(),
        len(data),
    )
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_safetensors_hold_what_was_saved(tmp_path, dtype):
    save_file({"a": VALUES.astype(dtype)}, tmp_path / "a.safetensors")
    read = read_state(tmp_path / "a.safetensors")
    assert read["a"].dtype == dtype
    np.testing.assert_array_equal(read["a"], VALUES)


def test_safetensors_of_bfloat16(tmp_path):
    upper_halves = (VALUES.view(np.uint32) >> 16).astype("<u2")
    write_raw(tmp_path / "a.safetensors", "BF16", upper_halves.tobytes(), VALUES.shape)
    read = read_state(tmp_path / "a.safetensors")["a"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, VALUES)


def test_types_that_are_no_weights_are_told_not_read(tmp_path):
    write_raw(tmp_path / "a.safetensors", "F8_E4M3", bytes(6), (2, 3))
    assert read_state(tmp_path / "a.safetensors") == {"a": "of type F8_E4M3"}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_and_counters_go(tmp_path, prefix):
    tensors = {"conv1.weight": VALUES, "bn1.num_batches_tracked": np.array(3)}
    save_file({prefix + name: value for name, value in tensors.items()}, tmp_path / "a.safetensors")
    assert set(read_state(tmp_path / "a.safetensors")) == {"conv1.weight"}


def test_a_prefix_of_some_names_stays(tmp_path):
    save_file({"module.a": VALUES, "b": VALUES}, tmp_path / "a.safetensors")
    assert set(read_state(tmp_path / "a.safetensors")) == {"module.a", "b"}


def test_suffixes_in_capitals(tmp_path):
    save_file({"a": VALUES}, tmp_path / "a.SafeTensors")
    np.testing.assert_array_equal(read_state(tmp_path / "a.SafeTensors")["a"], VALUES)


def test_pth_of_every_type(torch, tmp_path):
    types = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    state = {str(number): torch.tensor(VALUES).to(dtype) for number, dtype in enumerate(types)}
    torch.save({**state, "c": torch.nn.Parameter(torch.tensor(VALUES)), "n": torch.tensor(3)}, tmp_path / "a.pth")
    read = read_state(tmp_path / "a.pth")
    for name in (*state, "c"):
        assert read[name].dtype == (np.float64 if name == "3" else np.float32)
        np.testing.assert_array_equal(read[name], VALUES)
    assert read["n"].dtype == np.int64


@pytest.mark.parametrize("key", ["model", "state_dict"])
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_pth_of_a_training_script(torch, tmp_path, key, suffix):
    state = {"module.a": torch.tensor(VALUES), "module.b.num_batches_tracked": torch.tensor(1)}
    torch.save({key: state, "optimizer": {"lr": 0.1, "state": {}}, "epoch": 3}, tmp_path / f"a{suffix}")
    read = read_state(tmp_path / f"a{suffix}")
    assert set(read) == {"a"}
    np.testing.assert_array_equal(read["a"], VALUES)


def test_pth_of_the_format_before_archives(torch, tmp_path):
    torch.save({"a": torch.tensor(VALUES)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(read_state(tmp_path / "a.pth")["a"], VALUES)


def test_tensors_that_numpy_has_not_are_told_not_read(torch, tmp_path):
    torch.save({"a": torch.eye(2).to_sparse()}, tmp_path / "a.pth")
    assert read_state(tmp_path / "a.pth") == {"a": "sparse"}


@pytest.mark.parametrize(
    ("suffix", "package", "fix"),
    [(".pth", "torch", "have the file as .safetensors"), (".safetensors", "safetensors", r"pip install 'kseg\[wei")],
)
def test_a_missing_package_is_named_with_the_fix(tmp_path, monkeypatch, suffix, package, fix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"whatever")
    monkeypatch.setitem(__import__("sys").modules, package, None)  # makes its import fail
    with pytest.raises(ImportError, match=f"(?s)a{suffix}.*{package}, which is not installed.*{fix}"):
        read_state(path)


def test_a_torch_that_is_unsafe_is_not_used(torch, tmp_path, monkeypatch):
    torch.save({"a": torch.tensor(VALUES)}, tmp_path / "a.pth")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(ImportError, match=r"torch 2\.5\.1\+cpu may run code .* at least 2\.6 is needed"):
        read_state(tmp_path / "a.pth")


def test_errors_are_value_errors():
    assert issubclass(WeightsError, ValueError)

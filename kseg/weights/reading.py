"""From a checkpoint file to arrays by name."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kseg.weights.errors import WeightsError, listed

# Under which training scripts keep the network's tensors, beside those of the optimizer.
NESTED_UNDER = ("model", "state_dict")
# What wrappers put before every name: data parallelism and compilation.
WRAPPED_IN = ("module.", "_orig_mod.")
# weights_only ran code from crafted files in earlier ones (CVE-2025-32434).
LEAST_TORCH = (2, 6)
# Step counters of batch normalisation, which no inference needs.
COUNTER = "num_batches_tracked"


def read_state(path: Path) -> dict[str, np.ndarray | str]:
    """The tensors of a checkpoint by the names that they have in it, wrappers' prefixes and counters left out.

    Args:
        path: a `.safetensors`, `.pth` or `.pt` file.

    Returns:
        Arrays by name. A text instead of an array says what kept it from becoming one.

    Raises:
        WeightsError: no such file, another kind of file, a damaged one, or one without a state dictionary.
        ImportError: the package that reads files of this kind is missing; says how to get it.
    """
    readers = {".safetensors": _read_safetensors, ".pth": _read_torch, ".pt": _read_torch}
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; expected a .safetensors, .pth or .pt file")
    if not path.exists():
        raise WeightsError(f"{path} does not exist; expected a .safetensors, .pth or .pt file")
    if path.suffix.lower() not in readers:
        raise WeightsError(
            f"{path}: expected a file named .safetensors, .pth or .pt, got {path.suffix or 'no suffix'!r}"
            + _OTHER_SUFFIXES.get(path.suffix.lower(), "")
        )
    state = readers[path.suffix.lower()](path)
    if not state:
        raise WeightsError(f"{path} holds no tensors; expected the state dictionary of a network")
    while prefix := next((prefix for prefix in WRAPPED_IN if all(name.startswith(prefix) for name in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return {name: value for name, value in state.items() if name.rpartition(".")[2] != COUNTER}


_OTHER_SUFFIXES = {
    ".keras": ". Whole Keras models are read by keras.models.load_model",
    ".h5": ". Weights that Keras wrote are read by model.load_weights",
    ".bin": ". Rename it to .pth if torch.save wrote it",
    ".ckpt": ". Rename it to .pth if torch.save wrote it",
}


def _read_safetensors(path):
    safetensors = _needed("safetensors", path, "pip install 'kseg[weights]'")
    try:
        # Not through safetensors.numpy, which knows no bfloat16.
        tensors = sorted(safetensors.deserialize(path.read_bytes()))
    except safetensors.SafetensorError as error:
        raise _unreadable(path, "a whole .safetensors file", ".safetensors", error) from error
    return {name: _from_bytes(tensor) for name, tensor in tensors}


_NUMPY_TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "I8": "i1", "U8": "u1", "BOOL": "?"},
}


def _from_bytes(tensor):
    if tensor["dtype"] == "BF16":  # the upper half of a float32
        halves = np.frombuffer(tensor["data"], "<u2").astype("<u4")
        return (halves << 16).view("<f4").reshape(tensor["shape"])
    dtype = _NUMPY_TYPES.get(tensor["dtype"])
    if dtype is None:
        return f"of type {tensor['dtype']}"
    return np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"])


def _read_torch(path):
    fix = "pip install torch, or have the file as .safetensors, which needs no torch"
    torch = _needed("torch", path, fix)
    version = tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
    if version < LEAST_TORCH:
        raise ImportError(
            f"{path}: torch {torch.__version__} may run code that is hidden in a file of weights; at least "
            f"{LEAST_TORCH[0]}.{LEAST_TORCH[1]} is needed to read .pth files. Update torch, or have the file as "
            ".safetensors"
        )
    try:
        with warnings.catch_warnings():  # of the format's age, and of what the error below says better
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged pickle or archive leads to
        raise _refused(path, error) from error
    return {name: _from_torch(value, torch) for name, value in _state_dictionary(path, loaded, torch).items()}


def _refused(path, error):
    """Why torch did not read a file, in our words: its own recommend to read it unsafely."""
    if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return WeightsError(
            f"{path} holds more than tensors ({found[1]}), and reading that could run code from the file, so it was "
            "not read. Where you trust its origin, load it in PyTorch and save only the tensors: "
            "torch.save(network.state_dict(), ...)"
        )
    if "TorchScript" in str(error):
        return WeightsError(
            f"{path} is a TorchScript archive, a program; expected a state dictionary. Save only the tensors: "
            "torch.save(torch.jit.load(...).state_dict(), ...)"
        )
    return _unreadable(path, "a whole file of torch.save", ".pth")


def _state_dictionary(path, loaded, torch):
    """The dictionary of tensors in what was loaded, which may lie beside an optimizer's."""
    if isinstance(loaded, Mapping):
        inner = [name for name in NESTED_UNDER if isinstance(loaded.get(name), Mapping)]
        if len(inner) > 1:
            raise WeightsError(f"{path} holds two state dictionaries, {' and '.join(map(repr, inner))}; save one alone")
        state = loaded[inner[0]] if inner else loaded
        strangers = [name for name, value in state.items() if not _is_named_tensor(name, value, torch)]
        if not strangers:
            return state
        found = f"a dictionary with {listed(map(repr, strangers), 5)}"
    else:
        found = f"a {type(loaded).__name__}"
    raise WeightsError(
        f"{path} holds {found}; expected a state dictionary: tensors by name, at the top or under "
        f"{' or '.join(map(repr, NESTED_UNDER))}"
    )


def _is_named_tensor(name, value, torch):
    return isinstance(name, str) and isinstance(value, torch.Tensor)


def _from_torch(tensor, torch):
    if tensor.is_quantized or tensor.layout != torch.strided:
        return "quantised" if tensor.is_quantized else "sparse"
    if tensor.device.type == "meta":
        return 'without values, on the device "meta": save the network after its weights are loaded'
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor).numpy()


def _needed(package, path, fix):
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(f"{path}: {path.suffix} files are read by {package}, which is not installed: {fix}") from None


# A long integer of ten bytes, with which torch.save began before its files were archives.
_BEFORE_ARCHIVES = b"\x80\x02\x8a\x0a"


def _format_of(start):
    """The suffix that the first bytes of a file stand for, or None."""
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):  # archive, pickle
        return ".pth"
    return ".safetensors" if start[8:9] == b"{" and start[6:8] == b"\0\0" else None  # the header's length, its text


def _unreadable(path, expected, suffix, error=None):
    with open(path, "rb") as file:
        start = file.read(64)
    other = _format_of(start)
    start = start.lstrip()
    if other not in (None, suffix):
        return WeightsError(
            f"{path} is not {expected}: its content is that of a {other} file. Rename it to {path.stem}{other}"
        )
    if other == ".pth" and start.startswith(b"\x80") and not start.startswith(_BEFORE_ARCHIVES):
        return WeightsError(
            f"{path} is not {expected}: it is a pickle that something else wrote. Where you trust its origin, load it "
            "with what wrote it and save only the tensors: torch.save(tensors, ...)"
        )
    if start.startswith(b"version https://git-lfs"):
        reason = "it is a Git LFS pointer, not the file itself: git lfs pull fetches that"
    elif start[:1] == b"<":
        reason = "it starts like a web page: the download failed"
    elif not start:
        reason = "it is empty"
    else:
        reason = f"it is damaged, cut off or of another format{f' ({error})' if error else ''}"
    return WeightsError(f"{path} is not {expected}: {reason}. Get it again")

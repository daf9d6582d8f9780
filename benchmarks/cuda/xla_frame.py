"""Calls XLA's handlers without XLA, over the kernels on the CPU: `cpp/cuda_harness/xla_frame.cc` through ctypes."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cuda.build import HarnessError, build
from benchmarks.cuda.device import BFloat16
from benchmarks.cuda.jax_calls import StoredCall

# XLA's numbers: of types of elements, of kinds of attributes, and the names of error codes that handlers use.
_TYPES = {"bool": 1, "int8": 2, "int32": 4, "int64": 5, "uint8": 6, "uint16": 7, "float16": 10, "float32": 11}
_TYPES |= {"float64": 12, "bfloat16": 16}
_LIST, _SCALAR, _TEXT = 1, 3, 4
_CODES = {3: "INVALID_ARGUMENT", 8: "RESOURCE_EXHAUSTED", 13: "INTERNAL"}
_GUARD_BYTES = 256
_GUARD = 0xA5


class _Array(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int64),
        ("rank", ctypes.c_int64),
        ("shape", ctypes.c_int64 * 8),
    ]


class _Attribute(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("kind", ctypes.c_int64),
        ("type", ctypes.c_int64),
        ("size", ctypes.c_int64),
    ]


def build_frame(include: Path | str, native: Path | str) -> ctypes.CDLL:
    """Builds the library of all handlers and loads it.

    Args:
        include: the folder with xla/ffi/api.
        native: the folder with libkseg_kernels.so.
    """
    folder = build("xla", XLA_INCLUDE=str(include), NATIVE=str(native))
    return ctypes.CDLL(str(folder / "libkseg_xla_host.so"))


class _Memory:
    """A copy of an array between guard bands."""

    def __init__(self, like: np.ndarray):
        self.like = like
        self.bytes = np.full(like.nbytes + 2 * _GUARD_BYTES, _GUARD, np.uint8)
        self.inner[:] = np.ascontiguousarray(like).reshape(-1).view(np.uint8)

    @property
    def inner(self) -> np.ndarray:
        return self.bytes[_GUARD_BYTES : _GUARD_BYTES + self.like.nbytes]

    def argument(self) -> _Array:
        name = "bfloat16" if isinstance(self.like, BFloat16) else self.like.dtype.name
        shape = (ctypes.c_int64 * 8)(*self.like.shape)
        return _Array(self.bytes.ctypes.data + _GUARD_BYTES, _TYPES[name], self.like.ndim, shape)

    def numpy(self) -> np.ndarray:
        outside = np.concatenate([self.bytes[:_GUARD_BYTES], self.bytes[_GUARD_BYTES + self.like.nbytes :]])
        if (outside != _GUARD).any():
            raise HarnessError(f"a kernel wrote beside an array of shape {self.like.shape}")
        array = self.inner.copy().view(self.like.dtype).reshape(self.like.shape)
        return array.view(BFloat16) if isinstance(self.like, BFloat16) else array


class FrameCaller:
    """Makes stored calls as XLA would.

    Args:
        library: of `build_frame`.
        platform: "cpu" or "CUDA": whose handlers.
    """

    def __init__(self, library: ctypes.CDLL, platform: str):
        self.platform, self._library = platform, library
        self._prefix = "kseg_xla_cuda_" if platform == "CUDA" else "kseg_xla_"
        self._poison = 0xFF

    def run(self, call: StoredCall, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The handler's results. Undefined memory holds something else from call to call.

        On CUDA, inputs that come as attributes are overwritten: the host could not read a GPU's memory.

        Raises:
            HarnessError: the handler refused the call, or wrote where it must not.
        """
        self._poison ^= 0xEE
        given = [_Memory(one) for one in inputs]
        if self.platform == "CUDA":
            for position in call.constants:
                given[position].inner[:] = 0x7F
        before = [memory.bytes.copy() for memory in given]
        made = [_Memory(np.empty_like(one)) for one in call.results]
        for memory in made:
            memory.inner[:] = self._poison
        arrays = [memory.argument() for memory in (*given, *made)]
        kept, attributes = [], []
        for name, value in call.attributes.items():
            attributes.append(_attribute(name, value, kept))
        message = ctypes.c_char_p()
        code = self._library.kseg_call_handler(
            getattr(self._library, self._prefix + call.op),
            (_Array * len(arrays))(*arrays),
            ctypes.c_int64(len(given)),
            ctypes.c_int64(len(made)),
            (_Attribute * max(len(attributes), 1))(*attributes),
            ctypes.c_int64(len(attributes)),
            ctypes.c_int64(self._poison),
            ctypes.byref(message),
        )
        if code:
            raise HarnessError(f"{_CODES.get(code, code)}: {message.value.decode()}")
        if any((memory.bytes != bytes_).any() for memory, bytes_ in zip(given, before, strict=True)):
            raise HarnessError("a kernel wrote to an input")
        return [memory.numpy() for memory in made]


def _attribute(name: str, value: Any, kept: list) -> _Attribute:
    """`kept` keeps alive what the attribute points to."""
    if isinstance(value, str):
        array, kind, kind_of_elements = np.frombuffer(value.encode() + b"\0", np.uint8), _TEXT, 0
        size = array.size - 1
    else:
        array = np.ascontiguousarray(value)
        kind, kind_of_elements, size = (_LIST if np.ndim(value) else _SCALAR), _TYPES[array.dtype.name], array.size
    kept.append(array)
    return _Attribute(name.encode(), array.ctypes.data, kind, kind_of_elements, size)

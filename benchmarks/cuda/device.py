"""NumPy arrays in, NumPy arrays out: the CUDA kernels through `cpp/cuda_harness`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.cuda.build import HarnessError, build

GUARD_BYTES = 512
_GUARD = 0xA5

# In the order of Dtype in cpp/cuda_harness/harness.h. NumPy has no bfloat16: BFloat16 stands for it.
_CODES = {
    name: code
    for code, name in enumerate(
        [
            "float32",
            "float16",
            "bfloat16",
            "int8",
            "uint8",
            "int16",
            "int32",
            "uint32",
            "int64",
            "uint64",
            "bool",
            "float64",
        ]
    )
}


class BFloat16(np.ndarray):
    """The bits of bfloat16 numbers, as uint16."""

    @classmethod
    def from_float(cls, values: np.ndarray) -> BFloat16:
        """Rounds to nearest even."""
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        rounded = np.where(np.isnan(values), bits >> 16 | 0x40, rounded)
        return rounded.astype(np.uint16).view(cls)

    def to_float(self) -> np.ndarray:
        """The numbers as float32, exactly."""
        return (np.asarray(self).astype(np.uint32) << 16).view(np.float32)


def convert(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 numbers as "float32", "float16" or "bfloat16"."""
    return BFloat16.from_float(values) if dtype == "bfloat16" else np.asarray(values, dtype)


def to_float(array: np.ndarray) -> np.ndarray:
    """The numbers of a float array of any width as float32."""
    return array.to_float() if isinstance(array, BFloat16) else np.asarray(array, np.float32)


class _Array(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("dtype", ctypes.c_int64),
        ("rank", ctypes.c_int64),
        ("shape", ctypes.c_int64 * 8),
    ]


class DeviceArray:
    """An array in device memory, between guard bands."""

    def __init__(self, device: Device, like: np.ndarray, upload: bool):
        self.device, self.shape, self.kind, self.bytes = device, like.shape, type(like), like.nbytes
        self.dtype = like.dtype
        self._memory = device.allocate(self.bytes + 2 * GUARD_BYTES)
        contents = np.full(self.bytes + 2 * GUARD_BYTES, _GUARD, np.uint8)
        inner = contents[GUARD_BYTES : GUARD_BYTES + self.bytes]
        inner[:] = np.ascontiguousarray(like).reshape(-1).view(np.uint8) if upload else device.poison
        device.upload(self._memory, contents)

    @property
    def argument(self) -> _Array:
        name = "bfloat16" if issubclass(self.kind, BFloat16) else self.dtype.name
        shape = (ctypes.c_int64 * 8)(*self.shape)
        return _Array(self._memory + GUARD_BYTES, _CODES[name], len(self.shape), shape)

    def numpy(self) -> np.ndarray:
        """The contents; raises HarnessError if a kernel wrote outside of them."""
        contents = self.device.download(self._memory, self.bytes + 2 * GUARD_BYTES)
        for part, where in ((contents[:GUARD_BYTES], "before"), (contents[GUARD_BYTES + self.bytes :], "behind")):
            if (part != _GUARD).any():
                raise HarnessError(f"a kernel wrote {where} an array of shape {self.shape}")
        inner = contents[GUARD_BYTES : GUARD_BYTES + self.bytes].copy()
        array = inner.view(self.dtype).reshape(self.shape)
        return array.view(BFloat16) if issubclass(self.kind, BFloat16) else array

    def __del__(self):
        self.device.free(self._memory)


class Device:
    """A GPU, or the CPU that runs the same kernels.

    Args:
        library: `libkseg_cuda.so` or `libkseg_cuda_host.so`.
    """

    def __init__(self, library: Path | str):
        self._library = ctypes.CDLL(str(library))
        self._function("device_new", ctypes.c_void_p)
        self._handle = ctypes.c_void_p(self._library.kseg_device_new())
        self.name = self._text("name")
        self.poison = 0xFF
        if error := self._text("error"):
            raise HarnessError(error)

    @classmethod
    def open(cls, target: str, **variables) -> Device:
        """Builds what `target` ("gpu" or "host") needs, with what else `build` takes, and opens it."""
        folder = build(target, **variables)
        return cls(folder / ("libkseg_cuda.so" if target == "gpu" else "libkseg_cuda_host.so"))

    def _function(self, name: str, result=ctypes.c_int64):
        function = getattr(self._library, f"kseg_{name}")
        function.restype = result
        return function

    def _text(self, name: str) -> str:
        return self._function(f"device_{name}", ctypes.c_char_p)(self._handle).decode()

    def _check(self, failed: int) -> None:
        if failed:
            raise HarnessError(self._text("error"))

    def vary(self, poison: int = 0xFF, order: str = "forward", seed: int = 0, most_blocks: int = 0) -> None:
        """Sets how undefined things turn out: what undefined memory holds and, on the CPU, the order of threads.

        Args:
            poison: a byte.
            order: "forward", "backward" or "shuffled".
            seed: of the shuffling.
            most_blocks: of a launch, on the CPU, so that a block takes several units of work; 0: as on a GPU.
        """
        self.poison = poison
        orders = ["forward", "backward", "shuffled"]
        arguments = (ctypes.c_int64(value) for value in (poison, orders.index(order), seed, most_blocks))
        self._function("device_vary", None)(self._handle, *arguments)

    def allocate(self, size: int) -> int:
        memory = ctypes.c_void_p()
        self._check(self._function("device_allocate")(self._handle, ctypes.c_int64(size), ctypes.byref(memory)))
        return memory.value

    def free(self, memory: int) -> None:
        self._function("device_free", None)(self._handle, ctypes.c_void_p(memory))

    def upload(self, memory: int, contents: np.ndarray) -> None:
        arguments = (ctypes.c_void_p(memory), contents.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(contents.nbytes))
        self._check(self._function("device_upload")(self._handle, *arguments))

    def download(self, memory: int, size: int) -> np.ndarray:
        contents = np.empty(size, np.uint8)
        arguments = (contents.ctypes.data_as(ctypes.c_void_p), ctypes.c_void_p(memory), ctypes.c_int64(size))
        self._check(self._function("device_download")(self._handle, *arguments))
        return contents

    def array(self, values: np.ndarray) -> DeviceArray:
        """A copy of `values` on the device."""
        return DeviceArray(self, values, upload=True)

    def empty(self, like: np.ndarray) -> DeviceArray:
        """Room for an array of the shape and dtype of `like`, poisoned."""
        return DeviceArray(self, like, upload=False)

    def launch(self, name: str, arrays: Sequence[DeviceArray], numbers: Sequence[float] = (), repeats: int = 1) -> None:
        """Calls `KSEG_HARNESS(name)`; once with scratch memory checked and poisoned, several times without.

        Raises:
            HarnessError: the launcher refused its arguments, or the kernel failed.
        """
        arguments = (_Array * max(len(arrays), 1))(*(array.argument for array in arrays))
        values = (ctypes.c_double * max(len(numbers), 1))(*numbers)
        counts = ctypes.c_int64(len(arrays)), ctypes.c_int64(len(numbers)), ctypes.c_int64(repeats)
        function = self._function(f"run_{name}")
        self._check(function(self._handle, arguments, counts[0], values, counts[1], counts[2]))

    def run(
        self, name: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], numbers: Sequence[float] = ()
    ) -> list[np.ndarray]:
        """Launches `name` on copies of `inputs`, followed by outputs of the shapes and dtypes of `outputs`.

        Returns:
            What was written to the outputs. That no input was written to is checked.
        """
        given = [self.array(values) for values in inputs]
        made = [self.empty(values) for values in outputs]
        self.launch(name, [*given, *made], numbers)
        for values, array in zip(inputs, given, strict=True):
            if array.numpy().tobytes() != np.ascontiguousarray(values).tobytes():
                raise HarnessError(f"{name} wrote to an input of shape {values.shape}")
        return [array.numpy() for array in made]

    def milliseconds(
        self, name: str, arrays: Sequence[DeviceArray], numbers: Sequence[float] = (), repeats: int = 20
    ) -> float:
        """The time of one launch, over `repeats` in a row. 0 on the CPU, which proves and does not race."""
        self.launch(name, arrays, numbers, max(repeats, 2))
        return self._function("device_milliseconds", ctypes.c_double)(self._handle) / max(repeats, 2)

    @property
    def scratch_bytes(self) -> int:
        """What the last launch took of scratch memory."""
        return self._function("device_scratch_bytes")(self._handle)

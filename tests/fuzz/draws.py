"""Random arguments for the raw ops: valid ones with hard values in them, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

FLOATS = (np.float32, np.float16, ml_dtypes.bfloat16)
# Besides ordinary numbers: what breaks comparisons, conversions to integers, and products.
HARD_FLOATS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, -1e38, 3e9, -3e9, 1e-40, 65504.0, 2.0**24, 0.5)
HARD_INTS = (0, -1, 1, 2**15, 2**31 - 1, -(2**31), 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))


@dataclass
class Draw:
    """The arguments of one call.

    Attributes:
        arrays: Inputs by the raw TensorFlow op's names.
        attributes: The raw op's attributes other than types.
        absent: Inputs that are empty because that stands for none.
    """

    arrays: dict[str, Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    def zero_size(self) -> bool:
        """Whether an input that is not absent holds nothing."""
        present = (name for name in self.arrays if name not in self.absent)
        return any(array.size == 0 for name in present for array in self.each_array(name))

    def each_array(self, name: str) -> list[np.ndarray]:
        """The array of an input, or those in its list."""
        value = self.arrays[name]
        return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Case:
    """How to attack one function of the compiled library.

    Attributes:
        name: The raw op, `kseg_<name>` of the TensorFlow library and `<name>` of the NumPy module.
        draw: Makes valid arguments, given a generator.
        tensorflow: False for a function that only the NumPy module has.
        numpy: Turns a draw into the keyword arguments of the NumPy function; None if there is no such function.
        words: Further names that an error message may use for an argument (`num_boxes`, "shape", ...).
        sizes: Integer inputs that say how large the result is.
    """

    name: str
    draw: Callable[[np.random.Generator], Draw]
    tensorflow: bool = True
    numpy: Callable[[Draw], dict[str, Any]] | None = None
    words: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()


def same_names(draw: Draw) -> dict[str, Any]:
    """For NumPy functions whose keywords are the TensorFlow op's."""
    return {**draw.arrays, **draw.attributes}


def extent(rng: np.random.Generator, most: int = 20) -> int:
    """A size: mostly small, sometimes 1 or a little beyond a vector's length, seldom 0."""
    kind = rng.random()
    if kind < 0.02:
        return 0
    if kind < 0.15:
        return 1
    if kind < 0.25:
        return int(rng.choice([15, 16, 17, 31, 33, 64, 65]))
    return int(rng.integers(1, most + 1))


def shape(rng: np.random.Generator, *most: int) -> tuple[int, ...]:
    """A shape of `extent`s, with the largest axes cut until it holds at most about 20,000 elements."""
    sizes = [extent(rng, limit) for limit in most]
    while np.prod(sizes) > 20000:
        sizes[int(np.argmax(sizes))] //= 2
    return tuple(sizes)


def floats(rng: np.random.Generator, size: tuple[int, ...], dtype=None, scale: float = 3.0) -> np.ndarray:
    """Normal numbers; in one of four arrays some are hard values."""
    dtype = dtype or FLOATS[rng.integers(len(FLOATS))]
    values = rng.normal(0, scale, size)
    if rng.random() < 0.25 and values.size:
        where = rng.random(size) < rng.choice([0.02, 0.3, 1.0])
        values = np.where(where, rng.choice(HARD_FLOATS, size), values)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def boxes(rng: np.random.Generator, count: tuple[int, ...], height: float, width: float) -> np.ndarray:
    """`count + (4,)` boxes around a map of that size, some inverted, empty, far outside or not finite."""
    corners = rng.uniform(-0.3, 1.3, (*count, 2, 2)) * [max(width, 1), max(height, 1)]
    if rng.random() < 0.8:
        corners.sort(axis=-2)
    result = corners.reshape(*count, 4)
    if rng.random() < 0.25 and result.size:
        where = rng.random(result.shape) < 0.2
        result = np.where(where, rng.choice(HARD_FLOATS, result.shape), result)
    return result.astype(np.float32)


def integers(
    rng: np.random.Generator, size: tuple[int, ...], low: int, high: int, dtype=np.int32, hard: float = 0.05
) -> np.ndarray:
    """Integers in `low..high-1`; with probability `hard` a few are out of range."""
    values = rng.integers(low, max(high, low + 1), size).astype(dtype)
    if rng.random() < hard and values.size:
        limits = np.iinfo(dtype)
        fitting = [value for value in (*HARD_INTS, high, low - 1) if limits.min <= value <= limits.max]
        values.flat[rng.integers(values.size)] = rng.choice(np.array(fitting, dtype))
    return values


def spoil(rng: np.random.Generator, draw: Draw, numpy: bool) -> None:
    """Changes one thing so that the call is probably, though not surely, invalid."""
    kinds = [_spoil_rank, _spoil_extent, _spoil_values]
    if draw.attributes:
        kinds += [_spoil_attribute] * 2
    if numpy:
        kinds += [_spoil_dtype, _spoil_layout]
    kinds[rng.integers(len(kinds))](rng, draw)


def _replace(rng: np.random.Generator, draw: Draw, change: Callable[[np.ndarray], np.ndarray]) -> None:
    name = str(rng.choice(list(draw.arrays)))
    value = draw.arrays[name]
    if isinstance(value, list):
        if value:
            at = int(rng.integers(len(value)))
            value[at] = change(value[at])
    else:
        draw.arrays[name] = change(value)


def _spoil_rank(rng: np.random.Generator, draw: Draw) -> None:
    def change(array: np.ndarray) -> np.ndarray:
        kind = rng.integers(3)
        if kind == 0 or array.ndim == 0:
            return array[None]
        return array.reshape(-1) if kind == 1 else np.zeros(array.shape[1:], array.dtype)

    _replace(rng, draw, change)


def _spoil_extent(rng: np.random.Generator, draw: Draw) -> None:
    def change(array: np.ndarray) -> np.ndarray:
        if array.ndim == 0:
            return array
        axis = int(rng.integers(array.ndim))
        sizes = list(array.shape)
        sizes[axis] = max(0, sizes[axis] + int(rng.choice([-1, 1, 2, -sizes[axis]])))
        return np.resize(array, sizes) if array.size else np.zeros(sizes, array.dtype)

    _replace(rng, draw, change)


def _spoil_values(rng: np.random.Generator, draw: Draw) -> None:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        if not array.size:
            return array
        at = rng.integers(array.size)
        if array.dtype.kind in "iu":
            limits = np.iinfo(array.dtype)
            array.flat[at] = rng.choice([value for value in HARD_INTS if limits.min <= value <= limits.max])
        elif array.dtype.kind != "b":
            with np.errstate(over="ignore"):
                array.flat[at] = np.asarray(rng.choice(HARD_FLOATS)).astype(array.dtype)
        return array

    _replace(rng, draw, change)


def _spoil_attribute(rng: np.random.Generator, draw: Draw) -> None:
    name = str(rng.choice(list(draw.attributes)))
    draw.attributes[name] = _spoilt(rng, draw.attributes[name])


def _spoilt(rng: np.random.Generator, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return int(rng.choice(HARD_INTS[:-1]))
    if isinstance(value, float):
        return float(np.float32(rng.choice(HARD_FLOATS)))
    if isinstance(value, str):
        return str(rng.choice(["", "nonsense"]))
    if isinstance(value, (list, tuple)):
        kind = rng.integers(3)
        if kind == 0 or not value:
            return type(value)([*value, 1])
        if kind == 1:
            return value[:-1]
        at = int(rng.integers(len(value)))
        return type(value)(_spoilt(rng, entry) if index == at else entry for index, entry in enumerate(value))
    return value


def _spoil_dtype(rng: np.random.Generator, draw: Draw) -> None:
    others = (np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_, np.complex64, np.uint64)
    with np.errstate(all="ignore"):
        _replace(rng, draw, lambda array: np.nan_to_num(array.astype(np.float32)).astype(others[rng.integers(8)]))


def _spoil_layout(rng: np.random.Generator, draw: Draw) -> None:
    """Strides that are negative, zero or gaping, and the other byte order."""

    def change(array: np.ndarray) -> np.ndarray:
        kind = rng.integers(4)
        if kind == 0:
            return array[::-1] if array.ndim else array
        if kind == 1:
            return np.broadcast_to(array[:1], array.shape) if array.ndim and array.size else array
        if kind == 2:
            return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
        return array.astype(array.dtype.newbyteorder()) if array.dtype.kind in "iuf" else array

    _replace(rng, draw, change)

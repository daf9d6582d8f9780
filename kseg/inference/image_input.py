"""Images as prediction takes them: checked, and read block by block so that a memory-mapped file stays on disk."""

from __future__ import annotations

import os
import warnings

import numpy as np

from kseg.inference.model_spec import ModelSpec

# Rows of an image file that are checked at a time.
_ROWS = 256


def open_image(image, spec: ModelSpec) -> np.ndarray:
    """Returns `image` as an array `(H, W, C)` of its own dtype that fits the model; nothing is copied.

    Args:
        image: `(H, W)` or `(H, W, C)`, any real dtype, an `np.memmap` or another array with NumPy's slicing; or a path.
        spec: facts of the model.

    Raises:
        TypeError: not numbers.
        ValueError: a shape that does not fit the model; a file that holds values that are not finite. Arrays are
            looked at block by block, in `read_block`.
    """
    if isinstance(image, (str, os.PathLike)):
        from kseg.data import read_image

        path, image = image, read_image(image, channels=spec.channels)
        for row in range(0, len(image), _ROWS):
            _check_finite(image[row : row + _ROWS], row, 0, name=str(path))
    if not isinstance(image, np.ndarray):
        image = _as_array(image)
    if image.dtype.kind not in "uif" and image.dtype.name != "bfloat16":
        raise TypeError(
            f"image must hold integers or floats; got dtype {image.dtype}. Convert it: image.astype('float32')."
        )
    if image.ndim == 2:
        image = image[..., np.newaxis]
    if image.ndim != 3:
        raise ValueError(f"image must have the shape (H, W) or (H, W, C); got {image.shape}.")
    if 0 in image.shape:
        raise ValueError(f"image must not be empty; got the shape {image.shape}.")
    if image.shape[-1] != spec.channels:
        raise ValueError(_channel_message(image.shape, spec.channels))
    return image


def _as_array(image):
    if isinstance(image, (list, tuple)) and len({str(getattr(one, "shape", None)) for one in image}) > 1:
        shapes = ", ".join(str(getattr(one, "shape", type(one).__name__)) for one in image[:3])
        raise ValueError(
            f"image must be one image or a batch of one size; got a list of {len(image)} of different shapes: {shapes}"
            f"{', ...' if len(image) > 3 else ''}. Predict them one by one, or files with kseg.inference.predict_files."
        )
    return np.asarray(image)


def _channel_message(shape, channels):
    message = f"image must have {channels} channel{'s' * (channels > 1)}, as the model does; got the shape {shape}. "
    if shape[0] == channels:
        return message + "The channels seem to come first: np.moveaxis(image, 0, -1)."
    if shape[-1] == 1:
        return message + f"Repeat the grey channel: np.repeat(image, {channels}, axis=-1)."
    if shape[-1] > channels:
        return message + f"Keep those that the model knows, such as image[..., :{channels}]."
    return message + "Use a model built for this number of channels: input_shape=(None, None, channels)."


def warn_about_range(image: np.ndarray, input_range: tuple[float, float] | None, stacklevel: int = 2) -> None:
    """Warns once per call where the values plainly are not in the range that the model was built for.

    A sample of about 64 x 64 pixels is looked at, so that a memory-mapped image is not read whole.
    """
    if input_range is None:
        return
    low, high = input_range
    # Resampling may swing a little below the range; values far from it, or of another sign, are of another scale.
    slack = 0.01 if low >= 0 else 1.0
    steps = tuple(max(1, n // 64) for n in image.shape[:2])
    sample = _as_float32(image[:: steps[0], :: steps[1]])
    least, most = float(np.min(sample)), float(np.max(sample))
    if not np.isfinite([least, most]).all():
        return  # an error, as soon as these pixels are read
    if image.dtype.kind not in "ui" and high - low > 2 and 0 < most <= 1 and least >= 0:
        warnings.warn(
            f"image holds floats within 0..1, and the model's input_range is ({low:g}, {high:g}): "
            f"multiply the image by {high:g}, or build the model with input_range=(0, 1).",
            stacklevel=stacklevel,
        )
    elif most > high + (high - low) or least < low - slack * (high - low):
        warnings.warn(
            f"image holds values {least:g}..{most:g}, and the model's input_range is ({low:g}, {high:g}): "
            "scale the image to that range, or build the model with the range of the sensor.",
            stacklevel=stacklevel,
        )


def read_block(image: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """Pixels `[first, last)` as float32 `(h, w, C)`; beyond the image they are mirrored about its outermost pixel.

    Args:
        image: `(H, W, C)`.
        rows: first and last row (exclusive); may reach outside `[0, H)`.
        columns: likewise.

    Raises:
        ValueError: a value that is not finite in float32; the text says where.
    """
    row_slice, row_index = _mirrored(*rows, image.shape[0])
    column_slice, column_index = _mirrored(*columns, image.shape[1])
    stored = image[row_slice, column_slice]
    block = _as_float32(stored)
    if stored.dtype.kind not in "ui":
        _check_finite(block, row_slice.start, column_slice.start)
    if row_index is not None:
        block = block[row_index]
    return block if column_index is None else block[:, column_index]


def _as_float32(image: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is reported by `_check_finite`
        return np.asarray(image, np.float32)


def _check_finite(block: np.ndarray, first_row: int, first_column: int, name: str = "image") -> None:
    if block.dtype.kind in "ui":
        return
    block = _as_float32(block)
    finite = np.isfinite(block)
    if not finite.all():
        row, column, channel = (int(part[0]) for part in np.nonzero(~finite))
        raise ValueError(
            f"{name} holds values that are not finite, such as {block[row, column, channel]} at row "
            f"{first_row + row}, column {first_column + column}: replace them, for example with np.nan_to_num."
        )


def _mirrored(first, last, length):
    """The contiguous part to read, and where within it each wanted pixel lies (`None`: as it is)."""
    if first >= 0 and last <= length:
        return slice(first, last), None
    period = max(1, 2 * (length - 1))
    index = np.abs(np.arange(first, last)) % period
    index = np.minimum(index, period - index) if length > 1 else np.zeros_like(index)
    low = int(index.min())
    return slice(low, int(index.max()) + 1), index - low

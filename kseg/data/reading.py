"""Image and mask files to arrays, with all their bits.

Pillow reads PNG, JPEG and BMP; tifffile reads TIFF, which `tf.io.decode_image` does not. Pillow reduces PNG files of 16
bits per channel to 8 unless they are grey, so those go through `tf.io.decode_png`, which keeps them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import BmpImagePlugin, Image, ImageOps, JpegImagePlugin, PngImagePlugin

from kseg.data.errors import DataError, listed
from kseg.data.tiff_reading import tiff_layout, tiff_picture, tiff_stored

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_PNG_PALETTE = 3
_EXIF_ORIENTATION = 0x0112
# Deflate, the densest of the compressions here, makes at most about so many bytes of one.
_MOST_EXPANSION = 1032
_RESTORE = "Take the file as it was published: viewers and converters write the colours of a palette in its place"


@dataclass(frozen=True)
class ImageInfo:
    """What the header of an image file tells, without decoding the pixels.

    Attributes:
        height, width: pixels, after the EXIF orientation is applied.
        channels: as `read_image` would return them with `channels=None`.
        dtype: NumPy name, such as "uint16".
        alpha: whether the last channel is an alpha channel.
    """

    height: int
    width: int
    channels: int
    dtype: str
    alpha: bool


def read_image(path: str | Path, channels: int | None = None) -> np.ndarray:
    """Reads a PNG, JPEG, BMP or TIFF image.

    The format is told by the content, not by the name. JPEG files are turned upright by their EXIF orientation. Palette
    images become RGB, CMYK JPEG becomes RGB, 1-bit images become 0 and 255, and TIFF files in which 0 is white are
    turned around. TIFF stacks with one extra axis (pages, planes or interleaved samples) give that axis as channels.
    There is no limit on the number of pixels, but a header that promises more than the file can hold is an error.

    An alpha channel is kept, as the last channel, when `channels` is None; asking for 1 or 3 channels drops it without
    compositing. Only a channel that the file declares as alpha is dropped.

    Args:
        path: the file.
        channels: None takes the file's; 1 turns RGB into luminance (ITU-R BT.601), 3 repeats a grey channel.

    Returns:
        `(H, W, C)` of the file's dtype: uint8, uint16, int16, uint32, int32, float16, float32 or float64; values
        unscaled.

    Raises:
        DataError: missing or unreadable file, int8, more than one extra axis, or a number of channels that cannot be
            converted.
    """
    image, alpha = _guarded(path, _decode_image)
    return _to_channels(path, image, alpha, channels)


def read_mask(
    path: str | Path, mask_values: dict | None = None, ignore_index: int | None = 255, expected: str | None = None
) -> np.ndarray:
    """Reads a label mask; the numbers stored in the file are the labels.

    Palette files give their indices, not their colours. Grey files of 1, 2 or 4 bits give the stored value, also where
    0 is white.

    Args:
        path: PNG, BMP or TIFF of one channel, or of three with colours in `mask_values`. JPEG is refused: lossy.
        mask_values: from stored value to class, such as `{0: 0, 255: 1}`, or from colour to class, such as
            `{(0, 0, 0): 0, (255, 0, 0): 1}`. Stored values equal to `ignore_index` may be left out.
        ignore_index: the label that is let through `mask_values` unchanged; None for none.
        expected: what the masks of a published data set hold, as a phrase for messages, such as "class numbers 0..20";
            None for one's own masks, of which the messages say how to describe them.

    Returns:
        int32 `(H, W)`.

    Raises:
        DataError: missing or unreadable file; JPEG; several channels without colours in `mask_values`; a value that
            `mask_values` does not hold; values that are not integers.
    """
    raw = _guarded(path, _decode_mask)
    if raw.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # NaN, infinity and 1e30 come out unequal, which is reported below
            whole = raw.astype(np.int64)
        if not np.array_equal(whole, raw):
            raise DataError(
                f"mask {path} holds values that are not integers: save the class numbers as uint8 or uint16"
            )
        raw = whole
    elif raw.dtype.kind not in "iub":
        raise DataError(f"mask {path} has dtype {raw.dtype}: save the class numbers as uint8 or uint16")
    colours = mask_values is not None and any(isinstance(key, tuple) for key in mask_values)
    if expected is not None and (raw.ndim == 3) != colours:
        have = "one channel" if raw.ndim == 2 else f"{raw.shape[-1]} channels"
        raise DataError(f"mask {path} has {have}, expected {expected}. {_RESTORE}")
    if raw.ndim == 3 and not colours:
        raise _colour_error(path, raw)
    if raw.ndim == 2 and colours:
        raise DataError(f"mask {path} has one channel, but mask_values names colours: use plain numbers as its keys")
    if mask_values is None:
        return _as_int32(path, raw)
    return _map_values(path, raw, mask_values, ignore_index, expected)


def probe(path: str | Path) -> ImageInfo:
    """Reads only the header of an image file. Errors as in `read_image`."""
    return _guarded(path, _probe)


def _guarded(path, function):
    """Calls `function(path)`, turning whatever a decoder throws at a broken file into a `DataError` that names it."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes)")
    try:
        return function(path)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, zlib.error, ... for a broken file
        # TensorFlow wraps the sentence that counts in {{function_node ...}} and [Op:...].
        text = re.sub(r"\{\{function_node [^}]*\}\}|\[Op:\w+\].*", "", str(error)).strip()
        detail = text.split("\n")[0].strip() or type(error).__name__
        raise DataError(f"{path} cannot be read: {detail}. Is it truncated, or not an image?") from error


def _magic(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(32)


def _png_header(magic: bytes) -> tuple[int, int, int, int] | None:
    """(width, height, bit depth, colour type) of a PNG file, from its first chunk; None for anything else."""
    if not magic.startswith(_PNG_MAGIC):
        return None
    return struct.unpack(">IIBB", magic[16:26])


def _probe(path: Path) -> ImageInfo:
    magic = _magic(path)
    if magic.startswith(_TIFF_MAGIC):
        with tifffile.TiffFile(path) as tiff:
            layout = tiff_layout(path, tiff)
            return ImageInfo(*layout.shape[:2], layout.picture_channels, layout.picture_dtype, layout.alpha)
    png = _png_header(magic)
    if png and png[2] == 16 and png[3] != 0:
        _check_size(path, png[1], png[0], magic)
        return ImageInfo(png[1], png[0], _PNG_CHANNELS[png[3]], "uint16", png[3] in (4, 6))
    with _open(path, magic) as image:
        width, height = image.size
        if magic.startswith(_JPEG_MAGIC) and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5:  # 5..8 swap the axes
            width, height = height, width
        mode = _target_mode(image)
        bands = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 1)
        dtype = "uint16" if mode.startswith("I;16") else {"I": "int32", "F": "float32"}.get(mode, "uint8")
        return ImageInfo(height, width, bands, dtype, mode in ("LA", "RGBA"))


def _target_mode(image: Image.Image) -> str:
    """The Pillow mode in which an image is taken."""
    if image.mode in ("P", "PA"):
        return "RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB"
    if image.mode == "1":
        return "L"
    if image.mode in ("L", "LA", "RGB", "RGBA", "I", "F") or image.mode.startswith("I;16"):
        return image.mode
    return "RGB"


def _decode_image(path: Path) -> tuple[np.ndarray, bool]:
    """(array H x W x C, whether the last channel is alpha)."""
    magic = _magic(path)
    if magic.startswith(_TIFF_MAGIC):
        return tiff_picture(path)
    png = _png_header(magic)
    if png and png[2] == 16 and png[3] != 0:
        return _decode_png16(path, magic), png[3] in (4, 6)
    with _open(path, magic) as image:
        image.load()
        mode = _target_mode(image)
        if magic.startswith(_JPEG_MAGIC):
            image = ImageOps.exif_transpose(image)
        array = np.asarray(image if image.mode == mode else image.convert(mode))
    if mode.startswith("I;16"):
        array = array.astype(np.uint16)
    return (array if array.ndim == 3 else array[..., None]), mode in ("LA", "RGBA")


def _open(path: Path, magic: bytes) -> Image.Image:
    """Opens a file with Pillow, whatever its size.

    `Image.open` refuses large images by a limit that is one global of the whole process. The classes that it would
    choose by the file's first bytes know no such limit, so they are taken directly, and nobody's setting is touched.
    Formats that kseg does not promise to read go through `Image.open`.
    """
    if magic.startswith(_PNG_MAGIC):
        image = PngImagePlugin.PngImageFile(path)
    elif magic.startswith(_JPEG_MAGIC):
        image = JpegImagePlugin.JpegImageFile(path)
    elif magic.startswith(b"BM"):
        image = BmpImagePlugin.BmpImageFile(path)
    else:
        return Image.open(path)
    try:
        _check_size(path, image.height, image.width, magic)
    except DataError:
        image.close()
        raise
    return image


def _check_size(path: Path, height: int, width: int, magic: bytes) -> None:
    """Raises `DataError` where the header promises more pixels than a file of this length can hold."""
    png = _png_header(magic)
    bits = png[2] if png else 8
    size = path.stat().st_size
    if height * width * bits > 8 * _MOST_EXPANSION * size:
        raise DataError(
            f"{path} cannot be read: its header promises {height}x{width} pixels (height x width), which a file of "
            f"{size} bytes cannot hold. Is it truncated, or not an image?"
        )


def _decode_png16(path: Path, magic: bytes) -> np.ndarray:
    import tensorflow as tf  # only here: the rest of this module needs no TensorFlow

    width, height = _png_header(magic)[:2]
    _check_size(path, height, width, magic)
    with tf.device("CPU:0"):
        return tf.io.decode_png(path.read_bytes(), channels=0, dtype=tf.uint16).numpy()


def _decode_mask(path: Path) -> np.ndarray:
    """The stored numbers: H x W, or H x W x 3 of a colour file."""
    magic = _magic(path)
    if magic.startswith(_JPEG_MAGIC):
        raise DataError(f"mask {path} is a JPEG, whose compression changes the labels: save masks as PNG or TIFF")
    if magic.startswith(_TIFF_MAGIC):
        array, layout = tiff_stored(path)
        array = array[..., :-1] if layout.alpha else array
        return array[..., 0] if array.shape[-1] == 1 else array
    png = _png_header(magic)
    if png and png[2] == 16 and png[3] != 0:
        array = _decode_png16(path, magic)
        return array[..., 0] if array.shape[-1] == 2 else array[..., :3]
    with _open(path, magic) as image:
        image.load()
        if image.mode in ("P", "L", "1") or image.mode.startswith("I;16"):
            array = np.asarray(image)
            if png and png[3] == 0 and png[2] in (2, 4):  # Pillow spreads 2 and 4 bit greys over 0..255
                array = array // (255 // (2 ** png[2] - 1))
            return array.astype(np.uint8) if array.dtype == bool else array
        if image.mode in ("LA", "PA"):
            return np.asarray(image)[..., 0]
        if image.mode in ("I", "F"):
            return np.asarray(image)
        return np.asarray(image.convert("RGB"))


def _as_int32(path, raw: np.ndarray) -> np.ndarray:
    if raw.size and raw.dtype.itemsize >= 4 and (raw.max() > 2**31 - 1 or raw.min() < -(2**31)):
        raise DataError(f"mask {path} holds the value {raw.max()}, which is no class number")
    return raw.astype(np.int32)


def _map_values(path, raw: np.ndarray, mask_values: dict, ignore_index: int | None, expected: str | None) -> np.ndarray:
    table = dict(mask_values)
    if raw.ndim == 3:
        wrong = [key for key in table if not isinstance(key, tuple) or len(key) != raw.shape[-1]]
        if wrong:
            raise DataError(
                f"mask {path} has {raw.shape[-1]} channels: key {wrong[0]!r} of mask_values must name as many"
            )
        codes = _colour_codes(raw.astype(np.int64))
        keys = _colour_codes(np.array(list(table), np.int64))
    else:
        if ignore_index is not None:
            table.setdefault(ignore_index, ignore_index)
        codes, keys = raw.astype(np.int64), np.array(list(table), np.int64)
    order = np.argsort(keys)
    keys, classes = keys[order], np.array(list(table.values()), np.int32)[order]
    position = np.searchsorted(keys, codes).clip(max=len(keys) - 1)
    unknown = keys[position] != codes
    if unknown.any():
        found = [tuple(v) if raw.ndim == 3 else v for v in np.unique(raw[unknown], axis=0).tolist()]
        if expected is not None:
            raise DataError(f"mask {path} holds {listed(found)}, expected {expected}. {_RESTORE}")
        raise DataError(
            f"mask {path} holds {listed(found)}, which mask_values does not name: add them, or correct the mask"
        )
    return classes[position]


def _colour_codes(colours: np.ndarray) -> np.ndarray:
    code = np.zeros(colours.shape[:-1], np.int64)
    for channel in range(colours.shape[-1]):
        code = (code << 16) | colours[..., channel]
    return code


def _colour_error(path, raw: np.ndarray) -> DataError:
    found = [tuple(colour) for colour in np.unique(raw.reshape(-1, raw.shape[-1]), axis=0)[:9].tolist()]
    grey = raw.shape[-1] == 3 and bool((raw == raw[..., :1]).all())
    what = "equal channels (a grey mask saved as RGB)" if grey else "colours"
    return DataError(
        f"mask {path} has {raw.shape[-1]} channels, but a mask holds one class number per pixel. It holds {what}: "
        f"{listed(found, 8)}. Save class numbers in one channel (or a palette), or pass mask_values, such as "
        f"mask_values={{{', '.join(f'{colour}: {k}' for k, colour in enumerate(found[:2]))}}}"
    )


def _to_channels(path, image: np.ndarray, alpha: bool, channels: int | None) -> np.ndarray:
    have = image.shape[-1]
    if channels is None or channels == have:
        return image
    if alpha and channels in (1, 3, have - 1):
        image, have = image[..., :-1], have - 1
    if channels == have:
        return image
    if channels == 3 and have == 1:
        return np.repeat(image, 3, axis=-1)
    if channels == 1 and have == 3:
        grey = image @ np.array([0.299, 0.587, 0.114])
        return (np.rint(grey) if image.dtype.kind in "iu" else grey).astype(image.dtype)[..., None]
    raise DataError(
        f"{path} has {have} channels, expected {channels}: only grey and RGB are converted into each other. Pass "
        f"channels={have} (or None) for such images"
    )

"""TIFF files to arrays: as pictures, and as the numbers that they store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageFile, TiffImagePlugin

from kseg.data.errors import DataError

_STORED_DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32"),
    *("float16", "float32", "float64"),
)
_MINISWHITE, _PALETTE = 0, 3


class _LargeTiff(TiffImagePlugin.TiffImageFile):
    """Pillow's TIFF files without its limit on pixels, one global of the process, and not turned by orientation tags.

    tifffile, which reads all others, does neither.
    """

    stored_size: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.stored_size or super().size

    def load_prepare(self) -> None:
        extents = [tile[1] for tile in self.tile]
        self.stored_size = max(extent[2] for extent in extents), max(extent[3] for extent in extents)
        self.im = Image.new(self.mode, self.stored_size, None).im
        ImageFile.ImageFile.load_prepare(self)

    def load_end(self) -> None:
        pass


@dataclass(frozen=True)
class TiffLayout:
    """What the header of a TIFF file tells.

    Attributes:
        shape: (height, width, channels) as stored.
        order: the axis order of the file that leads to `shape`.
        dtype: NumPy name of the stored numbers; "bool" of 1-bit files.
        alpha: whether the last channel is an alpha channel.
        bits: bits per sample.
        inverted: whether 0 is white.
        colours: the colour map, uint8 `(entries, 3)`, of a palette file; else None.
    """

    shape: tuple[int, int, int]
    order: tuple[int, ...]
    dtype: str
    alpha: bool
    bits: int
    inverted: bool
    colours: np.ndarray | None

    @property
    def picture_channels(self) -> int:
        """Channels of the picture: those of the colours where there is a palette."""
        return self.shape[2] if self.colours is None else 3

    @property
    def picture_dtype(self) -> str:
        """NumPy name of the picture's dtype."""
        return "uint8" if self.dtype == "bool" or self.colours is not None else self.dtype


def tiff_layout(path: Path, tiff: tifffile.TiffFile) -> TiffLayout:
    """The layout of the first series of an open file.

    Raises:
        DataError: no height and width, a dtype that is no image's, or more than one axis beside them.
    """
    series = tiff.series[0]
    axes, shape = series.axes, series.shape
    if "Y" not in axes or "X" not in axes or series.dtype is None or str(series.dtype) not in _STORED_DTYPES:
        raise DataError(f"{path}: TIFF with axes {axes}, shape {shape} and dtype {series.dtype} is not an image")
    y, x = axes.index("Y"), axes.index("X")
    rest = [axis for axis in range(len(axes)) if axis not in (y, x)]
    extra = [axis for axis in rest if shape[axis] > 1]
    if len(extra) > 1:
        raise DataError(
            f"{path}: TIFF with axes {axes} and shape {shape} has more than one axis beside height and width: save one "
            f"image per file, with one axis of channels"
        )
    channels = shape[extra[0]] if extra else 1
    page = tiff.pages[0]
    bits = page.bitspersample if isinstance(page.bitspersample, int) else page.bitspersample[0]
    # 1 and 2 are associated and unassociated alpha; 0 is an unspecified extra channel, which is data.
    alpha = bool(page.extrasamples) and int(page.extrasamples[-1]) in (1, 2)
    photometric = page.photometric
    palette = photometric == _PALETTE and channels == 1 and page.colormap is not None
    return TiffLayout(
        shape=(shape[y], shape[x], channels),
        order=(y, x, *rest),
        dtype=str(series.dtype),
        alpha=alpha,
        bits=int(bits),
        inverted=photometric == _MINISWHITE,
        colours=_colours(page.colormap) if palette else None,
    )


def tiff_picture(path: Path) -> tuple[np.ndarray, bool]:
    """(array H x W x C as a viewer shows it, whether the last channel is alpha).

    Palettes become RGB; 1, 2 and 4 bits are spread over 0..255; where 0 is white, unsigned values are turned around.

    Raises:
        DataError: as `tiff_layout`; int8, of which no sensor's range is known.
    """
    stored, layout = tiff_stored(path)
    if layout.dtype == "int8":
        raise DataError(f"{path}: TIFF images of int8 are not read: save them as uint8, int16 or float32")
    if layout.colours is not None:
        if int(stored.max()) >= len(layout.colours):
            raise DataError(f"{path}: index {int(stored.max())} is beyond the palette of {len(layout.colours)} colours")
        indices = stored[..., 0]
        return layout.colours[indices.astype(np.uint8) if indices.dtype == bool else indices], False
    most = 2**layout.bits - 1
    if layout.inverted and stored.dtype.kind == "u":
        stored = (most - np.minimum(stored, most)).astype(stored.dtype)
    elif layout.inverted and stored.dtype == bool:
        stored = ~stored
    if stored.dtype == bool:
        stored = stored.astype(np.uint8) * np.uint8(255)
    elif stored.dtype == np.uint8 and layout.bits in (2, 4):
        stored = stored * np.uint8(255 // most)
    return stored, layout.alpha


def tiff_stored(path: Path) -> tuple[np.ndarray, TiffLayout]:
    """(stored numbers H x W x C, layout). Errors as `tiff_layout`; also a compression that nothing here can undo."""
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        layout = tiff_layout(path, tiff)
        try:
            array = series.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _stored_by_pillow(path, series, layout, error).reshape(layout.shape), layout
    array = np.transpose(array, layout.order).reshape(layout.shape)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")), layout


def _colours(colormap: np.ndarray) -> np.ndarray:
    # The format asks for 16 bits; some writers fill in 8.
    wide = int(colormap.max()) > 255
    return np.ascontiguousarray((colormap >> 8 if wide else colormap).T, np.uint8)


def _stored_by_pillow(path: Path, series, layout: TiffLayout, error: ValueError) -> np.ndarray:
    """What tifffile leaves to the imagecodecs package, where Pillow keeps every bit of the pixels."""
    page = series.pages[0]
    grey16 = layout.dtype == "uint16" and page.samplesperpixel == 1 and layout.bits == 16
    if len(series.pages) == 1 and (layout.dtype in ("uint8", "bool") or grey16):
        with _LargeTiff(path) as image:
            if image.mode in ("1", "L", "LA", "RGB", "RGBA", "P") or image.mode.startswith("I;16"):
                array = np.asarray(image)
                return _undo_pillow(array, layout) if image.mode in ("1", "L") else array
    raise DataError(
        f"{path}: TIFF compression {page.compression.name} needs the imagecodecs package: pip install imagecodecs"
    ) from error


def _undo_pillow(array: np.ndarray, layout: TiffLayout) -> np.ndarray:
    """The stored numbers again: Pillow turns "0 is white" around and spreads greys of few bits over 0..255."""
    if layout.inverted:
        array = ~array
    if array.dtype == np.uint8 and layout.bits in (2, 4):
        array = array // np.uint8(255 // (2**layout.bits - 1))
    return array

"""Files to arrays: every format, depth and number of channels, bit for bit."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from kseg.data import DataError, read_image, read_mask
from kseg.data.reading import probe
from tests.helpers.data_files import write_png16

H, W = 13, 17


def random_array(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def assert_probe_agrees(path, array):
    info = probe(path)
    assert (info.height, info.width, info.channels) == array.shape
    assert info.dtype == str(array.dtype)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_keeps_every_bit(tmp_path, dtype, channels):
    array = random_array((H, W, channels), dtype)
    path = tmp_path / "a.png"
    if dtype == "uint16":
        write_png16(path, array)
    else:
        Image.fromarray(array[..., 0] if channels == 1 else array).save(path)
    got = read_image(path)
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got, array)
    assert_probe_agrees(path, array)


@pytest.mark.parametrize("channels", [1, 3])
def test_bmp(tmp_path, channels):
    array = random_array((H, W, channels), "uint8")
    Image.fromarray(array[..., 0] if channels == 1 else array).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), array)
    assert_probe_agrees(tmp_path / "a.bmp", array)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("layout", ["grey", "rgb", "rgb planar", "5 pages", "5 samples", "5 planes", "two axes of one"])
def test_tiff_layouts(tmp_path, dtype, layout):
    path = tmp_path / "a.tif"
    channels = {"grey": 1, "two axes of one": 1, "rgb": 3, "rgb planar": 3}.get(layout, 5)
    array = random_array((H, W, channels), dtype)
    first = np.moveaxis(array, -1, 0)
    if layout == "grey":
        tifffile.imwrite(path, array[..., 0])
    elif layout == "two axes of one":
        tifffile.imwrite(path, first[None], imagej=dtype in ("uint8", "uint16", "float32"))
    elif layout == "rgb":
        tifffile.imwrite(path, array, photometric="rgb")
    elif layout == "rgb planar":
        tifffile.imwrite(path, first, photometric="rgb", planarconfig="separate")
    elif layout == "5 pages":
        tifffile.imwrite(path, first, photometric="minisblack")
    elif layout == "5 samples":
        tifffile.imwrite(path, array, photometric="minisblack", planarconfig="contig")
    else:
        tifffile.imwrite(path, first, photometric="minisblack", planarconfig="separate")
    got = read_image(path)
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got, array)
    assert_probe_agrees(path, array)


def test_tiff_of_the_other_byte_order(tmp_path):
    array = random_array((H, W, 1), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", array[..., 0], byteorder=">")
    got = read_image(tmp_path / "a.tif")
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff(tmp_path, compression, mode):
    array = random_array((H, W, 3 if mode == "RGB" else 1), "uint16" if mode == "I;16" else "uint8")
    Image.fromarray(array if mode == "RGB" else array[..., 0]).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), array)


def test_format_comes_from_the_content(tmp_path):
    array = random_array((H, W, 3), "uint8")
    Image.fromarray(array).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), array)


def test_jpeg_is_turned_by_its_orientation(tmp_path):
    array = np.zeros((16, 32, 3), np.uint8)
    array[:, 16:] = 200  # right half bright
    image = Image.fromarray(array)
    exif = image.getexif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: the right half goes to the bottom
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    got = read_image(tmp_path / "a.jpg")
    assert got.shape == (32, 16, 3)
    assert_probe_agrees(tmp_path / "a.jpg", got)
    assert got[20:].min() > 150
    assert got[:12].max() < 50


def test_palette_image_becomes_rgb_and_palette_mask_its_indices(tmp_path):
    indices = random_array((H, W), "uint8") % 5
    image = Image.frombytes("P", (W, H), indices.tobytes())
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [9, 8, 7], [255, 255, 255]], np.uint8)
    image.putpalette(colours.reshape(-1).tolist())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), indices)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours[indices])
    assert probe(tmp_path / "a.png").channels == 3


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_mask_of_few_bits_gives_the_stored_value(tmp_path, bits):
    import struct

    indices = random_array((H, 16), "uint8") % 2**bits
    # Written by hand, because Pillow writes no grey PNG of 2 or 4 bits.
    packed = np.packbits(((indices[..., None] >> np.arange(bits)[::-1]) & 1).reshape(H, -1).astype(np.uint8), axis=1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 16, H, bits, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), indices)
    # As a picture, white is 255 whatever the depth.
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], indices * (255 // (2**bits - 1)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "float32"])
def test_tiff_masks(tmp_path, dtype):
    mask = (random_array((H, W), "uint8") % 7).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", mask)
    got = read_mask(tmp_path / "a.tif")
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, mask)


def test_png_mask_of_16_bits(tmp_path):
    mask = random_array((H, W, 1), "uint16")
    np.testing.assert_array_equal(read_mask(write_png16(tmp_path / "a.png", mask)), mask[..., 0])


def test_mask_values(tmp_path):
    mask = np.array([[0, 255], [128, 0]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "a.png")
    got = read_mask(tmp_path / "a.png", {0: 0, 255: 1, 128: 2})
    np.testing.assert_array_equal(got, [[0, 1], [2, 0]])
    # What is not named is let through only if it is the ignore value.
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", {0: 1, 128: 0}), [[1, 255], [0, 1]])
    with pytest.raises(DataError, match=r"a\.png holds 128, which mask_values does not name: add them"):
        read_mask(tmp_path / "a.png", {0: 0, 255: 1})
    with pytest.raises(DataError, match=r"holds 255, which mask_values"):
        read_mask(tmp_path / "a.png", {0: 0, 128: 1}, ignore_index=None)


def test_mask_colours(tmp_path):
    mask = np.array([[[0, 0, 0], [255, 0, 0]], [[0, 0, 255], [0, 0, 0]]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "a.png")
    colours = {(0, 0, 0): 0, (255, 0, 0): 2, (0, 0, 255): 1}
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", colours), [[0, 2], [1, 0]])
    with pytest.raises(DataError, match=r"holds \(0, 0, 255\), which mask_values does not name"):
        read_mask(tmp_path / "a.png", {(0, 0, 0): 0, (255, 0, 0): 2})
    with pytest.raises(DataError, match=r"3 channels: key \(0, 0\) of mask_values must name as many"):
        read_mask(tmp_path / "a.png", {(0, 0): 0})
    Image.fromarray(mask[..., 0]).save(tmp_path / "b.png")
    with pytest.raises(DataError, match="one channel, but mask_values names colours"):
        read_mask(tmp_path / "b.png", colours)


def test_colour_mask_without_colours(tmp_path):
    mask = np.array([[[0, 0, 0], [255, 0, 0]]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png has 3 channels.*colours: \(0, 0, 0\), \(255, 0, 0\).*mask_values=\{"):
        read_mask(tmp_path / "a.png")
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"equal channels \(a grey mask saved as RGB\)"):
        read_mask(tmp_path / "b.png")


def test_conversion_between_grey_and_rgb(tmp_path):
    rgb = random_array((H, W, 3), "uint16")
    write_png16(tmp_path / "rgb.png", rgb)
    grey = read_image(tmp_path / "rgb.png", channels=1)
    assert grey.dtype == np.uint16
    assert grey.shape == (H, W, 1)
    # Half a grey level of rounding, plus float64 error far below it.
    np.testing.assert_allclose(grey[..., 0], rgb @ [0.299, 0.587, 0.114], atol=0.5 + 1e-6)
    write_png16(tmp_path / "grey.png", rgb[..., :1])
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", channels=3), np.repeat(rgb[..., :1], 3, -1))


def test_alpha_is_dropped_only_where_the_file_declares_one(tmp_path):
    rgba = random_array((H, W, 4), "uint16")
    write_png16(tmp_path / "a.png", rgba)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", channels=3), rgba[..., :3])
    np.testing.assert_array_equal(read_image(write_png16(tmp_path / "b.png", rgba[..., :2]), channels=1), rgba[..., :1])
    tifffile.imwrite(tmp_path / "c.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "c.tif", channels=3), rgba[..., :3])
    tifffile.imwrite(tmp_path / "d.tif", rgba, photometric="rgb", extrasamples=["unspecified"])
    with pytest.raises(DataError, match=r"d\.tif has 4 channels, expected 3.*Pass channels=4"):
        read_image(tmp_path / "d.tif", channels=3)


def _truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "lzw.tif", "rgb16.png"])
def test_truncated_file_is_named(tmp_path, name):
    path = tmp_path / name
    if name == "rgb16.png":
        write_png16(path, random_array((64, 64, 3), "uint16"))
    else:
        options = {"compression": "tiff_lzw"} if name == "lzw.tif" else {}
        Image.fromarray(random_array((64, 64, 3), "uint8")).save(path, **options)
    _truncate(path)
    with pytest.raises(DataError, match=rf"{name} cannot be read: .*truncated"):
        read_image(path)


def test_unreadable_files(tmp_path):
    (tmp_path / "text.png").write_text("not an image at all")
    with pytest.raises(DataError, match=r"text\.png cannot be read: .*Is it truncated, or not an image\?"):
        read_image(tmp_path / "text.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.png is empty \(0 bytes\)"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(DataError, match=r"gone\.png: no such file"):
        read_image(tmp_path / "gone.png")


def test_files_that_are_not_masks(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(
        DataError, match=r"mask .*a\.jpg is a JPEG, whose compression changes the labels: save masks as PNG"
    ):
        read_mask(tmp_path / "a.jpg")
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), 0.5, np.float32))
    with pytest.raises(DataError, match="values that are not integers: save the class numbers as uint8"):
        read_mask(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.full((4, 4), 2**32 - 1, np.uint32))
    with pytest.raises(DataError, match="holds the value 4294967295, which is no class number"):
        read_mask(tmp_path / "b.tif")


def test_tiff_with_too_many_axes(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 2, 8, 8), np.uint8), imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(DataError, match=r"axes ZCYX and shape \(3, 2, 8, 8\) has more than one axis beside"):
        read_image(tmp_path / "a.tif")


def test_compression_that_needs_another_package(tmp_path, monkeypatch):
    # Without the imagecodecs package tifffile cannot undo LZW; Pillow can, but would cut 16-bit RGB to 8 bits.
    def refuse(self, *args, **kwargs):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    tifffile.imwrite(tmp_path / "a.tif", random_array((H, W, 3), "uint16"), photometric="rgb", compression="zlib")
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)
    with pytest.raises(
        DataError, match=r"a\.tif: TIFF compression \w+ needs the imagecodecs package: pip install imagecodecs"
    ):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "lzw.tif", "rgb16.png"])
def test_pillows_limit_on_pixels_does_not_hold_here(tmp_path, monkeypatch, name):
    path = tmp_path / name
    array = random_array((64, 64, 3), "uint16" if name == "rgb16.png" else "uint8")
    if name == "rgb16.png":
        write_png16(path, array)
    else:
        Image.fromarray(array).save(path, **({"compression": "tiff_lzw"} if name == "lzw.tif" else {}))
    # 1000 pixels: Pillow would warn from there (and warnings are errors here), and refuse from twice as many.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    if name.endswith("a.png"):
        with pytest.raises(Image.DecompressionBombError):
            Image.open(path)
    got = read_image(path)
    assert got.shape == (64, 64, 3)
    if name != "a.jpg":
        np.testing.assert_array_equal(got, array)
    assert probe(path).height == 64
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize("bits", [8, 16])
def test_large_masks(tmp_path, monkeypatch, bits):
    Image.fromarray(np.ones((64, 64), f"uint{bits}")).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_mask(tmp_path / "a.png").sum() == 64 * 64


@pytest.mark.parametrize("function", [read_image, read_mask, probe])
@pytest.mark.parametrize("name", ["a.png", "a.bmp", "rgb16.png"])
def test_a_header_that_promises_too_much(tmp_path, name, function):
    path = tmp_path / name
    array = random_array((8, 8, 3), "uint8")
    if name == "rgb16.png":
        write_png16(path, array.astype(np.uint16))
    else:
        Image.fromarray(array).save(path)
    content = bytearray(path.read_bytes())
    place = 18 if name == "a.bmp" else 16
    number = (1_000_000).to_bytes(4, "little" if name == "a.bmp" else "big")
    content[place : place + 8] = number * 2
    if name.endswith("png"):
        content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=rf"{name} cannot be read: its header promises 1000000x1000000 pixels .* bytes cannot hold"
    ):
        function(path)


def test_a_long_run_of_one_colour_is_no_broken_header(tmp_path):
    # The densest file there is: nearly 1032 to 1.
    Image.fromarray(np.zeros((4096, 4096), np.uint8)).save(tmp_path / "a.png", compress_level=9)
    assert probe(tmp_path / "a.png").height == 4096
    assert read_image(tmp_path / "a.png").shape == (4096, 4096, 1)


def test_messages_hold_nothing_of_tensorflows_wrapping(tmp_path):
    path = _truncate(write_png16(tmp_path / "a.png", random_array((64, 64, 3), "uint16")))
    with pytest.raises(DataError, match=r"a\.png cannot be read: .*truncated") as caught:
        read_image(path)
    assert "{{" not in str(caught.value)
    assert "[Op:" not in str(caught.value)

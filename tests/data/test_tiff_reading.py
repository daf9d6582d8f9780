"""TIFF files whose stored numbers are not what a viewer shows: palettes, few bits, 0 as white."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from kseg.data import DataError, read_image, read_mask
from kseg.data.reading import probe

H, W = 13, 17


def indices_below(count, dtype="uint8"):
    return np.random.default_rng(0).integers(0, count, (H, W)).astype(dtype)


def assert_picture(path, expected):
    got = read_image(path)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected if expected.ndim == 3 else expected[..., None])
    info = probe(path)
    assert ((info.height, info.width, info.channels), info.dtype) == (got.shape, str(got.dtype))


@pytest.mark.parametrize("wide", [True, False], ids=["16 bits per colour", "8 bits per colour"])
def test_palette_image_becomes_rgb_and_palette_mask_its_indices(tmp_path, wide):
    colours = np.zeros((256, 3), np.uint8)
    colours[:5] = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [9, 8, 7], [255, 255, 255]]
    indices = indices_below(5)
    colormap = colours.T.astype(np.uint16) * (257 if wide else 1)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colormap)
    assert_picture(tmp_path / "a.tif", colours[indices])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), indices)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_palette_tiff_gives_what_palette_png_gives(tmp_path, compression):
    indices = indices_below(200)
    image = Image.frombytes("P", (W, H), indices.tobytes())
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
    image.save(tmp_path / "a.tif", compression=compression)
    image.save(tmp_path / "a.png")
    assert_picture(tmp_path / "a.tif", read_image(tmp_path / "a.png"))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), read_mask(tmp_path / "a.png"))


@pytest.mark.parametrize("compression", [None, "group4"])
def test_one_bit_tiff_gives_what_one_bit_png_gives(tmp_path, compression):
    image = Image.fromarray(indices_below(2).astype(bool))
    image.save(tmp_path / "a.tif", compression=compression)
    image.save(tmp_path / "a.png")
    assert_picture(tmp_path / "a.tif", indices_below(2) * np.uint8(255))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), read_image(tmp_path / "a.tif"))
    assert read_mask(tmp_path / "a.tif").dtype == np.int32
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), indices_below(2))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool"])
def test_where_0_is_white_the_picture_is_turned_around_and_the_mask_is_not(tmp_path, dtype):
    stored = indices_below(2 if dtype == "bool" else 200, dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    if dtype == "bool":
        expected = np.where(stored, 0, 255).astype(np.uint8)
    else:
        expected = np.iinfo(dtype).max - stored
    assert_picture(tmp_path / "a.tif", expected)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), stored)


def test_0_as_white_through_pillow(tmp_path, monkeypatch):
    # What tifffile leaves to the imagecodecs package is read by Pillow, which turns the values around itself.
    def refuse(self, *args, **kwargs):
        raise ValueError("this compression requires the 'imagecodecs' package")

    stored = indices_below(200)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)
    assert_picture(tmp_path / "a.tif", 255 - stored)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), stored)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_orientation_tags_are_left_alone_by_either_reader(tmp_path, orientation):
    array = indices_below(200)
    image = Image.fromarray(array)
    for name, compression in (("plain.tif", None), ("lzw.tif", "tiff_lzw")):
        image.save(tmp_path / name, compression=compression, tiffinfo={274: orientation})
        assert_picture(tmp_path / name, array)


def test_int8_is_a_mask_but_no_image(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), -1, np.int8))
    assert (read_mask(tmp_path / "a.tif") == -1).all()
    with pytest.raises(
        DataError, match=r"a\.tif: TIFF images of int8 are not read: save them as uint8, int16 or float"
    ):
        read_image(tmp_path / "a.tif")


def test_float16_keeps_its_dtype(tmp_path):
    array = np.random.default_rng(0).normal(size=(H, W)).astype(np.float16)
    tifffile.imwrite(tmp_path / "a.tif", array)
    assert_picture(tmp_path / "a.tif", array)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_masks_of_no_numbers(tmp_path, value):
    # Warnings are errors here: NumPy's own about the cast must not show.
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), value, np.float32))
    with pytest.raises(DataError, match="values that are not integers: save the class numbers as uint8"):
        read_mask(tmp_path / "a.tif")

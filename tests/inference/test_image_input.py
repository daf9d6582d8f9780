from __future__ import annotations

import warnings

import numpy as np
import pytest
import tifffile

from kseg.inference.image_input import open_image, read_block, warn_about_range
from kseg.inference.model_spec import ModelSpec


def spec(channels):
    return ModelSpec(channels=channels, num_classes=2)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (2, 3), (6, 4)])
def test_blocks_beyond_the_border_are_mirrored_as_numpy_does(height, width):
    image = np.arange(height * width * 2).reshape(height, width, 2)
    padded = np.pad(image, ((9, 8), (7, 9), (0, 0)), mode="reflect")
    for rows, columns in [
        ((-9, height + 8), (-7, width + 9)),
        ((0, height), (-3, 2)),
        ((-2, 1), (0, width)),
        ((0, 1), (0, 1)),
    ]:
        block = read_block(image, rows, columns)
        assert block.dtype == np.float32
        expected = padded[rows[0] + 9 : rows[1] + 9, columns[0] + 7 : columns[1] + 7]
        np.testing.assert_array_equal(block, expected)


def test_grey_images_may_lack_the_channel_axis():
    image = np.zeros((4, 5), np.uint16)
    opened = open_image(image, spec(1))
    assert opened.shape == (4, 5, 1)
    assert opened.dtype == np.uint16
    assert np.shares_memory(opened, image)


@pytest.mark.parametrize(
    ("image", "channels", "error", "message"),
    [
        (
            np.zeros((4, 5)),
            3,
            ValueError,
            r"must have 3 channels.*got the shape \(4, 5, 1\).*np.repeat\(image, 3, axis=-1\)",
        ),
        (np.zeros((3, 4, 5)), 3, ValueError, r"channels seem to come first: np.moveaxis\(image, 0, -1\)"),
        (np.zeros((8, 8, 4)), 3, ValueError, r"image\[\.\.\., :3\]"),
        (np.zeros((8, 8, 3)), 13, ValueError, "Use a model built for this number of channels"),
        (np.zeros(5), 1, ValueError, r"shape \(H, W\) or \(H, W, C\); got \(5,\)"),
        (np.zeros((0, 5)), 1, ValueError, "must not be empty"),
        (
            [np.zeros((8, 8, 3)), np.zeros((6, 8, 3))],
            3,
            ValueError,
            r"list of 2 of different shapes: \(8, 8, 3\), \(6, 8, 3\)\. Predict them one by one, .*predict_files",
        ),
        (np.zeros((4, 5), bool), 1, TypeError, r"integers or floats; got dtype bool.*astype\('float32'\)"),
        (np.zeros((4, 5), complex), 1, TypeError, "got dtype complex128"),
        (np.array([["a"]]), 1, TypeError, "integers or floats"),
    ],
)
def test_images_that_do_not_fit_are_refused(image, channels, error, message):
    with pytest.raises(error, match=message):
        open_image(image, spec(channels))


@pytest.mark.parametrize(
    ("image", "value_range", "message"),
    [
        (np.full((200, 300, 1), 0.5), (0, 255), r"floats within 0\.\.1.*multiply the image by 255"),
        (np.full((200, 300, 1), 4000, np.uint16), (0, 255), r"holds values 4000\.\.4000.*input_range is \(0, 255\)"),
        (np.full((20, 30, 1), 200, np.uint8), (0, 1), r"holds values 200\.\.200"),
        (np.full((20, 30, 1), -900.0), (0, 255), r"holds values -900"),
        (np.full((20, 30, 1), -9.0), (0, 255), r"holds values -9"),
        (np.full((20, 30, 1), -9, np.int16), (0, 255), r"holds values -9"),
    ],
)
def test_values_out_of_the_models_range_draw_a_warning(image, value_range, message):
    with pytest.warns(UserWarning, match=message):
        warn_about_range(image, value_range)


@pytest.mark.parametrize(
    ("image", "value_range"),
    [
        (np.full((200, 300, 1), 255, np.uint8), (0, 255)),
        (np.full((200, 300, 1), 1, np.uint8), (0, 255)),
        (np.full((20, 30, 1), 0.5), (0, 1)),
        (np.zeros((20, 30, 1)), (0, 255)),
        (np.full((20, 30, 1), -0.5), (0, 255)),
        (np.full((20, 30, 1), -40000.0), (-32768, 32767)),
        (np.full((20, 30, 1), 4000.0), None),
    ],
)
def test_values_in_range_draw_none(image, value_range):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about_range(image, value_range)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_refused(value):
    image = np.zeros((20, 30, 2))
    image[7, 11, 1] = value
    assert np.isfinite(read_block(image, (8, 20), (0, 30))).all()
    with pytest.raises(
        ValueError, match=r"image holds values that are not finite, such as -?(nan|inf) at row 7, col.* 11"
    ):
        read_block(image, (-3, 20), (4, 33))
    warn_about_range(image, (0, 255))


def test_a_file_with_values_that_are_not_finite_is_named(tmp_path):
    image = np.zeros((600, 30), np.float32)
    image[500, 3] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", image)
    with pytest.raises(ValueError, match=r"a\.tif holds values that are not finite, such as nan at row 500, column 3"):
        open_image(tmp_path / "a.tif", spec(1))

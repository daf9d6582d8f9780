"""The compiled crop_masks: equal to its reference on every instruction set, deterministic, strict about its inputs."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library, rle
from tests.helpers.crop_masks_cases import CORE, discs, in_form, native, needs_native, random_boxes, reference

pytestmark = needs_native

SIZES = [(1, 1), (1, 9), (9, 1), (23, 37), (65, 8), (40, 131)]


@functools.cache
def case(height, width, sampling_ratio, aligned):
    """Masks, boxes, indices, and what the reference makes of them."""
    masks, boxes = discs(height, 3, height, width), random_boxes(width, 14, height, width)
    indices = np.random.default_rng(1).integers(-1, 3, 14)
    size = (6, 11) if height % 2 else (28, 3)
    options = {"sampling_ratio": sampling_ratio, "aligned": aligned}
    return masks, boxes, indices, size, options, reference(masks, boxes, size, indices, **options)


@pytest.mark.parametrize("shape", SIZES)
def test_native_equals_reference_to_the_bit(target, shape):
    """Sums in double, rounded once: results differ only where a sum lies within 1e-15 of the middle of two floats."""
    for sampling_ratio in (0, 1, 3):
        for aligned in (True, False):
            masks, boxes, indices, size, options, expected = case(*shape, sampling_ratio, aligned)
            assert expected[: len(boxes)].any()
            for form in ("dense", "packed", "runs"):
                ours = native(**in_form(form, masks), boxes=boxes, size=size, mask_indices=indices, **options)
                np.testing.assert_array_equal(ours, expected)


def test_large_bins_and_many_words(target):
    """Bins of several hundred pixels, which no word of bits holds, and gaps between few samples of large bins."""
    masks = discs(0, 2, 70, 901)
    boxes = np.float32([[0, 0, 901, 70], [-400.5, 3.25, 1500, 66], [13, 0, 700.75, 69]])
    for sampling_ratio in (0, 2, 128):
        for aligned in (True, False):
            options = {"sampling_ratio": sampling_ratio, "aligned": aligned}
            expected = reference(masks, boxes, (2, 3), [0, 1, 1], **options)
            for form in ("dense", "packed", "runs"):
                ours = native(**in_form(form, masks), boxes=boxes, size=(2, 3), mask_indices=[0, 1, 1], **options)
                np.testing.assert_array_equal(ours, expected)


def test_thresholds_decide_alike():
    """Borders along the middle of bins, where a share of exactly a half is common."""
    y, x = np.mgrid[:32, :32]
    masks = np.stack([x < 16, x + y < 32, (x + y) % 2 == 0]).astype(np.uint8)
    sides = np.arange(1, 33, dtype=np.float32)
    boxes = np.concatenate([np.stack([16 - sides / 2, 0 * sides, 16 + sides / 2, sides], 1)] * 3)
    indices = np.repeat([0, 1, 2], 32)
    for aligned in (True, False):
        for size in (7, 14, 28):
            given = (masks, boxes, size, indices)
            shares = native(*given, aligned=aligned)
            assert (shares == 0.5).mean() > 0.001
            ours = native(*given, aligned=aligned, threshold=0.5)
            np.testing.assert_array_equal(ours, reference(*given, aligned=aligned, threshold=0.5))


def test_results_do_not_depend_on_the_number_of_threads(target):
    masks, boxes = discs(3, 5, 90, 130), random_boxes(4, 150, 90, 130)
    boxes = np.concatenate([boxes[8:], boxes[:8]])
    indices = np.arange(len(boxes)) % 5
    rles = rle.encode(masks)
    results = []
    try:
        for threads in (1, 2, 3, 5, 2):
            CORE.set_num_threads(threads)
            results.append(kseg_ops.numpy.crop_masks(rles, boxes, 28, indices).tobytes())
    finally:
        CORE.set_num_threads(0)
    results.append(native(masks, boxes, 28, indices).tobytes())
    assert all(result == results[0] for result in results)


def test_the_numpy_form_equals_the_op():
    masks, boxes = discs(5, 3, 33, 41), random_boxes(6, 12, 33, 41)
    indices = np.arange(12) % 4 - 1
    for options in ({}, {"sampling_ratio": 2, "aligned": True}, {"threshold": 0.5, "aligned": True}):
        expected = native(masks, boxes, (5, 6), indices, **options)
        packed = np.packbits(masks, axis=-1, bitorder="little")
        for given in (
            {"masks": masks},
            {"masks": masks.astype(bool)},
            {"masks": np.asfortranarray(masks)},
            {"masks": packed, "width": 41},
            {"masks": rle.encode(masks)},
        ):
            ours = kseg_ops.numpy.crop_masks(boxes=boxes, size=(5, 6), mask_indices=indices, **given, **options)
            np.testing.assert_array_equal(ours, expected)
    polygons = [[[1, 1, 12, 2, 9, 17.7]], [], [[3, 3, 25, 4, 6, 16], [0, 0, 5, 0, 5, 5]]]
    ragged = tf.ragged.constant(polygons, tf.float64, ragged_rank=2)
    expected = native(ragged, boxes, 9, indices, image_size=(33, 41))
    ours = kseg_ops.numpy.crop_masks(polygons, boxes, 9, indices, image_size=(33, 41))
    np.testing.assert_array_equal(ours, expected)
    assert ours.any()
    assert kseg_ops.numpy.crop_masks([], np.zeros((0, 4)), 3).shape == (0, 3, 3)
    assert kseg_ops.numpy.crop_masks(masks, boxes[:3], 3).shape == (3, 3, 3)


MASKS = np.ones((2, 4, 5), np.uint8)
ONE_BOX = np.float32([[0, 0, 2, 2]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"masks": MASKS.astype(float)}, TypeError, "masks must be bool or uint8, got float64"),
        ({"masks": MASKS[0]}, ValueError, r"masks must have shape \[M, H, W\], got \[4, 5\]"),
        ({"masks": MASKS, "width": 9}, ValueError, "width must be that of the packed masks, which have 5 bytes"),
        ({"masks": MASKS, "image_size": (4, 5)}, ValueError, "image_size goes with polygons"),
        ({"masks": [], "width": 9}, ValueError, "width goes with packed masks"),
        ({"masks": [{"size": [4, 5], "counts": [19]}]}, ValueError, r"rles\[0\] counts must sum to .* = 20, got 19"),
        (
            {"masks": [{"size": [4, 5], "counts": [20]}, {"size": [5, 4], "counts": [20]}]},
            ValueError,
            "masks must have one size",
        ),
        ({"masks": [[[0, 0, 1]]], "image_size": (4, 5)}, ValueError, r"masks\[0\] polygons must hold pairs of x and y"),
        (
            {"masks": [[[0, 0, 1, 0, 1, np.nan]]], "image_size": (4, 5)},
            ValueError,
            r"masks\[0\] polygons must be finite",
        ),
        ({"masks": [[0, 0, 1, 0, 1, 1]], "image_size": (4, 5)}, TypeError, r"masks\[0\] must hold flat lists"),
        ({"masks": [3], "image_size": (4, 5)}, TypeError, r"masks\[0\] must be a list of polygons, got 3"),
        ({"masks": [], "image_size": (2**16, 2**16)}, ValueError, "image_size must be at most 2147483647 pixels"),
        (
            {"mask_indices": [2]},
            ValueError,
            r"mask_indices must be in 0..M-1 with M = 2 masks, or -1 .* got 2 for box 0",
        ),
        ({"mask_indices": [-2]}, ValueError, "mask_indices must be in .* got -2 for box 0"),
        ({"mask_indices": [2**40]}, ValueError, "mask_indices must be in .* got 2147483647 for box 0"),
        ({"mask_indices": [0, 0]}, ValueError, "mask_indices must have one entry per box, 1, got 2"),
        ({"mask_indices": [0.5]}, TypeError, "mask_indices must be integers, got float64"),
        ({"mask_indices": None}, ValueError, "mask_indices must be given .* got 1 boxes and 2 masks"),
        ({"boxes": ONE_BOX[:, :3]}, ValueError, r"boxes must have shape \[K, 4\], got \[1, 3\]"),
        ({"boxes": ONE_BOX.astype(np.float16)}, TypeError, "boxes must be float32, got float16"),
        ({"size": 0}, ValueError, "size must be in 1..4096, got 0"),
        ({"sampling_ratio": 129}, ValueError, "sampling_ratio must be in 0..128, got 129"),
    ],
)
def test_what_the_numpy_form_refuses(change, error, message):
    with pytest.raises(error, match=message):
        kseg_ops.numpy.crop_masks(**{"masks": MASKS, "boxes": ONE_BOX, "size": 2, "mask_indices": [0], **change})


def given(**change):
    return {
        "boxes": tf.constant(ONE_BOX),
        "mask_indices": tf.constant([0]),
        "image_size": tf.constant([4, 5]),
        "size": (2, 2),
        **change,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": MASKS[0]}, "masks must have rank 3"),
        ({"masks": MASKS[:, :3]}, r"masks must have shape .M, 4, 5. for dense masks of image_size .4, 5."),
        ({"packed": True}, r"masks must have shape .M, 4, 1. for packed masks"),
        ({"image_size": [-4, 5]}, "image_size must be in 0..16777216, got .-4, 5."),
        ({"image_size": [4]}, "image_size must have two entries, height and width, got 1"),
        ({"image_size": [[4, 5]]}, "image_size must have rank 1"),
        ({"boxes": ONE_BOX[0]}, "boxes must have rank 2"),
        ({"boxes": np.zeros((1, 5), np.float32)}, r"boxes must have shape .K, 4."),
        ({"boxes": np.zeros((2, 4), np.float32)}, "mask_indices must have one entry per box, 2, got 1"),
        ({"mask_indices": [[0]]}, "mask_indices must have rank 1"),
        ({"mask_indices": [7]}, "mask_indices must be in 0..M-1 with M = 2 masks, or -1 for none, got 7 for box 0"),
        ({"size": (2,)}, "size must have two entries, height and width, got 1"),
        ({"size": (2, 4097)}, "size must be in 1..4096, got 4097"),
        ({"sampling_ratio": -1}, "sampling_ratio must be in 0..128, got -1"),
    ],
)
def test_the_op_checks_what_it_gets(change, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        _library.native_op("crop_masks")(**given(**{"masks": MASKS, **change}))


def test_an_absurd_result_is_refused_before_it_is_made():
    many = {"boxes": tf.zeros([129, 4]), "mask_indices": tf.zeros([129], tf.int32), "size": (4096, 4096)}
    with pytest.raises(tf.errors.InvalidArgumentError, match="boxes must be few enough for at most 2147483648 values"):
        _library.native_op("crop_masks")(**given(masks=MASKS, **many))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": [3, -1, 18]}, r"masks.0. counts must not be negative, got -1"),
        ({"counts": [3, 4, 12]}, r"masks.0. counts must sum to height \* width of image_size = 20, got 19"),
        ({"mask_splits": [0, 3, 3]}, r"masks.1. counts must sum to .* = 20, got 0"),
        ({"counts": [2**31 - 1] * 3}, r"masks.0. counts must sum to .* = 20, got 6442450941"),
        ({"mask_splits": [0, 2]}, "mask_splits must run from 0 to the number of values, 3"),
        ({"mask_splits": [1, 3]}, "mask_splits must run from 0 to the number of values, 3"),
        ({"mask_splits": [0, 9, 3]}, "mask_splits must not fall, got 3 after 9"),
        ({"mask_splits": [0, -(2**62), 3]}, "mask_splits must not fall, got -4611686018427387904 after 0"),
        ({"mask_splits": np.zeros(0, np.int64)}, "mask_splits must run from 0"),
        ({"mask_splits": [[0, 3]]}, "mask_splits must have rank 1"),
        ({"counts": [[3, 4, 13]]}, "counts must have rank 1"),
        ({"image_size": [2**16, 2**16]}, "image_size must be at most 2147483647 pixels"),
    ],
)
def test_the_op_on_runs_checks_what_it_gets(change, message):
    arguments = given(**{"counts": [3, 4, 13], "mask_splits": [0, 3], **change})
    arguments["mask_splits"] = tf.constant(arguments["mask_splits"], tf.int64)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        _library.native_op("crop_masks_rle")(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coordinates": [0.0, 0, 4, 0, 4], "polygon_splits": [0, 5]}, r"masks.0. polygons must hold pairs .* got 5"),
        ({"coordinates": [0.0, 0, 4, 0, 4, np.nan]}, r"masks.0. polygons must be finite and within 67108864 pixels"),
        ({"coordinates": [0.0, 0, 4, 0, 4, 1e30]}, r"masks.0. polygons must be finite and within 67108864 pixels"),
        ({"polygon_splits": [0, 4]}, "polygon_splits must run from 0 to the number of values, 6"),
        ({"polygon_splits": [0, 8, 6], "mask_splits": [0, 2]}, "polygon_splits must not fall, got 6 after 8"),
        ({"mask_splits": [0, 2]}, "mask_splits must run from 0 to the number of values, 1"),
        ({"mask_splits": [0, 2, 1]}, "mask_splits must not fall, got 1 after 2"),
        ({"coordinates": [[0.0] * 6]}, "coordinates must have rank 1"),
        ({"polygon_splits": [[0, 6]]}, "polygon_splits must have rank 1"),
    ],
)
def test_the_op_on_polygons_checks_what_it_gets(change, message):
    arguments = {"coordinates": [0.0, 0, 4, 0, 4, 4], "polygon_splits": [0, 6], "mask_splits": [0, 1], **change}
    arguments = given(
        **{name: tf.constant(value, tf.int64 if "splits" in name else None) for name, value in arguments.items()}
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        _library.native_op("crop_masks_polygon")(**arguments)


def test_shape_functions():
    with tf.Graph().as_default():

        def placeholder(shape, dtype=tf.float32):
            return tf.compat.v1.placeholder(dtype, shape)

        op = _library.native_op("crop_masks")
        common = {"image_size": placeholder(None, tf.int32), "size": (2, 3)}
        masks, indices = placeholder(None, tf.uint8), placeholder([6], tf.int32)
        crops = op(masks=masks, boxes=placeholder(None), mask_indices=indices, **common)
        assert crops.shape.as_list() == [6, 2, 3]
        indices = placeholder(None, tf.int32)
        crops = op(masks=masks, boxes=placeholder([None, 4]), mask_indices=indices, **common)
        assert crops.shape.as_list() == [None, 2, 3]
        for change, message in (
            ({"masks": placeholder([2, 3], tf.uint8)}, "must be rank 3"),
            ({"boxes": placeholder([2, 5])}, "must be 4 but is 5"),
            ({"mask_indices": placeholder([3], tf.int32)}, "must be equal"),
            ({"image_size": placeholder([3], tf.int32)}, "must be 2 but is 3"),
            ({"size": (0, 1)}, "size must be in 1..4096, got 0"),
        ):
            arguments = {"masks": masks, "boxes": placeholder([2, 4]), "mask_indices": indices, **common, **change}
            with pytest.raises(ValueError, match=message):
                op(**arguments)

"""What kseg_ops.crop_masks refuses, with and without the compiled library."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from tests.helpers.crop_masks_cases import native, reference

MASKS = np.ones((2, 4, 5), np.uint8)
BOX = np.float32([[0, 0, 2, 2]])
RUNS = tf.ragged.constant([[3, 4, 13], [20]])
POLYGONS = tf.ragged.constant([[[0.0, 0, 4, 0, 4, 4]], []], ragged_rank=2)
SIZE = {"image_size": (4, 5)}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"masks": MASKS.astype(np.int32)}, TypeError, "masks must be bool or uint8, got int32"),
        ({"masks": MASKS > 0, "width": 5}, TypeError, "masks must be uint8, got bool"),
        ({"masks": [[[0.0, 0, 4, 0, 4, 4]]], **SIZE}, TypeError, r"masks must be a tf.RaggedTensor .* got a list"),
        ({"masks": [{"size": [4, 5], "counts": [20]}]}, TypeError, r"kseg_ops.numpy.crop_masks takes COCO's own dicts"),
        ({"masks": MASKS[0]}, ValueError, r"masks must have shape \[M, H, W\] or \[B, M, H, W\], got \(4, 5\)"),
        ({"masks": MASKS[None]}, ValueError, r"boxes must have shape \[B, N, 4\] for masks of rank 4, got \(1, 4\)"),
        ({"boxes": BOX[None]}, ValueError, r"boxes must have shape \[K, 4\] for masks of rank 3, got \(1, 1, 4\)"),
        ({"boxes": BOX[:, :3]}, ValueError, r"boxes must have shape \[K, 4\] for masks of rank 3, got \(1, 3\)"),
        ({"boxes": BOX[0]}, ValueError, r"boxes must have shape \[K, 4\] or \[B, N, 4\], got \(4,\)"),
        ({"boxes": tf.cast(BOX, tf.bfloat16)}, TypeError, "boxes must be float32, got bfloat16"),
        ({"boxes": tf.ragged.constant([[BOX[0].tolist()]])}, TypeError, "boxes must be a dense tensor, padded with"),
        ({"mask_indices": [0.5]}, TypeError, "mask_indices must be integers, got float32"),
        ({"mask_indices": [0, 1]}, ValueError, r"mask_indices must have one entry per box, got shape \(2,\)"),
        ({"mask_indices": None}, ValueError, "mask_indices must be given .*, got 1 boxes and 2 masks"),
        ({"size": (2, 3, 4)}, ValueError, r"size must be an int or \(height, width\), got \(2, 3, 4\)"),
        ({"size": 4097}, ValueError, "size must be in 1..4096, got 4097"),
        ({"size": 2.5}, TypeError, "size must be an integer, got 2.5"),
        ({"sampling_ratio": -1}, ValueError, "sampling_ratio must be in 0..128, got -1"),
        ({"threshold": "0.5"}, TypeError, "threshold must be a number or None, got '0.5'"),
        ({"threshold": np.nan}, ValueError, "threshold must be finite, got nan"),
        ({"width": 41}, ValueError, "width must be that of the packed masks, which have 5 bytes per row, got 41"),
        ({"width": 40.0}, TypeError, "width must be an integer, got 40.0"),
        ({"image_size": (4, 5)}, ValueError, "image_size goes with run lengths and polygons"),
        ({"masks": RUNS}, ValueError, "image_size must be given with run lengths"),
        ({"masks": POLYGONS}, ValueError, "image_size must be given with polygons"),
        ({"masks": RUNS, "width": 5, **SIZE}, ValueError, "width goes with packed masks"),
        ({"masks": RUNS, "image_size": 4}, ValueError, "image_size must be two integers, height and width, got 4"),
        ({"masks": RUNS, "image_size": (4, -5)}, ValueError, r"image_size\[1\] must be in 0..16777216, got -5"),
        ({"masks": RUNS, "image_size": tf.constant([4.0, 5.0])}, ValueError, "image_size must be two integers"),
        (
            {"masks": tf.ragged.constant([["a"]]), **SIZE},
            TypeError,
            "masks must hold integer run lengths or .* got string",
        ),
        ({"aligned": "False"}, TypeError, "aligned must be True or False, got 'False'"),
        ({"masks": tf.cast(POLYGONS, tf.float16), **SIZE}, TypeError, "masks must be float32 or float64 polygons"),
        (
            {"masks": POLYGONS.merge_dims(0, 1), **SIZE},
            ValueError,
            "masks must be a RaggedTensor with 2 ragged axes for polygons",
        ),
    ],
)
def test_refusals(change, error, message):
    given = {"masks": MASKS, "boxes": BOX, "size": 2, "mask_indices": [0], **change}
    with pytest.raises(error, match=message):
        kseg_ops.crop_masks(**given)


@pytest.mark.parametrize("crop", [native, reference], ids=["native", "reference"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_indices": [2]}, "mask_indices must be in 0..M-1 with M = ?2 ?masks, or -1 for none, got ?2"),
        ({"mask_indices": [-2]}, "mask_indices must be in 0..M-1 .* got ?-2"),
        ({"mask_indices": tf.constant([2**32])}, "mask_indices must be in 0..M-1 .* got ?2147483647"),
        (
            {"masks": MASKS[None], "boxes": BOX[None], "mask_indices": [[2]]},
            "mask_indices must be in 0..M-1 with M masks per image, or -1 for none, got 2",
        ),
        ({"masks": RUNS, "image_size": (4, 6)}, "counts must sum to height . width of image_size = ?24"),
        ({"masks": tf.ragged.constant([[-3, 23]]), **SIZE}, "counts must not be negative, got ?-3"),
        ({"masks": tf.ragged.constant([[2**40]]), **SIZE}, "counts must sum to height . width of image_size = ?20"),
        ({"masks": RUNS, "image_size": (2**16, 2**16)}, "image_size must be .*at most .*2147483647 .*pixels"),
        ({"masks": POLYGONS * np.inf, **SIZE}, "polygons must be finite and within ?67108864 ?pixels of the origin"),
        ({"masks": POLYGONS + 1e9, **SIZE}, "polygons must be finite and within"),
        (
            {"masks": tf.ragged.constant([[[0.0, 0, 1]]], ragged_rank=2), **SIZE},
            "polygons must hold pairs of x and y, got",
        ),
    ],
)
def test_errors_of_values(crop, change, message):
    given = {"masks": MASKS, "boxes": BOX, "size": 2, "mask_indices": [0], **change}
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        crop(**given)
    # Stock TensorFlow prints the parts of a message line by line and some of them in brackets or as b'...'.
    text = " ".join(re.sub(r"b'([^']*)'|[\[\]]", r"\1", caught.value.message).split())
    assert re.search(message, text), text


def test_batches_must_match():
    with pytest.raises(
        (tf.errors.InvalidArgumentError, ValueError), match="boxes must have as many images as masks has"
    ):
        kseg_ops.crop_masks(MASKS[None], np.tile(BOX, (3, 1, 1)), 2, np.zeros((3, 1), int))


def test_a_keras_tensor_is_refused():
    with pytest.raises(TypeError, match=r"kseg_ops.crop_masks takes tensors, but boxes is a KerasTensor"):
        kseg_ops.crop_masks(MASKS, keras.Input([4]), 2)

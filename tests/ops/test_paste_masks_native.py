"""paste_masks: native against reference on every instruction set, graphs, and what is refused."""

from __future__ import annotations

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.mask_cases import CORE, both_forms, in_form, needs_native
from tests.ops.test_paste_masks import EXTREME_BOXES, decoded, modes


def cases(mode):
    """Sizes of masks and images, types, thresholds; boxes everywhere, and the extreme ones."""
    sizes = [
        ((28, 28), (70, 150), 0.5),
        ((1, 1), (40, 65), 0.5),
        ((5, 9), (130, 63), 0.25),
        ((40, 3), (33, 64), 0.9),
        ((7, 7), (9, 1), 0.5),
    ]
    for seed, (mask_size, image, threshold) in enumerate(sizes):
        generator = np.random.default_rng(seed)
        corners = generator.uniform(-0.3, 1, (20, 2)) * (image[1], image[0])
        sides = np.exp(generator.uniform(-1, 5.5, (20, 2)))
        boxes = np.concatenate([corners, corners + sides], 1).astype(np.float32)
        boxes[::4] = np.round(boxes[::4] * 2) / 2
        boxes = np.concatenate([boxes, EXTREME_BOXES])
        masks = generator.uniform(0, 1, (len(boxes), *mask_size)).astype(np.float32)
        masks[::5] = masks[::5] > 0.5
        masks[3, 0, 0] = np.nan
        masks[4, -1, -1] = np.inf
        masks[6] = threshold
        masks[7] = 1e-40
        for dtype in (tf.float32, *{2: [tf.float16], 3: [tf.bfloat16]}.get(seed, [])):
            yield tf.cast(masks, dtype), boxes, image, threshold, mode


@functools.cache
def expected_of_cases(mode):
    """The reference's answers, once for all instruction sets."""
    with kseg_ops.use_reference():
        return [(case, kseg_ops.paste_masks(*case).numpy()) for case in cases(mode)]


@needs_native
@modes
def test_native_equals_reference_in_every_pixel(target, mode):
    for (masks, boxes, image, *options), expected in expected_of_cases(mode):
        assert expected.any()
        np.testing.assert_array_equal(kseg_ops.paste_masks(masks, boxes, image, *options), expected)
        packed = kseg_ops.paste_masks(masks, boxes, image, *options, output="packed")
        np.testing.assert_array_equal(packed, kseg_ops.numpy.pack_masks(expected))
        runs = kseg_ops.paste_masks(masks, boxes, image, *options, output="rle").to_list()
        np.testing.assert_array_equal(np.stack([decoded(counts, image) for counts in runs]), expected)
        arrays = (masks.numpy(), boxes, image, *options)
        np.testing.assert_array_equal(kseg_ops.numpy.paste_masks(*arrays), expected)
        np.testing.assert_array_equal(kseg_ops.numpy.paste_masks(*arrays, output="packed"), packed)
        assert [counts.tolist() for counts in kseg_ops.numpy.paste_masks(*arrays, output="rle")] == runs


@needs_native
def test_equal_for_any_number_of_threads(target):
    generator = np.random.default_rng(0)
    corners = generator.uniform(-50, 300, (40, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(5, 200, (40, 2))], 1).astype(np.float32)
    masks = generator.uniform(0, 1, (40, 14, 14)).astype(np.float32)
    for output in ("dense", "packed", "rle"):
        results = []
        try:
            for threads in (1, 2, 3, 5):
                CORE.set_num_threads(threads)
                pasted = kseg_ops.numpy.paste_masks(masks, boxes, (300, 301), output=output)
                results.append(b"".join(array.tobytes() for array in pasted))
        finally:
            CORE.set_num_threads(0)
        assert len(set(results)) == 1


@needs_native
def test_every_pixel_of_the_result_is_written():
    """Into memory that held something else before."""
    for _ in range(3):
        used = np.full(3 * 301 * 299, 255, np.uint8)
        del used
        pasted = kseg_ops.numpy.paste_masks(np.ones((3, 2, 2), np.float32), [[0, 0, 4, 4]] * 3, (301, 299))
        assert pasted.sum() == 3 * 16
    with kseg_ops.use_reference():
        assert (
            tf.reduce_sum(tf.cast(kseg_ops.paste_masks(tf.ones([1, 2, 2]), [[0, 0, 4, 4]], (31, 29)), tf.int32)) == 16
        )


@both_forms
@modes
def test_static_shapes_and_sizes_known_at_run_time(form, mode):
    paste = in_form(form, "paste_masks")
    masks, boxes = np.ones((2, 3, 3), np.float32), np.float32([[0, 0, 4, 4], [1, 1, 9, 9]])
    expected = paste(masks, boxes, (11, 13), mode=mode).numpy()

    @tf.function(input_signature=[tf.TensorSpec([None, 3, 3]), tf.TensorSpec([None, 4])])
    def static(masks, boxes):
        dense = paste(masks, boxes, (11, 13), mode=mode)
        assert dense.shape.as_list() == [None, 11, 13]
        assert paste(masks, boxes, (11, 13), output="packed").shape.as_list() == [None, 11, 2]
        assert paste(masks, boxes, (11, 13), output="rle").shape.as_list() == [None, None]
        return dense

    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec(None), tf.TensorSpec([2], tf.int64)])
    def unknown(masks, boxes, size):
        return paste(masks, boxes, size, mode=mode)

    np.testing.assert_array_equal(static(masks, boxes), expected)
    np.testing.assert_array_equal(unknown(masks, boxes, np.array([11, 13])), expected)
    dataset = tf.data.Dataset.from_tensors((masks, boxes)).map(lambda m, b: paste(m, b, (11, 13), mode=mode))
    np.testing.assert_array_equal(next(iter(dataset)), expected)


@modes
def test_reference_under_xla(mode):
    generator = np.random.default_rng(3)
    masks = generator.uniform(0, 1, (4, 6, 6)).astype(np.float32)
    boxes = np.float32([[0, 0, 4, 4], [1.5, 1, 39.25, 29], [-9, -9, 70, 70], [5, 5, 3, 3]])

    @tf.function(jit_compile=True)
    def compiled(masks, boxes):
        with kseg_ops.use_reference():
            return kseg_ops.paste_masks(masks, boxes, (31, 41), mode=mode, output="packed")

    np.testing.assert_array_equal(
        compiled(masks, boxes), kseg_ops.paste_masks(masks, boxes, (31, 41), mode=mode, output="packed")
    )


GIVEN = {"masks": np.ones((2, 3, 3), np.float32), "boxes": np.zeros((2, 4), np.float32), "image_size": (5, 6)}


@pytest.mark.parametrize("module", [kseg_ops, kseg_ops.numpy], ids=["tensorflow", "numpy"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"masks": np.ones((2, 3, 3))}, TypeError, "masks must be .*float32.*float16.*bfloat16.*got float64"),
        ({"masks": np.ones((2, 3), np.float32)}, ValueError, "masks must have (shape|rank)"),
        ({"boxes": np.zeros((3, 4), np.float32)}, ValueError, "boxes must have shape"),
        ({"boxes": np.zeros((2, 5), np.float32)}, ValueError, "boxes must have shape"),
        ({"boxes": np.zeros((2, 4), np.float16)}, TypeError, "boxes must be float32, got float16"),
        ({"image_size": 5}, ValueError, r"image_size must be two integers, \(height, width\), got 5"),
        ({"image_size": (5, -1)}, ValueError, r"image_size\[1\] must be in 0..16777216, got -1"),
        ({"image_size": (2.5, 1)}, TypeError, r"image_size\[0\] must be an integer, got 2.5"),
        ({"mode": "fast"}, ValueError, "mode must be 'detectron2' or 'torchvision', got 'fast'"),
        ({"output": "polygon"}, ValueError, "output must be 'dense', 'packed' or 'rle', got 'polygon'"),
        ({"threshold": -1}, ValueError, r"threshold must be a number in 1e-12..1e\+12, got -1"),
        ({"threshold": 0}, ValueError, "threshold must be a number in"),
        ({"threshold": math.nan}, ValueError, "threshold must be a number in"),
        ({"threshold": "0.5"}, TypeError, "threshold must be a Python number, got '0.5'"),
    ],
)
def test_refusals(module, change, error, message):
    if module is kseg_ops.numpy and CORE is None:
        pytest.skip("the compiled library is off")
    with pytest.raises(error, match=message):
        module.paste_masks(**{**GIVEN, **change})


@needs_native
@pytest.mark.parametrize("name", ["paste_masks", "paste_masks_rle"])
def test_raw_ops_check_what_they_get(name):
    op, array_form = _library.native_op(name), getattr(CORE, name)
    op(**GIVEN)
    masks, boxes = GIVEN["masks"], GIVEN["boxes"]
    for wrong, message in (
        ({"masks": masks[0]}, "masks must have rank 3"),
        ({"boxes": boxes[0]}, "boxes must have rank 2"),
        ({"boxes": boxes[:1]}, r"boxes must have shape \[2, 4\] for masks of shape \[2, 3, 3\], got \[1, 4\]"),
        ({"boxes": boxes[:, :3]}, r"boxes must have shape \[2, 4\]"),
        ({"masks": np.zeros((2, 40000, 0), np.float32)}, "masks must have at most 32768 rows and columns"),
        ({"image_size": (-1, 5)}, "image_size must be in 0..16777216, got -1"),
        ({"image_size": (5, -9)}, "image_size must be in 0..16777216, got -9"),
        ({"image_size": (5, 2**24 + 1)}, "image_size must be in 0..16777216"),
        ({"image_size": (2**24, 2**24)}, "image_size (times the number of masks )?must give"),
        ({"mode": "fast"}, "mode must be detectron2 or torchvision, got fast"),
        ({"threshold": 0.0}, "threshold must be positive, in"),
        ({"threshold": math.nan}, "threshold must be positive, in"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            op(**{**GIVEN, **wrong})
        with pytest.raises(ValueError, match=message):
            array_form(**{**GIVEN, **wrong})
    with pytest.raises(tf.errors.InvalidArgumentError, match="image_size must be two integers"):
        op(**{**GIVEN, "image_size": (5, 6, 7)})
    with pytest.raises(TypeError, match="boxes must be float32, got float64"):
        array_form(**{**GIVEN, "boxes": np.zeros((2, 4))})


@needs_native
def test_shape_functions():
    with tf.Graph().as_default():
        place = tf.compat.v1.placeholder
        size = place(tf.int32, [2])
        pasted = _library.native_op("paste_masks")(
            masks=place(tf.float32, None), boxes=place(tf.float32, [7, None]), image_size=size, packed=True
        )
        assert pasted.shape.as_list() == [7, None, None]
        runs = _library.native_op("paste_masks_rle")(
            masks=place(tf.float32, [7, 3, 3]), boxes=place(tf.float32, None), image_size=size
        )
        assert runs.counts.shape.as_list() == [None]
        assert runs.row_splits.shape.as_list() == [8]
        for wrong in ({"masks": place(tf.float32, [6, 3, 3])}, {"image_size": place(tf.int32, [3])}):
            given = {"masks": place(tf.float32, None), "boxes": place(tf.float32, [7, 4]), "image_size": size}
            for name in ("paste_masks", "paste_masks_rle"):
                with pytest.raises(ValueError, match="must be"):
                    _library.native_op(name)(**{**given, **wrong})


def test_keras_tensors_are_refused():
    with pytest.raises(TypeError, match=r"kseg_ops\.paste_masks takes tensors, but masks is a KerasTensor"):
        kseg_ops.paste_masks(keras.Input((3, 3)), GIVEN["boxes"], (5, 6))

"""The boxes of mask_iou and mask_nms: the result is that of masks cleared outside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.mask_cases import CORE, both_forms, in_form, needs_native, random_masks

FULL = np.ones((1, 4, 5), np.uint8)
# What of 4 rows and 5 columns a box touches: rows and columns, each from and up to.
TOUCHED = [
    ((0, 0, 5, 4), (0, 4, 0, 5)),
    ((1, 2, 3, 4), (2, 4, 1, 3)),
    ((1.9, 2.1, 3.1, 3.0), (2, 3, 1, 4)),
    ((0.5, 0.5, 0.6, 0.6), (0, 1, 0, 1)),
    ((-0.5, -7, 0.5, 1), (0, 1, 0, 1)),
    ((4.5, 3.5, 99, 99), (3, 4, 4, 5)),
    ((-math.inf, -math.inf, math.inf, math.inf), (0, 4, 0, 5)),
    ((-1e38, 1, 1e38, 2), (1, 2, 0, 5)),
    ((-3e9, 1, 3e9, 2), (1, 2, 0, 5)),
    # Nothing: no area, inverted, outside, not a number.
    ((2.5, 1, 2.5, 3), None),
    ((1, 2, 3, 2), None),
    ((3, 1, 1, 3), None),
    ((3.9, 1, 3.1, 3), None),
    ((1, 3, 3, 1), None),
    ((5, 0, 9, 4), None),
    ((0, 4, 5, 9), None),
    ((-9, 0, 0, 4), None),
    ((-9, -9, -1, -2), None),
    ((math.inf, 0, math.inf, 4), None),
    ((math.nan, 0, 5, 4), None),
    ((0, 0, 5, math.nan), None),
    # Subnormal numbers count as 0, whose ceiling is 0.
    ((0, 0, 1e-40, 4), None),
    ((-1e-40, 0, 1, 4), (0, 4, 0, 1)),
    ((0, 0, 1e-37, 4), (0, 4, 0, 1)),
]


def cleared(masks, boxes):
    """The definition, in plain Python."""
    masks = masks.copy()
    height, width = masks.shape[1:]
    for mask, box in zip(masks, boxes, strict=True):
        x1, y1, x2, y2 = (0.0 if abs(value) < 2.0**-126 else float(value) for value in box)
        inside = np.zeros((height, width), bool)
        if x1 < x2 and y1 < y2:
            rows = [math.isinf(y1) or y >= math.floor(y1) for y in range(height)]
            rows = [row and (math.isinf(y2) or y < math.ceil(y2)) for y, row in enumerate(rows)]
            columns = [math.isinf(x1) or x >= math.floor(x1) for x in range(width)]
            columns = [column and (math.isinf(x2) or x < math.ceil(x2)) for x, column in enumerate(columns)]
            inside = np.outer(rows, columns) & (x1 != math.inf) & (y1 != math.inf)
        mask[~inside] = 0
    return masks


def hard_boxes(count, height, width, seed):
    """Boxes at and around borders of bytes and words, some far outside or not finite."""
    generator = np.random.default_rng(seed)
    edges = np.array(
        [-9, -1, 0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 63, 64, 65, 127, 128, 129, width - 1, width, width + 3]
    )
    x = np.sort(generator.choice(edges, (count, 2)) + generator.choice([0, 0, 0.3, -0.3], (count, 2)), 1)
    y = np.sort(generator.uniform(-2, height + 2, (count, 2)), 1)
    boxes = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1).astype(np.float32)
    where = generator.random(boxes.shape) < 0.04
    return np.where(where, generator.choice([np.nan, np.inf, -np.inf, 3e38, -3e9, 1e-40], boxes.shape), boxes).astype(
        np.float32
    )


@both_forms
def test_touched_pixels(form):
    iou = in_form(form, "mask_iou")
    for box, touched in TOUCHED:
        expected = np.zeros_like(FULL)
        if touched is not None:
            top, bottom, left, right = touched
            expected[:, top:bottom, left:right] = 1
        np.testing.assert_array_equal(cleared(FULL, [box]), expected)
        # Each pixel alone against the mask: where its IoU is not 0, it is inside.
        pixels = np.eye(20, dtype=np.uint8).reshape(20, 4, 5)
        found = iou(FULL, pixels, boxes_a=np.array([box], np.float32)).numpy()
        np.testing.assert_array_equal(found[0], expected.reshape(-1) / max(1, expected.sum(dtype=np.float32)), str(box))


@both_forms
def test_by_hand(form):
    a = np.array([[[1, 1, 1, 0]]], bool)
    b = np.array([[[0, 1, 1, 1]], [[0, 0, 0, 1]]], bool)
    iou = in_form(form, "mask_iou")
    np.testing.assert_array_equal(iou(a, b, boxes_a=[[0, 0, 2, 1]]), np.float32([[1 / 4, 0]]))
    # A crowd's denominator is the area of a within its box.
    np.testing.assert_array_equal(iou(a, b, [True, True], boxes_a=[[0, 0, 2, 1]]), np.float32([[1 / 2, 0]]))
    both = iou(a, b, boxes_a=[[1, 0, 9, 1]], boxes_b=[[2, 0, 4, 1], [0, 0, 3, 1]])
    np.testing.assert_array_equal(both, np.float32([[1 / 3, 0]]))
    # The same array with two sets of boxes is not one set of masks.
    np.testing.assert_array_equal(iou(a, a, boxes_a=[[0, 0, 2, 1]], boxes_b=[[1, 0, 3, 1]]), np.float32([[1 / 3]]))


SIZES = [(1, 1), (5, 8), (17, 63), (40, 64), (9, 65), (90, 129), (3, 1300), (33, 200)]


@needs_native
@pytest.mark.parametrize("size", SIZES)
def test_equals_cleared_masks(target, size):
    a, b = random_masks(13, *size, seed=3), random_masks(6, *size, seed=4)
    a[:5], b[-3:] = 1, 255
    boxes_a, boxes_b = hard_boxes(13, *size, seed=5), hard_boxes(6, *size, seed=6)
    crowd = np.arange(6) % 2 == 0
    given = {"is_crowd": crowd, "boxes_a": boxes_a, "boxes_b": boxes_b}
    expected = kseg_ops.mask_iou(cleared(a, boxes_a), cleared(b, boxes_b), crowd).numpy().tobytes()
    # What is beyond the width in the last byte of a row is no pixel.
    bits = [kseg_ops.numpy.pack_masks(masks) for masks in (a, b)]
    if size[1] % 8:
        for array in bits:
            array[..., -1] |= np.uint8(0xFF << size[1] % 8 & 0xFF)
    for module in (kseg_ops, kseg_ops.numpy):
        for masks, width in (((a, b), None), ((a != 0, b), None), (bits, size[1])):
            assert np.asarray(module.mask_iou(*masks, width=width, **given)).tobytes() == expected
    with kseg_ops.use_reference():
        assert kseg_ops.mask_iou(a, b, **given).numpy().tobytes() == expected
        assert kseg_ops.mask_iou(*bits, width=size[1], **given).numpy().tobytes() == expected
    one = kseg_ops.mask_iou(a, b, boxes_b=boxes_b).numpy().tobytes()
    assert one == kseg_ops.mask_iou(a, cleared(b, boxes_b)).numpy().tobytes()


@needs_native
@pytest.mark.parametrize("kind", ["hard", "soft", "matrix"])
def test_suppression_equals_that_of_cleared_masks(target, kind):
    for seed, size in enumerate([(5, 8), (20, 130), (33, 200)]):
        generator = np.random.default_rng(seed)
        masks = random_masks(25, *size, seed)
        boxes = hard_boxes(25, *size, seed)
        scores = (generator.integers(0, 9, 25) / 9).astype(np.float32)
        classes = generator.integers(-1, 2, 25)
        options = {"kind": kind, "iou_threshold": 0.2, "max_output_size": 20}
        expected = kseg_ops.mask_nms(cleared(masks, boxes), scores, classes, **options)
        packed = kseg_ops.numpy.pack_masks(masks)
        results = [
            kseg_ops.mask_nms(masks, scores, classes, boxes=boxes, **options),
            kseg_ops.mask_nms(packed, scores, classes, boxes=boxes, width=size[1], **options),
            kseg_ops.numpy.mask_nms(packed, scores, classes, boxes=boxes, width=size[1], **options),
        ]
        with kseg_ops.use_reference():
            results.append(kseg_ops.mask_nms(masks, scores, classes, boxes=boxes, **options))
        for kept in results:
            np.testing.assert_array_equal(kept.indices, expected.indices)
            assert np.asarray(kept.scores).tobytes() == expected.scores.numpy().tobytes()


@needs_native
def test_boxes_of_a_batch():
    """Each image has its own."""
    masks = np.stack([random_masks(6, 9, 70, seed) for seed in range(2)])
    boxes = np.stack([hard_boxes(6, 9, 70, seed) for seed in range(2)])
    scores = np.random.default_rng(0).random((2, 6)).astype(np.float32)
    op = _library.native_op("mask_nms")
    given = {"scores": scores, "class_ids": np.zeros((2, 6), np.int32), "max_output_size": 6, "iou_threshold": 0.1}
    found = op(masks=masks, boxes=boxes, **given)
    outside = np.stack([cleared(*image) for image in zip(masks, boxes, strict=True)])
    for one, other in zip(found, op(masks=outside, boxes=np.zeros((0, 0, 4), np.float32), **given), strict=True):
        np.testing.assert_array_equal(one, other)


@needs_native
def test_what_lies_outside_the_boxes_is_not_looked_at():
    """The sum over it is what a box saves; that it is not read at all shows in the benchmark."""
    masks = random_masks(4, 50, 300, seed=1)
    boxes = np.float32([[70, 10, 130, 30]] * 4)
    other = cleared(masks, boxes)
    inside = np.zeros((50, 300), bool)
    inside[10:30, 70:130] = True
    other[:, ~inside] = 7
    expected = kseg_ops.mask_iou(masks, masks, boxes_a=boxes, boxes_b=boxes).numpy()
    assert expected.any()
    np.testing.assert_array_equal(kseg_ops.mask_iou(other, other, boxes_a=boxes, boxes_b=boxes), expected)


@needs_native
def test_equal_for_any_number_of_threads(target):
    a, b = random_masks(300, 90, 200, seed=5), random_masks(250, 90, 200, seed=6)
    boxes = {"boxes_a": hard_boxes(300, 90, 200, 7), "boxes_b": hard_boxes(250, 90, 200, 8)}
    results = []
    try:
        for threads in (1, 2, 3, 5):
            CORE.set_num_threads(threads)
            results.append(kseg_ops.numpy.mask_iou(a, b, **boxes).tobytes())
    finally:
        CORE.set_num_threads(0)
    assert len(set(results)) == 1


@both_forms
@pytest.mark.parametrize(("counts", "size"), [((0, 3), (4, 5)), ((2, 0), (4, 5)), ((2, 3), (0, 5)), ((2, 1), (4, 0))])
def test_empty_input(form, counts, size):
    masks = [np.ones((count, *size), np.uint8) for count in counts]
    boxes = [np.tile(np.float32([0, 0, 3, 3]), (count, 1)) for count in counts]
    iou = in_form(form, "mask_iou")(*masks, boxes_a=boxes[0], boxes_b=boxes[1])
    np.testing.assert_array_equal(iou, np.zeros(counts))


def test_reference_under_xla():
    a, b = random_masks(4, 30, 26, seed=7), random_masks(3, 30, 26, seed=8)
    boxes_a, boxes_b = hard_boxes(4, 30, 26, 1), hard_boxes(3, 30, 26, 2)

    @tf.function(jit_compile=True)
    def compiled(a, b, boxes_a, boxes_b):
        with kseg_ops.use_reference():
            return kseg_ops.mask_iou(a, b, boxes_a=boxes_a, boxes_b=boxes_b)

    expected = kseg_ops.mask_iou(cleared(a, boxes_a), cleared(b, boxes_b))
    np.testing.assert_array_equal(compiled(a, b, boxes_a, boxes_b), expected)


@both_forms
def test_sizes_known_only_at_run_time(form):
    iou = in_form(form, "mask_iou")
    masks, boxes = tf.TensorSpec(None, tf.uint8), tf.TensorSpec(None, tf.float32)

    @tf.function(input_signature=[masks, boxes])
    def overlap(masks, boxes):
        return iou(masks, masks, boxes_a=boxes)

    np.testing.assert_array_equal(overlap(FULL, np.float32([[0, 0, 5, 2]])), [[0.5]])
    # For the raw op no boxes are none; here they were asked for.
    with pytest.raises(tf.errors.InvalidArgumentError, match="boxes_a must have shape"):
        overlap(FULL, np.zeros((0, 4), np.float32))


@pytest.mark.parametrize("module", [kseg_ops, kseg_ops.numpy], ids=["tensorflow", "numpy"])
@pytest.mark.parametrize("op", ["mask_iou", "mask_nms"])
def test_refusals(module, op):
    if module is kseg_ops.numpy and CORE is None:
        pytest.skip("the compiled library is off")

    def call(boxes):
        if op == "mask_iou":
            return module.mask_iou(FULL, FULL, boxes_b=boxes)
        return module.mask_nms(FULL, [0.5], boxes=boxes)

    name = "boxes_b" if op == "mask_iou" else "boxes"
    call(np.zeros((1, 4), np.float64))
    for wrong in (np.zeros((0, 4)), np.zeros((2, 4)), np.zeros((1, 5)), np.zeros(4), np.zeros((1, 1, 4))):
        with pytest.raises(ValueError, match=rf"{name} must have shape \[N, 4\], one box per mask, \(1, 4\), got"):
            call(wrong)
    with pytest.raises(TypeError, match="boxes must be float32, got float16"):
        call(np.zeros((1, 4), np.float16))


@needs_native
def test_raw_ops_check_what_they_get():
    iou, nms = _library.native_op("mask_iou"), _library.native_op("mask_nms")
    none, one = np.zeros((0, 4), np.float32), np.zeros((1, 4), np.float32)
    given = {"a": FULL, "b": FULL, "is_crowd": [False], "boxes_a": none, "boxes_b": none}
    assert iou(**given).numpy() == 1
    assert iou(**{**given, "boxes_b": one}).numpy() == 0
    for name in ("boxes_a", "boxes_b"):
        for wrong, message in (
            (np.zeros((2, 4), np.float32), rf"{name} must have shape \[1, 4\], one box per mask, or \[0, 4\] for none"),
            (np.zeros((1, 3), np.float32), rf"{name} must have shape \[1, 4\]"),
            (np.zeros(4, np.float32), f"{name} must have rank 2"),
        ):
            with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                iou(**{**given, name: wrong})
            with pytest.raises(ValueError, match=message):
                CORE.mask_iou(FULL, FULL, np.zeros(1, np.uint8), **{name: wrong})
    given = {"masks": FULL[None], "scores": [[0.5]], "class_ids": [[0]], "max_output_size": 1}
    assert nms(**given, boxes=np.zeros((0, 0, 4), np.float32)).num_valid.numpy() == 1
    for wrong, message in (
        (np.zeros((1, 2, 4), np.float32), r"boxes must have shape \[1, 1, 4\], one box per mask, or \[0, 0, 4\] for"),
        (np.zeros((1, 1, 5), np.float32), r"boxes must have shape \[1, 1, 4\]"),
        (one, "boxes must have rank 3"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            nms(**given, boxes=wrong)
        arrays = {"masks": FULL[None], "scores": np.float32([[0.5]]), "class_ids": np.int32([[0]])}
        with pytest.raises(ValueError, match=message):
            CORE.mask_nms(**arrays, max_output_size=1, boxes=wrong)
    with tf.Graph().as_default():
        place = tf.compat.v1.placeholder
        masks, crowd = place(tf.uint8, None), place(tf.bool, None)
        with pytest.raises(ValueError, match="must be 4"):
            iou(a=masks, b=masks, is_crowd=crowd, boxes_a=place(tf.float32, [2, 5]), boxes_b=place(tf.float32, None))

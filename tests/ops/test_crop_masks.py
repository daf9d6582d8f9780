"""What kseg_ops.crop_masks computes: worked out by hand, against torchvision, against roi_align, in every form."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import rle
from tests.helpers.crop_masks_cases import EPS, FORMS, discs, in_form, native, random_boxes, reference
from tests.ops.make_crop_masks_golden import FILE, SIZE, inputs


@pytest.fixture(params=[native, reference], ids=["native", "reference"])
def crop(request):
    """`kseg_ops.crop_masks` in either form."""
    return request.param


CORNER = np.array([[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]], np.uint8)


def test_worked_out_by_hand(crop):
    whole = [[0.0, 0.0, 4.0, 3.0]]
    # One bin per pixel, samples on pixel centres: the mask itself.
    np.testing.assert_array_equal(crop(CORNER, whole, (3, 4)), CORNER)
    # Two bins of 3 x 2 pixels each: 4 of 6 pixels are covered on the left.
    np.testing.assert_array_equal(crop(CORNER, whole, (1, 2)), np.float32([[[2 / 3, 0]]]))
    # Half a pixel to the right: bins of one pixel lie over two pixels each.
    moved = [[0.5, 0.0, 3.5, 3.0]]
    np.testing.assert_array_equal(crop(CORNER, moved, (3, 3))[0, 0], [1, 0.5, 0])
    # Not aligned, the same samples lie half a pixel further to the lower right, where pixel x has its value.
    np.testing.assert_array_equal(
        crop(CORNER, whole, (3, 4), aligned=False)[0], [[1, 0.5, 0, 0], [0.5, 0.25, 0, 0], [0, 0, 0, 0]]
    )
    # Outside the mask by more than a pixel counts as 0; within that, as the pixel at the border.
    np.testing.assert_array_equal(crop(CORNER, [[-3.0, 0.0, 1.0, 1.0]], (1, 4)), [[[0, 0, 1, 1]]])


def test_threshold(crop):
    boxes = [[0.5, 0.0, 3.5, 3.0]]
    for threshold, expected in ((0.5, [1, 1, 0]), (0.51, [1, 0, 0]), (0, [1, 1, 1]), (1.0, [1, 0, 0]), (2, [0, 0, 0])):
        result = crop(CORNER, boxes, (3, 3), threshold=threshold)
        assert result.dtype == np.float32
        assert result[0, 0].tolist() == expected


def test_torchvision(crop):
    with np.load(FILE) as file:
        golden = dict(file)
    given = inputs()
    for name, array in given.items():
        np.testing.assert_array_equal(golden[name], array)
    boxes = given["boxes"]
    # torchvision adds 4 products for each sample of a bin in float32; each rounds its factors, itself and the sum.
    samples = np.prod(np.ceil(np.maximum(boxes[:, 2:] - boxes[:, :2], 1) / SIZE), axis=1)
    bound = ((4 * samples + 16) * EPS)[:, None, None]
    ours = crop(given["masks"], boxes, SIZE, given["mask_indices"], aligned=False)
    assert np.all(np.abs(ours - golden["projected"]) <= bound)
    aligned = crop(given["masks"], boxes, SIZE, given["mask_indices"])
    assert np.all(np.abs(aligned - golden["aligned"]) <= bound)
    bits = crop(given["masks"], boxes, SIZE, given["mask_indices"], threshold=0.5)
    undecided = np.abs(golden["aligned"] - 0.5) <= bound
    assert np.all((bits == (golden["aligned"] >= 0.5)) | undecided)
    assert undecided.mean() < 0.01


@pytest.mark.parametrize("form", ["packed", "runs"])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 5])
@pytest.mark.parametrize("aligned", [True, False])
def test_is_roi_align_of_the_mask(crop, form, sampling_ratio, aligned):
    masks, boxes = discs(0, 4, 23, 37), random_boxes(1, 20, 23, 37)
    indices = np.arange(20) % 4
    if sampling_ratio == 0:  # roi_align's own sum of a huge box is less precise than the bound below
        boxes = boxes[3:]
        indices = indices[3:]
    ours = crop(
        **in_form(form, masks),
        boxes=boxes,
        size=(5, 9),
        mask_indices=indices,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )
    with kseg_ops.use_reference():
        expected = kseg_ops.roi_align(
            masks[..., None].astype(np.float32), boxes, indices, (5, 9), 1.0, sampling_ratio, aligned
        )[..., 0].numpy()
    terms = 4 * sampling_ratio**2 if sampling_ratio else masks[0].size
    np.testing.assert_allclose(ours, expected, rtol=0, atol=(terms + 8) * EPS)


def test_padding_and_repeated_masks(crop):
    masks = discs(2, 3, 20, 30)
    boxes = np.tile(np.float32([[0, 0, 30, 20]]), (6, 1))
    result = crop(masks, boxes, (20, 30), [2, -1, 0, 0, -1, 1])
    np.testing.assert_array_equal(result[[0, 2, 3, 5]], masks[[2, 0, 0, 1]])
    assert not result[[1, 4]].any()
    np.testing.assert_array_equal(crop(masks, boxes[:3], (20, 30)), masks)


def test_a_box_that_is_not_finite_gives_zeros(crop):
    masks = np.ones((1, 5, 6), np.uint8)
    boxes = np.float32([[np.nan, 0, 4, 4], [0, 0, np.inf, 4], [0, -np.inf, 4, 4], [0, 0, 4, np.nan], [0, 0, 4, 4]])
    for sampling_ratio in (0, 2):
        for aligned in (True, False):
            result = crop(masks, boxes, 3, [0] * 5, sampling_ratio=sampling_ratio, aligned=aligned)
            assert not result[:4].any()
            assert result[4].all()


@pytest.mark.parametrize("form", FORMS)
def test_nothing_to_crop(crop, form):
    none = np.zeros((0, 4), np.float32)
    masks = discs(3, 2, 6, 7)
    assert crop(**in_form(form, masks), boxes=none, size=3, mask_indices=[]).shape == (0, 3, 3)
    assert crop(**in_form(form, masks[:0]), boxes=none, size=(2, 3)).shape == (0, 2, 3)
    assert not crop(**in_form(form, masks[:0]), boxes=[[0.0, 0, 4, 4]], size=2, mask_indices=[-1]).any()
    for empty in (masks[:, :0], masks[:, :, :0]):
        result = crop(**in_form(form, empty), boxes=[[0.0, 0, 4, 4]] * 2, size=2)
        assert result.shape == (2, 2, 2)
        assert not result.any()


def polygon_case(dtype):
    polygons = [
        [[3, 2, 20, 4, 17, 21, 5, 15]],
        [[1, 1, 9, 1, 9, 8, 1, 8], [15.3, 10.7, 29.1, 12.9, 22.5, 24.3]],
        [],
        [[4, 4], [], [2, 3, 9, 9]],  # too few points: nothing
    ]
    return polygons, tf.ragged.constant(polygons, dtype, ragged_rank=2)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_polygons_are_what_coco_makes_of_them(crop, dtype):
    polygons, ragged = polygon_case(dtype)
    rounded = [[np.asarray(p, dtype.as_numpy_dtype) for p in mask if len(p) > 4] for mask in polygons]
    masks = rle.decode([rle.from_polygons(mask, (25, 30)) for mask in rounded])
    boxes, indices = random_boxes(5, 16, 25, 30), np.arange(16) % 4
    ours = crop(ragged, boxes, (7, 6), indices, image_size=(25, 30))
    np.testing.assert_array_equal(ours, crop(masks, boxes, (7, 6), indices))
    assert ours.any()


@pytest.mark.parametrize("form", ["dense", "packed", "runs", "polygons"])
def test_batches_are_the_images_one_by_one(crop, form):
    masks = np.stack([discs(seed, 3, 19, 26) for seed in range(2)])
    boxes = np.stack([random_boxes(seed, 11, 19, 26) for seed in range(2)])
    indices = np.random.default_rng(0).integers(-1, 3, (2, 11))
    if form == "polygons":
        polygons = [[[[1, 1, 12, 2, 9, 17]], []], [[[3, 3, 25, 4, 6, 16]], [[0, 0, 5, 0, 5, 5]], []]]
        indices = np.minimum(indices, [[1], [2]])
        batch = {"masks": tf.ragged.constant(polygons, tf.float32, ragged_rank=3), "image_size": (19, 26)}
        single = [
            {"masks": tf.ragged.constant(one, tf.float32, ragged_rank=2), "image_size": (19, 26)} for one in polygons
        ]
    elif form == "runs":
        single = [in_form(form, one) for one in masks]
        rows = tf.concat([one["masks"] for one in single], axis=0)
        batch = {"masks": tf.RaggedTensor.from_row_lengths(rows, [3, 3]), "image_size": (19, 26)}
    else:
        single, batch = [in_form(form, one) for one in masks], in_form(form, masks)
    result = crop(**batch, boxes=boxes, size=(4, 5), mask_indices=indices)
    assert result.shape == (2, 11, 4, 5)
    for image in range(2):
        expected = crop(**single[image], boxes=boxes[image], size=(4, 5), mask_indices=indices[image])
        np.testing.assert_array_equal(result[image], expected)


def test_batches_without_indices(crop):
    masks = np.stack([discs(seed, 3, 19, 26) for seed in range(2)])
    boxes = np.tile(np.float32([0, 0, 26, 19]), (2, 3, 1))
    np.testing.assert_array_equal(crop(masks, boxes, (19, 26)), masks)
    assert crop(masks[:0], boxes[:0], 4).shape == (0, 3, 4, 4)
    assert crop(masks, boxes[:, :0], 4, np.zeros((2, 0), int)).shape == (2, 0, 4, 4)


@pytest.mark.parametrize("native_form", [True, False])
def test_graphs_with_unknown_shapes(native_form):
    if native_form:
        native(CORNER, [[0.0, 0, 1, 1]], 1)  # skips where the library is off
    masks, boxes, indices = discs(6, 3, 21, 18), random_boxes(7, 10, 21, 18), np.arange(10) % 3
    expected = reference(masks, boxes, (3, 4), indices)
    packed = in_form("packed", masks)["masks"]
    runs = in_form("runs", masks)["masks"]

    @tf.function(
        input_signature=[tf.TensorSpec([None] * 3, tf.uint8), tf.TensorSpec([None, 4]), tf.TensorSpec([None], tf.int64)]
    )
    def dense(masks, boxes, indices):
        result = kseg_ops.crop_masks(masks, boxes, (3, 4), indices)
        assert result.shape.as_list() == [None, 3, 4]
        return result

    @tf.function(
        input_signature=[tf.TensorSpec([None] * 3, tf.uint8), tf.TensorSpec([10, 4]), tf.TensorSpec([], tf.int64)]
    )
    def of_packed(masks, boxes, width):
        result = kseg_ops.crop_masks(masks, boxes, (3, 4), indices, width=width)
        assert result.shape.as_list() == [10, 3, 4]
        return result

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int32), tf.TensorSpec([2], tf.int32)])
    def of_runs(masks, image_size):
        return kseg_ops.crop_masks(masks, boxes, (3, 4), indices, image_size=image_size)

    def call():
        return dense(masks, boxes, indices), of_packed(packed, boxes, 18), of_runs(runs, [21, 18])

    if native_form:
        results = call()
    else:
        with kseg_ops.use_reference():
            results = call()
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("form", ["dense", "packed", "runs", "polygons"])
def test_the_reference_compiles_under_xla(form):
    masks, boxes, indices = discs(8, 3, 17, 22), random_boxes(9, 9, 17, 22), [0, 1, 2, -1, 0, 1, 2, 0, 1]
    given = (
        in_form(form, masks) if form != "polygons" else {"masks": polygon_case(tf.float32)[1], "image_size": (17, 22)}
    )

    @tf.function(jit_compile=True)
    def compiled(masks, boxes):
        with kseg_ops.use_reference():
            return kseg_ops.crop_masks(**{**given, "masks": masks}, boxes=boxes, size=(4, 3), mask_indices=indices)

    ours = compiled(
        tf.convert_to_tensor(given["masks"]) if form != "runs" and form != "polygons" else given["masks"], boxes
    )
    expected = reference(**given, boxes=boxes, size=(4, 3), mask_indices=indices)
    # XLA may round positions of up to 1e9 pixels otherwise; those of boxes near the mask by some 1e-5 pixels.
    finite = np.abs(boxes).max(axis=1) < 1e3
    np.testing.assert_allclose(ours.numpy()[finite], expected[finite], rtol=0, atol=64 * 22 * EPS)


def test_in_a_data_pipeline(crop):
    masks, boxes = discs(10, 3, 17, 22), random_boxes(11, 3, 17, 22)
    expected = crop(masks, boxes, 5)
    context = kseg_ops.use_reference() if crop is reference else None
    if context:
        context.__enter__()
    try:
        data = tf.data.Dataset.from_tensors((masks, boxes)).map(
            lambda masks, boxes: kseg_ops.crop_masks(masks, boxes, 5)
        )
    finally:
        if context:
            context.__exit__()
    np.testing.assert_array_equal(next(iter(data)), expected)


def test_there_is_no_gradient():
    boxes = tf.constant([[0.0, 0.0, 4.0, 3.0]])
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        total = tf.reduce_sum(kseg_ops.crop_masks(CORNER, boxes, 2))
    assert tape.gradient(total, boxes) is None

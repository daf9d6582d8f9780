"""mask_iou by hand, against pycocotools, and native against reference."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.mask_cases import CORE, both_forms, in_form, needs_native, random_masks


@both_forms
def test_by_hand(form):
    iou = in_form(form, "mask_iou")
    a = np.array([[[1, 1, 1, 0], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]], bool)
    b = np.array([[[0, 1, 1, 1], [0, 0, 0, 0]], [[0, 0, 0, 0], [1, 1, 1, 1]], [[0, 0, 0, 0], [0, 0, 0, 0]]], bool)
    np.testing.assert_array_equal(iou(a, b), np.array([[2 / 4, 0, 0], [0, 0, 0]], np.float32))
    crowd = iou(a, b, is_crowd=[True, True, True])
    np.testing.assert_array_equal(crowd, np.array([[2 / 3, 0, 0], [0, 0, 0]], np.float32))
    np.testing.assert_array_equal(iou(a, a), np.array([[1, 0], [0, 0]], np.float32))


@both_forms
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (40, 64), (33, 130), (21, 700)])
def test_equals_pycocotools(form, size):
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    a, b = random_masks(9, *size, seed=1), random_masks(7, *size, seed=2)
    crowd = np.array([True, False, False, True, False, True, False])
    encoded = [[coco.encode(np.asfortranarray(mask != 0)) for mask in masks] for masks in (a, b)]
    for flags in (np.zeros(7, bool), crowd):
        # float64 there; a mask without pixels gives 0 / 0, which is 0 here.
        expected = np.nan_to_num(coco.iou(*encoded, flags.tolist())).astype(np.float32)
        np.testing.assert_array_equal(in_form(form, "mask_iou")(a, b, flags), expected)


@needs_native
@pytest.mark.parametrize("size", [(1, 1), (5, 8), (17, 63), (64, 64), (9, 65), (300, 129), (3, 1300)])
def test_native_equals_reference_dense_and_packed(target, size):
    a, b = random_masks(11, *size, seed=3), random_masks(6, *size, seed=4)
    a[-1] = 1  # all pixels: long runs of full words
    b[-1] = 255
    crowd = np.arange(6) % 2 == 0
    with kseg_ops.use_reference():
        expected = kseg_ops.mask_iou(a, b, crowd).numpy()
        packed = kseg_ops.mask_iou(kseg_ops.pack_masks(a), kseg_ops.pack_masks(b), crowd, size[1]).numpy()
    assert packed.tobytes() == expected.tobytes()
    assert kseg_ops.mask_iou(a, b, crowd).numpy().tobytes() == expected.tobytes()
    assert kseg_ops.mask_iou(a != 0, b, crowd).numpy().tobytes() == expected.tobytes()
    # Bits beyond the width do not count.
    bits = [kseg_ops.numpy.pack_masks(masks) for masks in (a, b)]
    if size[1] % 8:
        bits = [
            array | np.where(np.arange(array.shape[-1]) == size[1] // 8, 0xFF << size[1] % 8 & 0xFF, 0)
            for array in bits
        ]
    bits = [array.astype(np.uint8) for array in bits]
    assert kseg_ops.mask_iou(*bits, crowd, size[1]).numpy().tobytes() == expected.tobytes()
    assert kseg_ops.numpy.mask_iou(*bits, crowd, size[1]).tobytes() == expected.tobytes()
    assert kseg_ops.numpy.mask_iou(a, b != 0, crowd).tobytes() == expected.tobytes()


@both_forms
def test_counts_beyond_float32_are_exact(form):
    """2**24 + 1 is no float32: a sum in float32 would lose the last pixel."""
    a = np.ones((1, 4097, 4097), bool)
    b = a.copy()
    b[0, 4096, 4096] = False
    expected = np.float32((4097**2 - 1) / 4097**2)
    assert in_form(form, "mask_iou")(a, b).numpy().item() == expected
    assert expected < 1


@both_forms
@pytest.mark.parametrize(
    "shapes", [((0, 4, 5), (3, 4, 5)), ((2, 4, 5), (0, 4, 5)), ((2, 0, 5), (3, 0, 5)), ((2, 4, 0), (1, 4, 0))]
)
def test_empty_input(form, shapes):
    iou = in_form(form, "mask_iou")(*(np.ones(shape, np.uint8) for shape in shapes))
    np.testing.assert_array_equal(iou, np.zeros((shapes[0][0], shapes[1][0])))


@needs_native
def test_equal_for_any_number_of_threads(target):
    a, b = random_masks(60, 90, 200, seed=5), random_masks(50, 90, 200, seed=6)
    results = []
    try:
        for threads in (1, 2, 3, 5):
            CORE.set_num_threads(threads)
            results.append(kseg_ops.numpy.mask_iou(a, b).tobytes())
    finally:
        CORE.set_num_threads(0)
    assert len(set(results)) == 1


def test_reference_under_xla_and_in_a_dataset():
    a, b = random_masks(4, 300, 260, seed=7), random_masks(3, 300, 260, seed=8)

    @tf.function(jit_compile=True)
    def compiled(a, b):
        with kseg_ops.use_reference():
            return kseg_ops.mask_iou(a, b)

    expected = kseg_ops.mask_iou(a, b).numpy()
    np.testing.assert_array_equal(compiled(a, b), expected)
    dataset = tf.data.Dataset.from_tensors((a, b)).map(kseg_ops.mask_iou)
    np.testing.assert_array_equal(next(iter(dataset)), expected)


@both_forms
def test_static_shapes(form):
    iou = in_form(form, "mask_iou")

    @tf.function(input_signature=[tf.TensorSpec([None, 4, None], tf.bool), tf.TensorSpec([3, None, 5], tf.bool)])
    def known(a, b):
        found = iou(a, b)
        assert found.shape.as_list() == [None, 3]
        return found

    @tf.function(input_signature=[tf.TensorSpec(None, tf.uint8)] * 2)
    def unknown(a, b):
        return iou(a, b, width=5)

    assert known(np.ones((2, 4, 5), bool), np.ones((3, 4, 5), bool)).shape == (2, 3)
    assert unknown(np.ones((2, 4, 1), np.uint8), np.ones((1, 4, 1), np.uint8)).numpy().tolist() == [[1], [1]]


MASKS = np.ones((2, 3, 4), np.uint8)


@pytest.mark.parametrize("module", [kseg_ops, kseg_ops.numpy], ids=["tensorflow", "numpy"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"a": MASKS.astype(np.float32)}, TypeError, "a must be bool or uint8, got float32"),
        ({"a": MASKS[..., :1], "b": MASKS.astype(bool), "width": 4}, TypeError, "b must be uint8 where width is given"),
        ({"b": MASKS[:, :2]}, ValueError, "a and b must be masks of one height and width"),
        ({"a": MASKS[0]}, ValueError, "a must have (shape|rank)"),
        ({"width": 4}, ValueError, "a must have ceil.width / 8. = 1 bytes per row"),
        ({"width": -1}, ValueError, "width must be in 0"),
        ({"width": "4"}, TypeError, "width must be an integer, got '4'"),
        ({"is_crowd": [True]}, ValueError, "is_crowd must have one entry per mask of b"),
        ({"is_crowd": [0.5, 1.0]}, TypeError, "is_crowd must be bool or integers, got float"),
    ],
)
def test_refusals(module, change, error, message):
    if module is kseg_ops.numpy and CORE is None:
        pytest.skip("the compiled library is off")
    with pytest.raises(error, match=message):
        module.mask_iou(**{"a": MASKS, "b": MASKS, **change})


@needs_native
def test_raw_op_checks_what_it_gets():
    op = _library.native_op("mask_iou")
    none = np.zeros((0, 4), np.float32)
    given = {"a": MASKS, "b": MASKS, "is_crowd": [False, False], "boxes_a": none, "boxes_b": none, "width": -1}
    assert op(**given).shape == (2, 2)
    for wrong, message in (
        ({"a": MASKS[0]}, "a must have rank 3"),
        ({"b": MASKS[None]}, "b must have rank 3"),
        ({"b": MASKS[:, :, :2]}, "a and b must be masks of one height and width, got 3 x 4 and 3 x 2"),
        ({"is_crowd": [False]}, "is_crowd must have one entry per mask of b, 2, got 1"),
        ({"is_crowd": False}, "is_crowd must have rank 1"),
        ({"width": 40}, "a must have ceil.width / 8. = 5 bytes per row"),
        ({"width": -2}, "width must be in 0..2147483647 or -1, got -2"),
        (
            {"a": np.ones((2**20, 0, 4), np.uint8), "b": np.ones((2**12, 0, 4), np.uint8), "is_crowd": [False] * 2**12},
            "at most 2147483647 pairs",
        ),
        ({"a": MASKS > 0, "b": MASKS > 0, "width": 30}, "a must be uint8 where width is given, got bool"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            op(**{**given, **wrong})
    with tf.Graph().as_default():
        place = tf.compat.v1.placeholder
        boxes = {"boxes_a": place(tf.float32, None), "boxes_b": place(tf.float32, [None, 4])}
        with pytest.raises(ValueError, match="must be equal"):
            op(a=place(tf.uint8, [2, 3, 4]), b=place(tf.uint8, [2, 3, 5]), is_crowd=place(tf.bool, [2]), **boxes)
        with pytest.raises(ValueError, match="must be equal"):
            op(a=place(tf.uint8, [2, 3, 4]), b=place(tf.uint8, [2, 3, 4]), is_crowd=place(tf.bool, [3]), **boxes)


@needs_native
def test_raw_numpy_binding_checks_what_it_gets():
    with pytest.raises(ValueError, match="is_crowd must have one entry per mask of b, 2, got 3"):
        CORE.mask_iou(MASKS, MASKS, np.zeros(3, np.uint8))
    with pytest.raises(TypeError, match="a must be uint8, got int16"):
        CORE.mask_iou(MASKS.astype(np.int16), MASKS, np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="width must be in 0"):
        CORE.mask_iou(MASKS, MASKS, np.zeros(2, np.uint8), width=-7)


def test_keras_tensors_are_refused():
    import keras

    with pytest.raises(TypeError, match=r"kseg_ops\.mask_iou takes tensors, but a is a KerasTensor"):
        kseg_ops.mask_iou(keras.Input((3, 4), dtype="bool"), MASKS)

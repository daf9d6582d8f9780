"""connected_components: cases worked out by hand, scipy and scikit-image, and native against reference."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.ndimage
import skimage.measure
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.mask_shapes import blobs, named_shapes, noise, spiral

CORE = _library.core()
NATIVE = _library.native_op("connected_components")
needs_native = pytest.mark.skipif(NATIVE is None or CORE is None, reason="the compiled library is off")
SHAPES = named_shapes()


def reference(*args, **kwargs):
    with kseg_ops.use_reference():
        return kseg_ops.connected_components(*args, **kwargs)


@pytest.fixture(params=["native", "reference"])
def label(request):
    if request.param == "native" and NATIVE is None:
        pytest.skip("the compiled library is off")
    return kseg_ops.connected_components if request.param == "native" else reference


def test_by_hand(label):
    mask = np.array([[0, 1, 0, 0, 1], [1, 0, 0, 1, 1], [0, 0, 0, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 1]])
    labels, count = label(mask, 4)
    expected = [[0, 1, 0, 0, 2], [3, 0, 0, 2, 2], [0, 0, 0, 0, 0], [4, 0, 4, 0, 5], [4, 4, 4, 0, 5]]
    np.testing.assert_array_equal(labels, expected)
    assert int(count) == 5
    labels, count = label(mask, 8)
    expected = [[0, 1, 0, 0, 2], [1, 0, 0, 2, 2], [0, 0, 0, 0, 0], [3, 0, 3, 0, 4], [3, 3, 3, 0, 4]]
    np.testing.assert_array_equal(labels, expected)
    assert int(count) == 4
    assert labels.dtype == count.dtype == tf.int32


def test_a_component_is_named_by_its_first_pixel_and_not_by_where_it_was_joined(label):
    # The right arm begins first and is joined to the left one in the last row.
    labels, count = label([[0, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]])
    np.testing.assert_array_equal(labels, [[0, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 2, 0, 0]])
    assert int(count) == 2


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("connectivity", [4, 8])
def test_equals_scipy_and_skimage(label, name, connectivity):
    mask = SHAPES[name]
    labels, count = label(mask, connectivity)
    expected, number = scipy.ndimage.label(mask, np.ones((3, 3)) if connectivity == 8 else None)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(labels, skimage.measure.label(mask, connectivity=1 if connectivity == 4 else 2))
    assert int(count) == number


@needs_native
@pytest.mark.parametrize("connectivity", [4, 8])
def test_every_instruction_set(target, connectivity):
    for name, mask in SHAPES.items():
        labels, counts = CORE.connected_components(mask[None].view(np.uint8), connectivity)
        expected, number = scipy.ndimage.label(mask, np.ones((3, 3)) if connectivity == 8 else None)
        np.testing.assert_array_equal(labels[0], expected, err_msg=name)
        assert counts[0] == number


@needs_native
@pytest.mark.parametrize("mask", [blobs(700, 610, 4), noise(700, 610, 0.6), spiral(801), ~spiral(801)])
def test_stripes_are_joined_alike_for_any_number_of_threads(mask):
    results = []
    try:
        for threads in (1, 2, 3, 7):
            CORE.set_num_threads(threads)
            for connectivity in (4, 8):
                results.append(kseg_ops.numpy.connected_components(mask, connectivity))
                expected, number = scipy.ndimage.label(mask, np.ones((3, 3)) if connectivity == 8 else None)
                np.testing.assert_array_equal(results[-1][0], expected)
                assert results[-1][1] == number
    finally:
        CORE.set_num_threads(0)


@needs_native
def test_rows_longer_than_a_stripe():
    mask = noise(5, 150_000, 0.6)  # stripes of one row
    labels, count = kseg_ops.connected_components(mask, 8)
    expected, number = scipy.ndimage.label(mask, np.ones((3, 3)))
    np.testing.assert_array_equal(labels, expected)
    assert int(count) == number


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "uint64"])
def test_whatever_is_not_zero_is_foreground(label, dtype):
    values = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 1]]).astype(dtype)
    if dtype != "bool":
        values *= np.array(3 if np.iinfo(dtype).min == 0 else -3, dtype)  # and different labels touch
        values[0, 1] = 1
    labels, count = label(tf.constant(values), 4)
    np.testing.assert_array_equal(labels, [[0, 1, 1], [2, 0, 0], [0, 0, 3]])
    assert int(count) == 3
    if CORE:
        np.testing.assert_array_equal(kseg_ops.numpy.connected_components(values, 4)[0], labels)


@pytest.mark.parametrize(
    "shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0), (3, 4), (2, 3, 4), (2, 0, 3, 4), (2, 2, 3, 4)]
)
def test_leading_axes_and_empty_ones(label, shape):
    masks = np.ones(shape, bool)
    labels, counts = label(masks)
    assert labels.shape == shape
    assert counts.shape == shape[:-2]
    assert np.all(labels.numpy() == 1)
    assert np.all(counts.numpy() == (0 if 0 in shape[-2:] else 1))
    if CORE:
        ours = kseg_ops.numpy.connected_components(masks)
        assert (ours[0].shape, ours[1].shape) == (labels.shape, counts.shape)
        assert ours[0].dtype == ours[1].dtype == np.int32


def test_images_of_a_batch_are_on_their_own(label):
    masks = np.stack([noise(40, 37, 0.5, seed) for seed in range(5)])
    labels, counts = label(masks)
    for image in range(5):
        expected, number = scipy.ndimage.label(masks[image], np.ones((3, 3)))
        np.testing.assert_array_equal(labels[image], expected)
        assert int(counts[image]) == number


@pytest.mark.parametrize("shape", [None, [None] * 3, [None, None], [2, None, 5]])
def test_unknown_shapes(label, shape):
    rank = 3 if shape is None else len(shape)
    masks = noise(3 * 2, 5, 0.5).reshape([2, 3, 5][-rank:] if rank == 3 else [6, 5])
    graph = tf.function(label, input_signature=[tf.TensorSpec(shape, tf.bool)])
    static = graph.get_concrete_function().output_shapes
    assert static[0].as_list() == shape if shape else static[0].rank in (None, 3)
    for ours, expected in zip(graph(masks), reference(masks), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_the_reference_compiles_under_xla_and_works_in_a_pipeline():
    mask = np.stack([spiral(31), noise(31, 31, 0.6)])
    with kseg_ops.use_reference():
        compiled = tf.function(kseg_ops.connected_components, jit_compile=True)(tf.constant(mask))
    dataset = tf.data.Dataset.from_tensor_slices(mask).map(kseg_ops.connected_components).batch(2)
    for ours in (compiled, next(iter(dataset))):
        for result, expected in zip(ours, reference(mask), strict=True):
            np.testing.assert_array_equal(result, expected)


def test_static_shapes(label):
    graph = tf.function(label, input_signature=[tf.TensorSpec([2, 3, 4, 5], tf.uint8)])
    assert [shape.as_list() for shape in graph.get_concrete_function().output_shapes] == [[2, 3, 4, 5], [2, 3]]


def test_has_no_gradient():
    x = tf.Variable([[1.0, 0.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.cast(kseg_ops.connected_components(x > 0)[0], tf.float32))
    assert tape.gradient(total, x) is None


@pytest.mark.parametrize(
    ("masks", "connectivity", "error", "message"),
    [
        (np.zeros((3, 3), "float32"), 8, TypeError, "masks must be bool or integer, got dtype float32: compare with"),
        (np.zeros(3, bool), 8, ValueError, r"masks must have shape \[..., H, W\], got shape \(3,\)"),
        (np.zeros((3, 3), bool), 6, ValueError, r"connectivity must be 4 \(sides\) or 8 .*, got 6"),
        (np.zeros((3, 3), bool), 8.0, TypeError, "connectivity must be an integer, got 8.0"),
    ],
)
def test_bad_arguments(masks, connectivity, error, message):
    with pytest.raises(error, match=message):
        kseg_ops.connected_components(masks, connectivity)
    if CORE:
        with pytest.raises(error, match=message):
            kseg_ops.numpy.connected_components(masks, connectivity)


def test_keras_tensors_are_refused():
    with pytest.raises(TypeError, match="masks is a KerasTensor"):
        kseg_ops.connected_components(keras.Input((4, 4), dtype="bool"))


def test_too_few_axes_at_run_time(label):
    graph = tf.function(label, input_signature=[tf.TensorSpec(None, tf.bool)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="masks must have shape"):
        graph(tf.constant([True, False]))


@needs_native
def test_the_raw_op_checks_what_it_gets():
    for attributes, masks, message in (
        ({"connectivity": 5}, tf.zeros([1, 2, 2], tf.bool), "connectivity must be 4 or 8, got 5"),
        ({}, tf.zeros([2, 2], tf.bool), "masks must have rank 3|must be rank 3"),
        ({}, tf.zeros([2**24 + 1, 0, 2], tf.uint8), "masks must hold at most 16777216 images"),
    ):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
            NATIVE(masks=masks, **attributes)
    with pytest.raises(ValueError, match="masks must have rank 3, got rank 2"):
        CORE.connected_components(np.zeros((2, 2), np.uint8), 8)
    with pytest.raises(TypeError, match="masks must be uint8, got bool"):
        CORE.connected_components(np.zeros((1, 2, 2), bool), 8)
    with pytest.raises(ValueError, match="connectivity must be 4 or 8, got -1"):
        CORE.connected_components(np.zeros((1, 2, 2), np.uint8), -1)
    with pytest.raises(ValueError, match=r"fewer than 2\*\*31 pixels per image, got shape \[1, 65536, 65536\]"):
        CORE.connected_components(np.empty((1, 2**16, 2**16), np.uint8), 8)  # address space only: nothing touches it


@pytest.mark.parametrize("jit_compile", [False, True])
def test_no_masks_in_a_graph(jit_compile):
    if jit_compile and _library.xla_problem() and NATIVE is not None:
        pytest.skip(f"no XLA support: {_library.xla_problem()}")
    labels, counts = tf.function(kseg_ops.connected_components, jit_compile=jit_compile)(tf.zeros([0, 9, 11], tf.bool))
    assert labels.shape == (0, 9, 11)
    assert counts.shape == (0,)

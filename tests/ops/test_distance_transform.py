"""distance_transform: cases worked out by hand, brute force, scipy, and native against reference."""

from __future__ import annotations

import functools
import math

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.mask_shapes import blobs, named_shapes, noise, spiral

CORE = _library.core()
NATIVE = _library.native_op("distance_transform")
needs_native = pytest.mark.skipif(NATIVE is None or CORE is None, reason="the compiled library is off")
SHAPES = named_shapes()
# The reference takes a step of a loop for each pixel of distance.
SMALL = {name: mask for name, mask in SHAPES.items() if mask.size < 2500}
# Unit, equal, whole ratios, ratios of decimals, and one that is not a ratio of small numbers.
SPACINGS = [(1.0, 1.0), (0.7, 0.7), (2.0, 1.0), (0.3, 1.2), (2.5, 0.9765625), (math.pi, math.e)]
# Both sides take the root in float64, whose error is far below a float32's: rounding that may go either way.
UNIT = float(np.finfo(np.float32).eps)


def reference(*args, **kwargs):
    with kseg_ops.use_reference():
        return kseg_ops.distance_transform(*args, **kwargs)


@pytest.fixture(params=["native", "reference"])
def transform(request):
    if request.param == "native" and NATIVE is None:
        pytest.skip("the compiled library is off")
    return kseg_ops.distance_transform if request.param == "native" else reference


def brute_force(mask, signed=False):
    """Squared distances as whole numbers, and the nearest pixel by column and then row: unit spacing."""
    squared = np.zeros(mask.shape, np.int64)
    nearest = np.stack(np.indices(mask.shape), -1)
    for kind in (True, False) if signed else (True,):
        others = np.argwhere(mask != kind)
        others = others[np.lexsort((others[:, 0], others[:, 1]))]
        for y, x in np.argwhere(mask == kind):
            if len(others) == 0:
                squared[y, x], nearest[y, x] = -1, -1
                continue
            apart = ((others - [y, x]) ** 2).sum(1)
            squared[y, x], nearest[y, x] = apart.min(), others[apart.argmin()]
    return squared, nearest


def test_by_hand(transform):
    mask = np.array([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    squared = np.array([[0, 1, 4, 5, 4], [1, 2, 5, 2, 1], [4, 5, 4, 1, 0]])
    distances = transform(mask)
    assert distances.dtype == tf.float32
    np.testing.assert_array_equal(distances, np.sqrt(squared.astype(np.float32)))
    # Rows twice as far apart as columns.
    squared = np.array([[0, 1, 4, 9, 16], [4, 5, 8, 5, 4], [16, 9, 4, 1, 0]])
    np.testing.assert_array_equal(transform(mask, (2, 1)), np.sqrt(squared.astype(np.float32)))
    np.testing.assert_array_equal(transform(mask, sampling=0.5), transform(mask).numpy() / 2)


def test_signed_by_hand(transform):
    mask = np.array([[0, 0, 1, 1], [0, 0, 0, 1]])
    root = np.sqrt(np.float32(2))
    np.testing.assert_array_equal(
        transform(mask, signed=True), [[-2, -1, 1, root], [-np.sqrt(np.float32(5)), -root, -1, 1]]
    )


def test_of_equally_near_pixels_the_leftmost_and_there_the_upper_counts(transform):
    mask = np.ones((5, 5), bool)
    mask[0, 2] = mask[4, 2] = mask[2, 0] = mask[2, 4] = False
    _, indices = transform(mask, return_indices=True)
    assert indices.dtype == tf.int32
    np.testing.assert_array_equal(indices[2, 2], [2, 0])  # all four are two pixels away
    np.testing.assert_array_equal(indices[2, 3], [2, 4])
    np.testing.assert_array_equal(indices[1, 3], [0, 2])  # (0, 2) and (2, 4)
    np.testing.assert_array_equal(indices[0, 2], [0, 2])
    column = np.ones((5, 1), bool)
    column[0] = column[4] = False
    np.testing.assert_array_equal(transform(column, return_indices=True)[1][2, 0], [0, 0])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_equals_brute_force(transform, name, signed):
    mask = SHAPES[name]
    distances, indices = transform(mask, signed=signed, return_indices=True)
    squared, nearest = brute_force(mask, signed)
    expected = np.where(squared < 0, np.inf, np.sqrt(np.abs(squared).astype(np.float64))).astype(np.float32)
    np.testing.assert_array_equal(distances, np.where(mask, expected, -expected if signed else 0))
    np.testing.assert_array_equal(indices, nearest)


@pytest.mark.parametrize("sampling", SPACINGS)
def test_equals_scipy(transform, sampling):
    for name, mask in (SMALL if transform is reference else SHAPES).items():
        if mask.all():
            continue  # scipy has no answer
        expected, theirs = scipy.ndimage.distance_transform_edt(mask, sampling=sampling, return_indices=True)
        distances, indices = transform(mask, sampling, return_indices=True)
        np.testing.assert_allclose(distances, expected, rtol=UNIT, atol=0, err_msg=name)
        # The pixel may be another than theirs, at the same distance.
        apart = np.linalg.norm((indices.numpy() - np.moveaxis(np.indices(mask.shape), 0, -1)) * sampling, axis=-1)
        np.testing.assert_allclose(apart, expected, rtol=1e-14, err_msg=name)
        assert not mask[tuple(np.moveaxis(indices.numpy(), -1, 0))].any()
        assert theirs.shape[1:] == mask.shape
        if mask.any():
            outside = scipy.ndimage.distance_transform_edt(~mask, sampling=sampling)
            np.testing.assert_allclose(
                transform(mask, sampling, signed=True), expected - outside, rtol=UNIT, atol=0, err_msg=name
            )


@functools.cache
def reference_answers(sampling, signed):
    return {name: reference(mask, sampling, signed, return_indices=True) for name, mask in SMALL.items()}


@needs_native
@pytest.mark.parametrize("sampling", SPACINGS)
def test_native_equals_reference_on_every_instruction_set(target, sampling):
    for signed in (False, True):
        for name, expected in reference_answers(sampling, signed).items():
            ours = kseg_ops.distance_transform(SMALL[name], sampling, signed, return_indices=True)
            # A fused multiplication and addition may change the last bit of the float64 sums of the last spacing.
            limit = 0 if sampling != (math.pi, math.e) else UNIT
            np.testing.assert_allclose(ours[0], expected[0], rtol=limit, atol=0, err_msg=name)
            np.testing.assert_array_equal(ours[1], expected[1], err_msg=name)
            alone = kseg_ops.distance_transform(SMALL[name], sampling, signed)
            np.testing.assert_array_equal(ours[0], alone, err_msg=name)


@needs_native
def test_far_pixels(target):
    """Beyond what comparing neighbours finds; squared distances above 2**24; runs of both kinds of pixels."""
    for mask in (np.ones((300, 6000), bool), np.ones((6000, 40), bool), blobs(500, 430, 30), ~spiral(201)):
        mask[mask.shape[0] // 3, mask.shape[1] // 4] = False
        mask[-1, -1] = False
        for signed in (False, True):
            distances = kseg_ops.distance_transform(mask, signed=signed).numpy()
            expected = scipy.ndimage.distance_transform_edt(mask)
            if signed:
                expected = expected - scipy.ndimage.distance_transform_edt(~mask)
            np.testing.assert_array_equal(distances, expected.astype(np.float32))


@needs_native
@pytest.mark.parametrize("shape", [(3, 40_000), (40_000, 3)])
def test_sides_beyond_sixteen_bits(shape):
    mask = np.ones(shape, bool)
    mask[1, 1] = False
    distances, indices = kseg_ops.distance_transform(mask, return_indices=True)
    y, x = np.indices(shape)
    expected = np.sqrt(((y - 1) ** 2 + (x - 1) ** 2).astype(np.float64))
    np.testing.assert_array_equal(distances, expected.astype(np.float32))
    assert np.all(indices.numpy() == 1)


@needs_native
def test_same_for_any_number_of_threads():
    masks = np.stack([blobs(150, 333, 5), noise(150, 333, 0.99), np.ones((150, 333), bool)])
    results = []
    try:
        for threads in (1, 2, 3, 7):
            CORE.set_num_threads(threads)
            for sampling in ((1, 1), (math.pi, math.e)):
                results.append(kseg_ops.numpy.distance_transform(masks, sampling, True, True))
    finally:
        CORE.set_num_threads(0)
    for i, (distances, indices) in enumerate(results[2:], 2):
        assert distances.tobytes() == results[i % 2][0].tobytes()
        assert indices.tobytes() == results[i % 2][1].tobytes()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("value", [False, True])
def test_images_of_one_kind(transform, value, signed):
    distances, indices = transform(np.full((3, 20), value), (1, 2), signed, return_indices=True)
    expected = np.inf if value else (-np.inf if signed else 0)
    assert np.all(distances.numpy() == expected)
    if expected == 0:
        np.testing.assert_array_equal(indices, np.moveaxis(np.indices((3, 20)), 0, -1))
    else:
        assert np.all(indices.numpy() == -1)


@pytest.mark.parametrize(
    "shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0), (3, 4), (2, 3, 4), (2, 0, 3, 4), (2, 2, 3, 4)]
)
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "uint16", "int64"])
def test_leading_axes_and_empty_ones(transform, shape, dtype):
    masks = (np.arange(math.prod(shape)).reshape(shape) % 5).astype(dtype)
    distances, indices = transform(tf.constant(masks), return_indices=True)
    assert distances.shape == shape
    assert indices.shape == (*shape, 2)
    for place in np.ndindex(shape[:-2]):
        if masks[place].size:
            expected = scipy.ndimage.distance_transform_edt(masks[place])
            np.testing.assert_array_equal(distances.numpy()[place], expected.astype(np.float32))
    if CORE:
        ours = kseg_ops.numpy.distance_transform(masks, return_indices=True)
        np.testing.assert_array_equal(ours[0], distances)
        np.testing.assert_array_equal(ours[1], indices)
        np.testing.assert_array_equal(kseg_ops.numpy.distance_transform(masks), distances)


@pytest.mark.parametrize("shape", [None, [None] * 3, [None, None], [2, None, 5]])
def test_unknown_shapes(transform, shape):
    rank = 3 if shape is None else len(shape)
    masks = noise(6, 5, 0.7).reshape((2, 3, 5) if rank == 3 else (6, 5))
    graph = tf.function(
        lambda masks: transform(masks, return_indices=True), input_signature=[tf.TensorSpec(shape, tf.bool)]
    )
    static = graph.get_concrete_function().output_shapes
    if shape:
        assert [size.as_list() for size in static] == [shape, [*shape, 2]]
    for ours, expected in zip(graph(masks), reference(masks, return_indices=True), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("sampling", SPACINGS)
def test_the_reference_compiles_under_xla(sampling):
    masks = np.stack([spiral(31), noise(31, 31, 0.9)])
    with kseg_ops.use_reference():
        compiled = tf.function(
            lambda masks: kseg_ops.distance_transform(masks, sampling, True, True), jit_compile=True
        )(tf.constant(masks))
    for ours, expected in zip(compiled, reference(masks, sampling, True, True), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=UNIT, atol=0)


def test_in_a_pipeline(transform):
    mask = noise(9, 8, 0.8)
    dataset = tf.data.Dataset.from_tensors(mask).map(lambda mask: transform(mask, signed=True))
    np.testing.assert_array_equal(next(iter(dataset)), reference(mask, signed=True))


def test_has_no_gradient():
    x = tf.Variable([[1.0, 0.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(kseg_ops.distance_transform(x > 0))
    assert tape.gradient(total, x) is None


@pytest.mark.parametrize(
    ("masks", "sampling", "error", "message"),
    [
        (np.zeros((3, 3), "float32"), 1, TypeError, "masks must be bool or integer, got dtype float32: compare with"),
        (np.zeros(3, bool), 1, ValueError, r"masks must have shape \[..., H, W\], got shape \(3,\)"),
        (np.zeros((3, 3), bool), 0, ValueError, r"sampling must be in 2\*\*-60..2\*\*60, got 0"),
        (np.zeros((3, 3), bool), (1, -1), ValueError, r"sampling must be in 2\*\*-60..2\*\*60, got -1"),
        (np.zeros((3, 3), bool), math.nan, ValueError, r"sampling must be in 2\*\*-60..2\*\*60, got nan"),
        (np.zeros((3, 3), bool), 10**400, ValueError, r"sampling must be in 2\*\*-60..2\*\*60, got 1000"),
        (np.zeros((3, 3), bool), (1, 2, 3), ValueError, r"sampling must be a number or .*, got \(1, 2, 3\)"),
        (np.zeros((3, 3), bool), "ab", TypeError, "sampling must be of Python numbers, got 'a' of type str"),
        (np.zeros((3, 3), bool), True, TypeError, "sampling must be of Python numbers, got True of type bool"),
    ],
)
def test_bad_arguments(masks, sampling, error, message):
    with pytest.raises(error, match=message):
        kseg_ops.distance_transform(masks, sampling)
    if CORE:
        with pytest.raises(error, match=message):
            kseg_ops.numpy.distance_transform(masks, sampling)


@pytest.mark.parametrize("name", ["signed", "return_indices"])
def test_a_flag_is_a_bool(name):
    for module in (kseg_ops, kseg_ops.numpy) if CORE else (kseg_ops,):
        with pytest.raises(TypeError, match=f"{name} must be True or False, got 'False'"):
            module.distance_transform(np.zeros((3, 3), bool), **{name: "False"})


def test_keras_tensors_are_refused():
    with pytest.raises(TypeError, match="masks is a KerasTensor"):
        kseg_ops.distance_transform(keras.Input((4, 4), dtype="bool"))


@needs_native
def test_the_raw_op_checks_what_it_gets():
    good = tf.zeros([1, 2, 2], tf.bool)
    for masks, sampling, message in (
        (tf.zeros([2, 2], tf.bool), [1.0, 1.0], "masks must have rank 3|must be rank 3"),
        (good, [1.0], "sampling must have 2 elements|must be 2"),
        (good, [[1.0, 1.0]], "sampling must have rank 1|must be rank 1"),
        (good, [1.0, math.nan], r"sampling must be in 2\*\*-60..2\*\*60 on both axes, got nan"),
        (good, [1e300, 1.0], r"sampling must be in 2\*\*-60..2\*\*60 on both axes, got 1e\+300"),
        (tf.zeros([0, 2**26, 2], tf.bool), [1.0, 1.0], "masks must have at most 67108863 rows and columns"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            NATIVE(masks=masks, sampling=tf.constant(sampling, tf.float64))
    with pytest.raises(ValueError, match="masks must have rank 3, got rank 2"):
        CORE.distance_transform(np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"sampling must be in 2\*\*-60..2\*\*60 on both axes, got -1"):
        CORE.distance_transform(np.zeros((1, 2, 2), np.uint8), (1.0, -1.0))

"""`kseg_ops.resize_argmax`: hand-worked cases, its reference, and the compiled kernel against the reference."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library
from kseg_ops.reference.resize_argmax import LARGEST
from kseg_ops.reference.resize_argmax import resize_argmax as reference
from tests.helpers.bilinear import axis_positions

CORE = _library.core()
TARGETS = CORE.supported_simd_targets() if CORE else []
DTYPES = ("float32", "float16", "bfloat16", "float64")
EPSILON = float(np.finfo(np.float32).eps)


def resize_float64(logits, size, align_corners):
    """Interpolated logits in float64, and the largest magnitude among the source pixels around each output."""
    logits = np.asarray(tf.cast(logits, tf.float64))
    logits = np.clip(np.where(np.isnan(logits), -LARGEST, logits), -LARGEST, LARGEST)
    magnitude = np.abs(logits)
    for axis in (1, 2):
        lower, upper, way = axis_positions(logits.shape[axis], size[axis - 1], align_corners)
        way = way.reshape([-1, 1, 1] if axis == 1 else [-1, 1])
        logits = logits.take(lower, axis) * (1 - way) + logits.take(upper, axis) * way
        # One pixel more on either side: where an output falls on a source pixel, rounding decides between two cells.
        last = magnitude.shape[axis] - 1
        around = [lower, upper, np.maximum(lower - 1, 0), np.minimum(upper + 1, last)]
        magnitude = np.max([magnitude.take(index, axis) for index in around], axis=0)
    return logits, magnitude


def assert_wins(classes, logits, size, align_corners=False):
    """Asserts that at every output the given class has the largest interpolated logit, up to float32 rounding.

    A value is a sum of four products of numbers of at most twice the largest corner, each operation rounded once:
    fewer than 8 roundings of half an epsilon of 2 * magnitude. The half-pixel position is computed in float32 as well:
    its error, an epsilon times the size of the axis, shifts the value by that much of a difference of corners (at most
    2 * magnitude). Both the class and its rival err by this.
    """
    values, magnitude = resize_float64(logits, size, align_corners)
    classes = np.asarray(classes)
    assert classes.dtype == np.int32
    assert classes.shape == values.shape[:-1]
    if classes.size == 0:
        return
    assert classes.min() >= 0
    assert classes.max() < values.shape[-1]
    winner = values.argmax(-1)[..., None]
    mine = classes[..., None].astype(np.int64)
    gap = np.take_along_axis(values, winner, -1) - np.take_along_axis(values, mine, -1)
    corners = np.take_along_axis(magnitude, winner, -1) + np.take_along_axis(magnitude, mine, -1)
    position_error = 0 if align_corners else 2 * EPSILON * (max(logits.shape[1:3]))
    # The smallest normal float: TensorFlow's threads flush denormal results to zero.
    assert (gap <= corners * (8 * EPSILON + position_error) + np.finfo(np.float32).tiny).all()


def random_logits(rng, shape, kind, dtype):
    """Logits of one kind: continuous, full of ties, with NaN and infinities, tiny (denormal), or huge."""
    logits = rng.standard_normal(shape)
    if kind == "ties":
        logits = np.round(logits)
    elif kind == "non-finite":
        logits[rng.random(shape) < 0.1] = np.nan
        logits[rng.random(shape) < 0.1] = np.inf
        logits[rng.random(shape) < 0.2] = -np.inf
    elif kind == "tiny":
        logits = logits * 1e-39
    elif kind == "huge":
        logits = logits * (float(tf.as_dtype(dtype).max) / 8)
    elif kind == "smooth":
        logits = logits[:, ::-1] * 0.05 + np.linspace(0, 3, shape[2])[:, None] * rng.standard_normal(shape[3])
    return tf.cast(logits, dtype)


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_half_pixel_by_hand():
    # Class 1 rises from 0 to 1 between pixel centres at 1 and 3 (in outputs: 0.5 and 2.5 of 4); class 0 is 0.6.
    logits = tf.constant([[[[0.6, 0.0], [0.6, 1.0]]]])
    # Class 1 at the outputs: 0, 0.25, 0.75, 1.
    np.testing.assert_array_equal(kseg_ops.resize_argmax(logits, (1, 4)), [[[0, 0, 1, 1]]])


def test_aligned_corners_by_hand():
    # Class 1 at the outputs: 0, 1/3, 2/3, 1. With half-pixel centres output 1 would be at 0.25.
    logits = tf.constant([[[[0.3, 0.0], [0.3, 1.0]]]])
    np.testing.assert_array_equal(kseg_ops.resize_argmax(logits, (1, 4), align_corners=True), [[[0, 1, 1, 1]]])
    np.testing.assert_array_equal(kseg_ops.resize_argmax(logits, (1, 4)), [[[0, 0, 1, 1]]])


def test_aligned_corners_to_one_output_reads_the_first_pixel():
    logits = tf.reshape(tf.one_hot(tf.range(9), 9), [1, 3, 3, 9])
    assert kseg_ops.resize_argmax(logits, (1, 1), align_corners=True).numpy().item() == 0
    assert kseg_ops.resize_argmax(logits, (1, 1)).numpy().item() == 4


def test_equal_size_is_the_plain_argmax():
    logits = tf.random.stateless_normal([2, 5, 7, 11], seed=[1, 2])
    for align_corners in (False, True):
        classes = kseg_ops.resize_argmax(logits, (5, 7), align_corners)
        np.testing.assert_array_equal(classes, tf.argmax(logits, -1))


@pytest.mark.parametrize("classes", [2, 21, 100])
def test_lowest_class_wins_ties(classes):
    equal = tf.fill([1, 3, 4, classes], 1.5)
    assert not np.any(kseg_ops.resize_argmax(equal, (13, 9)))
    # The last two classes lead together.
    pair = tf.concat([equal[..., 2:], tf.fill([1, 3, 4, 2], 2.0)], -1)
    assert np.all(kseg_ops.resize_argmax(pair, (13, 9)).numpy() == classes - 2)


def test_nan_and_infinities():
    nan, inf = np.nan, np.inf
    # NaN never wins; +inf wins wherever its pixel has weight, even the least; -inf loses likewise.
    logits = tf.constant([[[[nan, 0.0, -inf], [nan, 0.0, -inf], [nan, 0.0, inf], [nan, nan, nan]]]])
    np.testing.assert_array_equal(kseg_ops.resize_argmax(logits, (1, 4)), [[[1, 1, 2, 0]]])
    np.testing.assert_array_equal(kseg_ops.resize_argmax(logits[:, :, :3], (1, 5), True), [[[1, 1, 1, 1, 2]]])


def test_masked_class_never_wins():
    logits = tf.random.stateless_normal([1, 8, 8, 40], seed=[3, 4]) - 100.0
    logits = tf.concat([tf.fill([1, 8, 8, 1], -np.inf), logits], -1)
    assert not np.any(kseg_ops.resize_argmax(logits, (32, 32)).numpy() == 0)


def test_one_class_gives_zeros():
    np.testing.assert_array_equal(kseg_ops.resize_argmax(tf.ones([2, 3, 3, 1]), (4, 5)), np.zeros((2, 4, 5)))


# -- reference ---------------------------------------------------------------------------------------------------------

SIZES = (
    ((1, 1), (1, 1)),
    ((1, 1), (5, 3)),
    ((2, 3), (2, 3)),
    ((4, 5), (16, 20)),  # the factor 4 of most decoders
    ((5, 6), (10, 12)),
    ((3, 4), (24, 33)),  # 8 or more: several tiles between two source pixels
    ((5, 4), (13, 29)),  # not an integer
    ((7, 9), (3, 4)),
    ((9, 8), (9, 33)),
    ((3, 3), (40, 2)),  # up along one axis, down along the other
    ((6, 6), (1, 1)),
)
KINDS = ("normal", "smooth", "ties", "non-finite", "tiny", "huge")


@pytest.mark.parametrize("align_corners", [False, True])
def test_reference_against_float64(align_corners):
    rng = np.random.default_rng(0)
    for (height, width), size in SIZES:
        for kind in KINDS:
            logits = random_logits(rng, (2, height, width, 9), kind, "float32")
            assert_wins(reference(logits, size, align_corners), logits, size, align_corners)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reference_equals_stock_operations(dtype):
    logits = tf.cast(tf.random.stateless_normal([2, 5, 7, 12], seed=[5, 6]), dtype)
    for size in ((20, 28), (13, 9), (3, 3)):
        stock = tf.argmax(tf.image.resize(logits, size), axis=-1)
        np.testing.assert_array_equal(reference(logits, size), stock)


@pytest.mark.parametrize("align_corners", [False, True])
def test_reference_compiles_under_xla(align_corners):
    @tf.function(jit_compile=True)
    def compiled(logits):
        with kseg_ops.use_reference():
            return kseg_ops.resize_argmax(logits, (13, 20), align_corners)

    logits = random_logits(np.random.default_rng(1), (2, 4, 5, 6), "normal", "float32")
    assert_wins(compiled(logits), logits, (13, 20), align_corners)


# -- native ------------------------------------------------------------------------------------------------------------

# Around the vector lengths, and past the number of classes from which on they are pruned.
CLASSES = (2, 3, 7, 8, 15, 16, 17, 21, 33, 64, 65, 80, 150)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_native(target, dtype, align_corners):
    rng = np.random.default_rng(2)
    for case, classes in enumerate(CLASSES):
        for number, ((height, width), size) in enumerate(SIZES):
            kind = KINDS[(case + number) % len(KINDS)]
            logits = random_logits(rng, (1 + number % 2, height, width, classes), kind, dtype)
            found = kseg_ops.resize_argmax(logits, size, align_corners)
            assert_wins(found, logits, size, align_corners)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [21, 70, 600])
def test_native_kinds(target, kind, classes):
    logits = random_logits(np.random.default_rng(3), (2, 9, 11, classes), kind, "float32")
    for size in ((36, 44), (40, 31), (18, 22)):
        assert_wins(kseg_ops.resize_argmax(logits, size), logits, size)


@pytest.mark.parametrize("classes", [66, 90])
def test_native_pruning_never_drops_a_winner(target, classes):
    # A bound that misses by a rounding error loses one pixel in some ten thousand: hence so many of them.
    logits = random_logits(np.random.default_rng(12), (3, 30, 30, classes), "normal", "float32")
    for size in ((120, 120), (90, 90)):
        assert_wins(kseg_ops.resize_argmax(logits, size), logits, size)


@pytest.mark.parametrize("classes", [5, 21, 90])
@pytest.mark.parametrize("size", [(14, 18), (28, 36), (56, 72)])
def test_native_equals_the_reference_bit_for_bit_on_coarse_numbers(target, classes, size):
    # Logits k/4 of small k at factors whose positions are multiples of 1/16: every product and sum is exact in float32,
    # so ties are exact, too, and only the rule about them decides.
    logits = tf.constant(np.random.default_rng(4).integers(-4, 5, (2, 7, 9, classes)) / 4, tf.float32)
    np.testing.assert_array_equal(kseg_ops.resize_argmax(logits, size), reference(logits, size))


@pytest.mark.parametrize(("shape", "size"), [((0, 3, 4, 5), (6, 8)), ((0, 3, 4, 100), (2, 2))])
def test_empty_batch(shape, size):
    for align_corners in (False, True):
        for function in (kseg_ops.resize_argmax, reference):
            assert function(tf.zeros(shape), size, align_corners).shape == (0, *size)


def test_native_wide_rows_are_cut_into_strips(target):
    # 1030 pixels of 150 classes exceed the memory that two prepared rows may take.
    logits = random_logits(np.random.default_rng(5), (1, 2, 1030, 150), "normal", "float32")
    for size in ((4, 2060), (3, 700)):
        assert_wins(kseg_ops.resize_argmax(logits, size), logits, size)


def test_native_unaligned_rows(target):
    # A slice starts at any address; the last vector of the last pixel must not read past the array's end.
    rng = np.random.default_rng(6)
    for offset in range(4):
        for classes in (3, 6, 21, 70):
            logits = rng.standard_normal(offset + 12 * classes).astype(np.float32)[offset:].reshape(1, 3, 4, classes)
            assert_wins(CORE.resize_argmax(logits, (12, 16)), logits, (12, 16))


def test_native_thousands_of_classes(target):
    logits = random_logits(np.random.default_rng(7), (1, 3, 4, 5000), "normal", "bfloat16")
    assert_wins(kseg_ops.resize_argmax(logits, (12, 16)), logits, (12, 16))


# -- NumPy binding -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(CORE is None, reason="needs the compiled library")
class TestNumPy:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_equals_the_op(self, dtype):
        logits = random_logits(np.random.default_rng(8), (2, 6, 5, 19), "ties", dtype)
        for align_corners in (False, True):
            classes = CORE.resize_argmax(logits=logits.numpy(), size=(20, 21), align_corners=align_corners)
            assert classes.dtype == np.int32
            np.testing.assert_array_equal(classes, kseg_ops.resize_argmax(logits, (20, 21), align_corners))

    def test_takes_arrays_that_are_not_contiguous(self):
        logits = np.random.default_rng(9).standard_normal((1, 7, 4, 5)).astype(np.float32)
        turned = logits.transpose(0, 2, 1, 3)
        np.testing.assert_array_equal(
            CORE.resize_argmax(turned, (8, 14)), CORE.resize_argmax(np.ascontiguousarray(turned), (8, 14))
        )

    def test_thread_count_does_not_matter(self):
        logits = np.random.default_rng(10).standard_normal((2, 40, 40, 70)).astype(np.float32)
        try:
            results = []
            for threads in (1, 2, 5):
                CORE.set_num_threads(threads)
                results.append(CORE.resize_argmax(logits, (160, 160)))
        finally:
            CORE.set_num_threads(0)
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])

    @pytest.mark.parametrize(
        ("shape", "dtype", "size", "error", "message"),
        [
            ((2, 3, 4), "float32", (4, 4), ValueError, "logits must have rank 4, got rank 3"),
            (
                (1, 2, 2, 3),
                "int32",
                (4, 4),
                TypeError,
                "logits must be one of float32, float16, bfloat16, float64, got int32",
            ),
            ((1, 2, 2, 3), "float32", (4, 0), ValueError, "size must be at least 1 x 1, got 4 x 0"),
            ((1, 2, 2, 3), "float32", (2**40, 2**40), ValueError, "size is too large"),
            ((1, 0, 2, 3), "float32", (4, 4), ValueError, r"at least 1, got shape \[1, 0, 2, 3\]"),
            (
                (1, 2, 2, 0),
                "float32",
                (4, 4),
                ValueError,
                r"a number of classes of at least 1, got shape \[1, 2, 2, 0\]",
            ),
        ],
    )
    def test_bad_input(self, shape, dtype, size, error, message):
        with pytest.raises(error, match=message):
            CORE.resize_argmax(np.zeros(shape, dtype), size)


# -- graphs, errors ----------------------------------------------------------------------------------------------------

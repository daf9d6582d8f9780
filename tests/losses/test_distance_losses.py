"""Boundary and Hausdorff losses: cases worked out by hand, and the maps they take."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.losses import Boundary, CrossEntropy, Dice, Hausdorff, WeightedSum, with_distance_maps
from kseg.metrics import native_steps
from kseg_ops import _library
from tests.helpers import loss_references as reference

EPS = float(np.finfo("float32").eps)
CLOSE = 64 * EPS

# One row of pixels: foreground, foreground, void, background, background.
LABELS = np.array([[[1, 1, 255, 0, 0]]], "uint8")
P = np.array([0.5, 0.75, 0.5, 0.25, 0.75])  # of foreground
LOGITS = np.log(np.stack([1 - P, P], -1))[None, None].astype("float32")
SIGMOID = np.log(P / (1 - P))[None, None, :, None].astype("float32")


def value(loss, y=LABELS, logits=LOGITS, weight=None):
    return float(loss(y, logits, sample_weight=weight))


def draw(seed=0):
    """Three images of 4 classes: one without class 2, one full of class 1, one of noise; class 3 is nowhere."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, (3, 6, 7))
    y[0][y[0] == 2] = 0
    y[1] = 1
    y[rng.random(y.shape) < 0.2] = 255
    return y, rng.normal(size=(*y.shape, 4)).astype("float32")


def test_boundary_by_hand():
    """The nearest valid pixels of the other kind are 3, 2, 2 and 3 away, across the void one."""
    foreground = (-3 * 0.5 - 2 * 0.75 + 2 * 0.25 + 3 * 0.75) / 4
    background = (3 * 0.5 + 2 * 0.25 - 2 * 0.75 - 3 * 0.25) / 4
    assert value(Boundary(class_weights=[0, 1])) == pytest.approx(foreground, rel=CLOSE)
    assert value(Boundary(), logits=SIGMOID) == pytest.approx(foreground, rel=CLOSE)
    assert value(Boundary()) == pytest.approx((foreground + background) / 2, rel=CLOSE)
    assert value(Boundary(class_weights=[3, 1])) == pytest.approx((foreground + 3 * background) / 4, rel=CLOSE)
    assert value(Boundary((9.0, 0.5)), logits=SIGMOID) == pytest.approx(foreground / 2, rel=CLOSE)
    each = Boundary(reduction="none")(LABELS, SIGMOID)
    np.testing.assert_allclose(each, [[[-1.5, -1.5, 0, 0.5, 2.25]]], rtol=CLOSE)
    weight = np.array([[[1, 2, 9, 4, 0]]])
    assert value(Boundary(), logits=SIGMOID, weight=weight) == pytest.approx((-1.5 - 3 + 2) / 4, rel=CLOSE)
    loss = Boundary(reduction="mean_with_sample_weight")
    assert value(loss, logits=SIGMOID, weight=weight) == pytest.approx((-1.5 - 3 + 2) / 7, rel=CLOSE)


def test_hausdorff_by_hand():
    """Predicted are, for foreground, the second (3/4) and the last pixel; the first is a tie, which class 0 takes."""
    errors = np.array([0.5, 0.25, 0.25, 0.75]) ** 2
    truth = np.array([3, 2, 2, 3])
    predicted = np.array([1, 1, 1, 1])  # from 0 to 1, from 1 to 0, from 3 to 4, from 4 to 3
    for alpha in (2.0, 1.0, 0.5):
        expected = (errors * (truth**alpha + predicted**alpha)).mean()
        assert value(Hausdorff(alpha), logits=SIGMOID) == pytest.approx(expected, rel=CLOSE)
        assert value(Hausdorff(alpha)) == pytest.approx(expected, rel=CLOSE)  # the same for background
    scaled = (errors * (truth**2 + predicted**2)).mean() * 9
    assert value(Hausdorff(spacing=3)) == pytest.approx(scaled, rel=CLOSE)


@pytest.mark.parametrize("absent", ["skip", "one", "count"])
@pytest.mark.parametrize("spacing", [1.0, (2.0, 0.75)])
@pytest.mark.parametrize("class_weights", [None, [0, 1, 2, 3]])
def test_absent_classes_spacings_and_weights(absent, spacing, class_weights):
    y, logits = draw()
    options = {"absent": absent, "class_weights": class_weights}
    pair = spacing if isinstance(spacing, tuple) else (spacing, spacing)
    # Sums of 100 positive and negative products of distances and probabilities.
    expected = reference.boundary(y, logits, spacing=pair, **options)
    assert value(Boundary(spacing, **options), y, logits) == pytest.approx(expected, rel=CLOSE, abs=8 * EPS)
    expected = reference.hausdorff(y, logits, spacing=pair, **options)
    assert value(Hausdorff(2, spacing, **options), y, logits) == pytest.approx(expected, rel=CLOSE)


def test_a_class_that_an_image_is_full_of_has_no_boundary():
    y, logits = np.ones((1, 3, 4), "uint8"), np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype("float32")
    assert value(Boundary(), y, logits) == 0
    assert value(Boundary(), y, logits[..., :1]) == 0
    everywhere = np.where(np.arange(2), 5, -5) * np.ones((1, 3, 4, 1), "float32")
    assert value(Hausdorff(), y, everywhere) == 0  # no boundary in the prediction either
    assert value(Hausdorff(), y, logits) > 0


@pytest.mark.parametrize("kind", [Boundary, Hausdorff])
@pytest.mark.parametrize("absent", ["skip", "count"])
@pytest.mark.parametrize("channels", [1, 4])
def test_maps_that_come_with_the_labels(kind, absent, channels):
    y, logits = draw()
    if channels == 1:
        y = np.where(y == 255, 255, y % 2)
    logits = logits[..., :channels]
    spacing = (1.5, 0.5)
    packed = with_distance_maps(y, channels, spacing=spacing)
    assert packed.shape == (*y.shape, 1 + max(channels, 2))
    assert packed.dtype == tf.float32
    np.testing.assert_array_equal(packed[..., 0], y)
    loss = kind(spacing=spacing, absent=absent)
    assert value(loss, packed, logits) == value(loss, y, logits)
    other = packed + tf.one_hot(2, packed.shape[-1]) * 7
    assert value(loss, other, logits) != pytest.approx(value(loss, y, logits), rel=1e-3)  # they are taken
    with_weight = np.random.default_rng(0).uniform(size=y.shape)
    for plain in (CrossEntropy(), Dice(), WeightedSum([CrossEntropy(), loss])):
        assert value(plain, packed, logits, with_weight) == value(plain, y, logits, with_weight)


def test_maps_by_hand():
    packed = with_distance_maps(LABELS[0], 3)
    infinity = math.inf
    expected = [[1, 3, -3, infinity], [1, 2, -2, infinity], [255, 1, 1, infinity], [0, -2, 2, infinity]]
    np.testing.assert_array_equal(packed[0, :4], expected)
    full = with_distance_maps(np.ones((1, 2, 1), "int64"), 2)
    np.testing.assert_array_equal(full, [[[1, infinity, -infinity]] * 2])
    for labels in (LABELS, LABELS[..., None], LABELS.astype("float32")):
        np.testing.assert_array_equal(with_distance_maps(labels, 3)[0], packed)


def test_training_with_maps_from_the_pipeline():
    y, logits = draw()
    dataset = tf.data.Dataset.from_tensor_slices((logits, y.astype("uint8")))
    dataset = dataset.map(lambda x, y: (x, with_distance_maps(y, 4))).cache().batch(3)
    model = keras.Sequential([keras.Input((None, None, 4)), keras.layers.Conv2D(4, 1)])
    model.compile(keras.optimizers.SGD(0.1), WeightedSum([CrossEntropy(), Boundary(), Hausdorff()], [1, 0.1, 0.1]))
    losses = model.fit(dataset, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.skipif(_library.core() is None, reason="needs the compiled library")
@pytest.mark.parametrize(("kind", "count"), [(Boundary, 1), (Hausdorff, 2)])
def test_the_compiled_op_where_a_graph_allows_it(kind, count):
    y, logits = draw()

    def step(y, x):
        return kind()(y, x)

    @tf.function
    def native(y, x):
        with native_steps():
            return step(y, x)

    specs = tf.TensorSpec(y.shape, tf.int64), tf.TensorSpec(logits.shape)
    # XLA might compile the second graph, so that the op is there where XLA can compile it.
    for function, expected in ((native, count), (tf.function(step), 0 if _library.xla_problem() else count)):
        graph = function.get_concrete_function(*specs).graph
        assert [operation.type for operation in graph.get_operations()].count("Kseg>DistanceTransform") == expected
        assert float(function(y, logits)) == pytest.approx(value(kind(), y, logits), rel=CLOSE)
    dataset = tf.data.Dataset.from_tensors(y[0]).map(lambda y: with_distance_maps(y, 4))
    np.testing.assert_array_equal(next(iter(dataset)), with_distance_maps(y[0], 4))


def test_config_keeps_every_argument():
    common = {
        "spacing": (1.0, 2.0),
        "ignore_index": 7,
        "absent": "one",
        "class_weights": (1.0, 2.0),
        "reduction": "none",
        "name": "a",
    }
    for kind, arguments in ((Boundary, common), (Hausdorff, {"alpha": 1.5, **common})):
        assert kind(**arguments).get_config() == arguments
        restored = keras.losses.deserialize(keras.losses.serialize(kind(**arguments)))
        assert float(restored(np.array([[[1, 0]]]), np.zeros((1, 1, 2, 2), "float32"))[0, 0, 0]) != 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Boundary(spacing=0), "spacing must be a number above 0 .* got 0"),
        (lambda: Boundary(spacing=(1, 2, 3)), r"spacing must be .* or a pair of them, .* got \(1, 2, 3\)"),
        (lambda: Hausdorff(spacing="a"), "spacing must be a number above 0 .* got 'a'"),
        (lambda: Hausdorff(alpha=-1), "alpha must be at least 0; got -1"),
        (lambda: Boundary(absent="none"), "absent must be one of .* got 'none'"),
        (lambda: Boundary(class_weights=[1, 2, 3])(LABELS, LOGITS), "has 3 weights, but the logits have 2 classes"),
        (lambda: with_distance_maps(LABELS, 2, ignore_index=2**31 - 1), r"ignore_index must be within -2\*\*24"),
        (lambda: with_distance_maps(LABELS[0, 0], 2), r"labels must have shape \(H, W\) or .* got \(5,\)"),
        (lambda: with_distance_maps(LABELS, 0), "num_classes must be a positive int; got 0"),
        (lambda: with_distance_maps(LABELS, 2, spacing=-1), "spacing must be a number above 0 .* got -1"),
        (
            lambda: Boundary()(with_distance_maps(LABELS, 3), LOGITS),
            r"\(1, 1, 5, 4\) do not fit logits .*_maps\(labels, 2\) 3",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_labels_of_unknown_rank_are_refused():
    dataset = tf.data.Dataset.from_tensors(LABELS[0]).map(lambda y: tf.py_function(lambda y: y, [y], tf.uint8))
    with pytest.raises(ValueError, match=r"labels must have a known rank: set their shape with tf.ensure_shape"):
        dataset.map(lambda y: with_distance_maps(y, 2))

"""Distances between contours, on geometry worked out by hand and against a slow implementation with scipy."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from scipy.spatial.distance import cdist

from kseg.metrics import AverageSurfaceDistance, HausdorffDistance, native_steps

BOTH = [HausdorffDistance, AverageSurfaceDistance]
DIAGONAL = math.hypot(20, 24)


def square(top, left, height, width=None):
    mask = np.zeros((1, 20, 24), int)
    mask[:, top : top + height, left : left + (width or height)] = 1
    return mask


NOTHING = square(0, 0, 0)


def value(metric, labels, predicted):
    metric.update_state(labels, predicted)
    return float(metric.result())


def hausdorff(labels, predicted, percentile=100, **arguments):
    return value(HausdorffDistance(1, percentile=percentile, **arguments), labels, predicted)


def average(labels, predicted, **arguments):
    return value(AverageSurfaceDistance(1, **arguments), labels, predicted)


def contour(mask, spacing):
    """Places and lengths of the elements of a contour, one corner after the other."""
    padded = np.pad(mask, 1)
    places, lengths = [], []
    for row in range(mask.shape[0] + 1):
        for column in range(mask.shape[1] + 1):
            around = padded[row : row + 2, column : column + 2]
            if not 0 < around.sum() < 4:
                continue
            diagonal = math.hypot(*spacing)
            if around.sum() != 2:
                length = diagonal / 2
            elif around[0].all() or around[1].all():
                length = spacing[1]
            elif around[:, 0].all() or around[:, 1].all():
                length = spacing[0]
            else:
                length = diagonal
            places.append((row * spacing[0], column * spacing[1]))
            lengths.append(length)
    return np.array(places).reshape(-1, 2), np.array(lengths)


def oracle(truth, guess, spacing, percentile, symmetric):
    (first, own), (second, other) = contour(guess, spacing), contour(truth, spacing)
    distances = cdist(first, second)
    found, missed = distances.min(1), distances.min(0)

    def robust(distances, lengths):
        order = np.argsort(distances)
        share = np.cumsum(lengths[order]) / lengths.sum()
        return distances[order][min(np.searchsorted(share, percentile / 100 - 1e-9), len(order) - 1)]

    total, length = (found * own).sum(), own.sum()
    if symmetric:
        total, length = total + (missed * other).sum(), length + other.sum()
    return max(robust(found, own), robust(missed, other)), total / length


def blobs(rng, images, height, width, count):
    fields = [ndimage.gaussian_filter(rng.normal(size=(images, height, width)), (0, 3, 3)) for _ in range(count)]
    return np.argmax(fields, axis=0)


def test_two_pixels_by_hand():
    """Published with the definition: pixels two columns apart, rows of 2 and columns of 1: elements at 1, 1, 2, 2."""
    first, second = square(5, 7, 1), square(5, 9, 1)
    assert average(first, second, spacing=(2, 1)) == 1.5
    assert average(first, second, spacing=(2, 1), symmetric=False) == 1.5
    assert hausdorff(first, second, spacing=(2, 1)) == 2
    assert hausdorff(first, second, 95, spacing=(2, 1)) == 2
    assert hausdorff(first, second, 50, spacing=(2, 1)) == 1
    assert hausdorff(first, second, 51, spacing=(2, 1)) == 2


def test_a_square_and_a_longer_one_by_hand():
    """Published with the definition: 2 x 2 pixels and one row more, rows of 2 and columns of 1.

    The elements of the one are 4 corners (half a diagonal each), 2 in columns (1 each), 2 in rows (2 each); only the
    middle of the lower side has a distance: 1. The other has 4 in rows, and the three of its lower side a distance: 2.
    """
    labels, predicted = square(5, 5, 2), square(5, 5, 3, 2)
    half = math.sqrt(5) / 2
    assert average(predicted, labels, spacing=(2, 1), symmetric=False) == pytest.approx(1 / (4 * half + 2 + 4))
    assert average(labels, predicted, spacing=(2, 1), symmetric=False) == pytest.approx(
        2 * (2 * half + 1) / (4 * half + 2 + 8)
    )
    assert average(labels, predicted, spacing=(2, 1)) == pytest.approx((1 + 2 * (2 * half + 1)) / (8 * half + 4 + 12))
    assert hausdorff(labels, predicted, spacing=(2, 1)) == 2


def test_nested_squares_by_hand():
    """12 x 12 with 4 x 4 in the middle, 4 pixels from each side; the corners are 4 * sqrt(2) apart."""
    outer, inner = square(4, 4, 12), square(8, 8, 4)
    assert hausdorff(outer, inner) == pytest.approx(4 * math.sqrt(2))
    assert hausdorff(inner, outer) == pytest.approx(4 * math.sqrt(2))
    # From within every element is 4 away.
    assert average(outer, inner, symmetric=False) == 4
    assert average(outer, inner, symmetric=False, spacing=0.5) == 2
    # The outer contour has 44 elements of 1 and 4 of sqrt(1 / 2). On each side the first three from a corner have
    # another one for their nearest: the corner of the inner square, 1, 2 or 3 to the side.
    sides = 4 * (5 * 4 + 2 * sum(math.hypot(4, aside) for aside in (1, 2, 3)))
    corners = 4 * math.sqrt(1 / 2) * 4 * math.sqrt(2)
    assert average(inner, outer, symmetric=False) == pytest.approx((sides + corners) / (44 + 4 * math.sqrt(1 / 2)))


@pytest.mark.parametrize("shift", [1, 2, 5])
def test_shifted_squares_by_hand(shift):
    """The far side of each is as far from the other as the shift; equal masks are at distance 0."""
    for spacing in (1.0, (1.0, 0.25), (3.0, 2.0)):
        column = spacing if isinstance(spacing, float) else spacing[1]
        assert hausdorff(square(5, 5, 6), square(5, 5 + shift, 6), spacing=spacing) == pytest.approx(shift * column)
    for measure in (hausdorff, average):
        assert measure(square(5, 5, 6), square(5, 5, 6)) == 0


def test_empty_masks():
    some = square(3, 3, 5)
    for make in BOTH:
        for labels, predicted in ((some, NOTHING), (NOTHING, some)):
            assert value(make(1), labels, predicted) == pytest.approx(DIAGONAL)
            scaled = value(make(1, spacing=(0.5, 2)), labels, predicted)
            assert scaled == pytest.approx(math.hypot(10, 48))
            assert value(make(1, unmatched="inf"), labels, predicted) == math.inf
            assert math.isnan(value(make(1, unmatched="skip"), labels, predicted))
        assert math.isnan(value(make(1), NOTHING, NOTHING))
        assert value(make(1, absent="zero"), NOTHING, NOTHING) == 0
        assert math.isnan(float(make(1).result()))


def test_means_over_images_and_classes():
    """Class 1 is 2 columns off in one image and right in another; class 2 is missing in one; class 3 is nowhere."""
    labels = np.concatenate([square(3, 3, 4), square(9, 9, 4), NOTHING])
    predicted = np.concatenate([square(3, 5, 4), square(9, 9, 4), NOTHING])
    labels[2] = 2 * square(1, 1, 3)[0]
    metric = HausdorffDistance(
        4, percentile=100, per_class=True, class_names=["ground", "a", "b", "c"], classes=[1, 2, 3]
    )
    for image in range(3):
        metric.update_state(labels[image : image + 1], predicted[image : image + 1])
    result = {name: float(number) for name, number in metric.result().items()}
    assert result == {
        "hausdorff_distance": pytest.approx((1 + DIAGONAL) / 2),
        "hausdorff_distance_a": 1,
        "hausdorff_distance_b": pytest.approx(DIAGONAL),
        "hausdorff_distance_c": pytest.approx(math.nan, nan_ok=True),
    }
    again = HausdorffDistance(
        4, percentile=100, per_class=True, class_names=["ground", "a", "b", "c"], classes=[1, 2, 3]
    )
    again.update_state(labels, predicted)
    assert {name: float(number) for name, number in again.result().items()} == pytest.approx(result, nan_ok=True)


@pytest.mark.parametrize("spacing", [1.0, (0.7, 1.9)])
@pytest.mark.parametrize("mode", ["eager", "graph", "reference graph"])
def test_against_scipy(spacing, mode):
    rng = np.random.default_rng(0)
    labels, predicted = blobs(rng, 2, 25, 18, 3), blobs(rng, 2, 25, 18, 3)
    labels[:, 3:9, 4:8] = 255
    pair = (spacing, spacing) if isinstance(spacing, float) else spacing
    settings = ((95, True), (50, False), (100, True), (0, False))
    for percentile, symmetric in settings if mode == "eager" else settings[:1]:
        metrics = [
            HausdorffDistance(3, percentile=percentile, spacing=spacing, per_class=True),
            AverageSurfaceDistance(3, symmetric=symmetric, spacing=spacing, per_class=True),
        ]
        expected = np.mean(
            [
                [oracle((t == c) & (t != 255), (p == c) & (t != 255), pair, percentile, symmetric) for c in range(3)]
                for t, p in zip(labels, predicted, strict=True)
            ],
            axis=0,
        )
        for metric, numbers in zip(metrics, expected.T, strict=True):
            if mode == "eager":
                metric.update_state(labels, predicted)
            else:
                graph = tf.function(metric.update_state, input_signature=[tf.TensorSpec([None] * 3, tf.int64)] * 2)
                with native_steps() if mode == "graph" else tf.name_scope("plain"):
                    graph(labels, predicted)
            got = [float(metric.result()[f"{metric.name}_{index}"]) for index in range(3)]
            # Distances come as float32.
            np.testing.assert_allclose(got, numbers, rtol=1e-6)
            assert float(metric.result()[metric.name]) == pytest.approx(numbers.mean(), rel=1e-6)


def test_void_changes_nothing():
    rng = np.random.default_rng(2)
    labels, predicted = blobs(rng, 1, 24, 24, 3), blobs(rng, 1, 24, 24, 3)
    labels[:, 6:15, 8:20] = 255
    changed = np.where(labels == 255, rng.integers(0, 3, labels.shape), predicted)
    for make in BOTH:
        assert value(make(3), labels, changed) == value(make(3), labels, predicted)
        assert value(make(3), labels, np.where(labels == 255, 0, labels)) == 0


def test_a_crop_changes_nothing():
    """Objects measure the same in a corner of a large image as in the middle of a small one."""
    small, other = square(5, 6, 6), square(7, 3, 5, 9)
    for make in BOTH:
        expected = value(make(1), small, other)
        large = [np.pad(mask, ((0, 0), (0, 90), (70, 0))) for mask in (small, other)]
        assert value(make(1), *large) == expected


@pytest.mark.parametrize("make", BOTH)
def test_logits(make):
    rng = np.random.default_rng(3)
    labels, predicted = blobs(rng, 2, 16, 20, 3), blobs(rng, 2, 16, 20, 3)
    expected = value(make(3), labels, predicted)
    logits = np.eye(3, dtype="float32")[predicted]
    for given in (logits, logits.astype("float16"), np.where(logits == 0, np.nan, logits)):
        assert value(make(3), labels[..., None].astype("float32"), given) == expected
    sigmoid = np.where(predicted == 1, 0.5, -0.5).astype("float32")[..., None]
    one = value(make(3, classes=[1]), np.minimum(labels, 1), (predicted == 1).astype(int))
    assert value(make(1), np.minimum(labels, 1), sigmoid) == one


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_a_model(tmp_path, jit_compile):
    images = keras.Input((None, None, 2))
    model = keras.Model(images, keras.layers.Conv2D(2, 1)(images))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 9, 8, 2)).astype("float32"), rng.choice([0, 1, 255], (4, 9, 8))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    metrics = [make(2, classes=[1]) for make in BOTH]
    model.compile("sgd", loss, metrics=metrics, jit_compile=jit_compile)
    if not jit_compile:  # compiling the training step as well takes long
        model.fit(x, y, batch_size=2, verbose=0)
    logs = model.evaluate(x, y, batch_size=2, verbose=0, return_dict=True)
    predicted = model.predict(x, verbose=0).argmax(-1)
    for make in BOTH:
        metric = make(2, classes=[1])
        assert logs[metric.name] == pytest.approx(value(metric, y, predicted), rel=1e-6)
    if not jit_compile:
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        assert again.evaluate(x, y, batch_size=2, verbose=0, return_dict=True) == pytest.approx(logs)


@pytest.mark.parametrize("make", BOTH)
def test_config_state_and_merging(make):
    own = {"percentile": 90} if make is HausdorffDistance else {"symmetric": False}
    metric = make(3, 7, spacing=[1, 2.5], classes=[2, 1], absent="zero", unmatched="inf", per_class=True, **own)
    again = keras.metrics.deserialize(json.loads(json.dumps(keras.metrics.serialize(metric))))
    assert again.get_config() == metric.get_config()
    assert again.get_config()["spacing"] == [1, 2.5]
    first, second, both = make(1), make(1), make(1)
    first.update_state(square(3, 3, 4), square(3, 5, 4))
    second.update_state(square(3, 3, 4), square(3, 3, 4))
    both.merge_state([first, second])
    assert float(both.result()) == pytest.approx(float(first.result()) / 2)
    both.reset_state()
    assert math.isnan(float(both.result()))
    with pytest.raises(ValueError, match=f"merge_state takes {make.__name__} metrics over 2 classes"):
        both.merge_state([make(3)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HausdorffDistance(2, percentile=101), "percentile must be a number from 0 to 100; got 101"),
        (lambda: HausdorffDistance(2, percentile="95"), "percentile must be a number from 0 to 100; got '95'"),
        (
            lambda: HausdorffDistance(2, spacing=0),
            "spacing must be a number above 0 or two, of rows and of columns; got 0",
        ),
        (lambda: HausdorffDistance(2, spacing=(1, 2, 3)), "spacing must be a number above 0 or two"),
        (lambda: AverageSurfaceDistance(2, symmetric=1), "symmetric must be True or False; got 1"),
        (lambda: AverageSurfaceDistance(2, absent="one"), "absent must be one of .'skip', 'zero'.; got 'one'"),
        (lambda: AverageSurfaceDistance(2, unmatched="nan"), "unmatched must be one of .*; got 'nan'"),
        (
            lambda: AverageSurfaceDistance(2).update_state(NOTHING, NOTHING, 1.0),
            "AverageSurfaceDistance looks at the shapes of objects and takes no sample_weight",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("graph", [False, True])
def test_two_metrics_share_the_distances(graph):
    rng = np.random.default_rng(0)
    labels, classes = (rng.integers(0, 3, (2, 12, 13)) for _ in range(2))
    labels[0] = np.where(labels[0] == 2, 0, labels[0])  # a class that one of the two maps lacks
    labels[1, 3] = 255
    arguments = {"spacing": (1.0, 0.5), "per_class": True}
    makers = (
        lambda: HausdorffDistance(3, unmatched="skip", **arguments),
        lambda: AverageSurfaceDistance(3, absent="zero", **arguments),
    )
    (first, second), alone = ([make() for make in makers] for _ in range(2))

    def together(labels, classes):
        first.update_together([second], labels, classes)

    (tf.function(together) if graph else together)(labels, classes)
    for shared, own in zip((first, second), alone, strict=True):
        (tf.function(own.update_state) if graph else own.update_state)(labels, classes)
        assert {name: float(value) for name, value in shared.result().items()} == pytest.approx(
            {name: float(value) for name, value in own.result().items()}, nan_ok=True, rel=1e-12
        )


def test_metrics_that_cannot_share():
    first = HausdorffDistance(3, classes=[1, 2])
    for other, message in (
        (AverageSurfaceDistance(3), r"others must have measured=\(1, 2\) as this metric; got \(0, 1, 2\)"),
        (AverageSurfaceDistance(3, classes=[1, 2], spacing=2.0), r"others must have row_spacing=1.0 .* got 2.0"),
    ):
        with pytest.raises(ValueError, match=message):
            first.update_together([other], np.zeros((1, 4, 4), int), np.zeros((1, 4, 4), int))

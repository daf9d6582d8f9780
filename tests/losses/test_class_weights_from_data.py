"""Class weights from labels, on counts worked out by hand."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.losses import CrossEntropy, class_weights_from_data

# The first image: 4 of class 0, 2 of class 1, 2 void. The second: 1 of class 0, 7 of class 2.
LABELS = np.array([[[0, 0, 0, 0], [1, 1, 255, 255]], [[0, 2, 2, 2], [2, 2, 2, 2]]], "uint8")
INVERSE = (14 / (3 * 5), 14 / (3 * 2), 14 / (3 * 7))
# Frequencies 5/14, 2/6, 7/8: the median is 5/14.
MEDIAN = (1, 5 / 14 * 3, 5 / 14 * 8 / 7)
EXACT = 1e-14  # a few operations in float64


def weights(data=LABELS, num_classes=3, **options):
    return class_weights_from_data(data, num_classes, **options)


def test_methods_by_hand():
    assert weights() == pytest.approx(INVERSE, rel=EXACT)
    assert weights(method="median_frequency") == pytest.approx(MEDIAN, rel=EXACT)
    enet = [1 / math.log(1.02 + n / 14) for n in (5, 2, 7)]
    assert weights(method="enet") == pytest.approx(enet, rel=EXACT)
    # (1 - b) / (1 - b**n) with b = 1/2.
    raw = np.array([0.5 / (1 - 0.5**n) for n in (5, 2, 7)])
    assert weights(method="effective_number", beta=0.5) == pytest.approx(raw * 3 / raw.sum(), rel=EXACT)
    assert weights(method="effective_number", beta=0) == (1.0, 1.0, 1.0)
    # Near 1 it is the inverse frequency; rounded naively, 1 - b**n would be wrong from the fourth digit on.
    near = weights(method="effective_number", beta=1 - 2.0**-40)
    inverse = np.array(INVERSE) * 3 / sum(INVERSE)
    assert near == pytest.approx(inverse, rel=7 * 2.0**-40)


def test_the_inverse_frequency_weighs_1_on_average():
    assert sum(n * w for n, w in zip((5, 2, 7), weights(), strict=True)) == pytest.approx(14, rel=EXACT)


class Batches(keras.utils.PyDataset):
    """The images one by one, in batches of one."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return np.zeros((1, 2, 4, 3)), LABELS[index : index + 1, ..., None]


@pytest.mark.parametrize("method", ["inverse_frequency", "median_frequency"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: LABELS[..., None],
        lambda: LABELS.astype("float32"),
        lambda: tf.constant(LABELS.astype("int64")),
        lambda: list(LABELS),
        lambda: [LABELS[0][..., None], LABELS[1].astype("int64")],
        lambda: (image for image in LABELS),
        lambda: [(np.zeros((2, 2, 4, 3)), LABELS)],
        lambda: ((np.zeros((2, 4, 3)), image, np.ones((2, 4))) for image in LABELS),
        lambda: tf.data.Dataset.from_tensor_slices(LABELS),
        lambda: tf.data.Dataset.from_tensor_slices((np.zeros((2, 2, 4, 3)), LABELS[..., None])).batch(2),
        lambda: Batches(),
    ],
)
def test_data_of_every_kind(make, method):
    assert weights(make(), method=method) == weights(method=method)


def test_images_of_different_sizes():
    images = [np.array([[0, 0, 0, 1]]), np.array([[1], [1]])[..., None], np.array([[[2, 2]]])]
    assert weights(images) == pytest.approx((8 / 9, 8 / 9, 8 / 6), rel=EXACT)


def test_absent_classes():
    for method in ("inverse_frequency", "median_frequency", "effective_number", "enet"):
        with pytest.raises(ValueError, match=r"classes \[3, 4\] do not occur .* absent=\"zero\" or absent=\"one\""):
            weights(num_classes=5, method=method)
        assert weights(num_classes=5, method=method, absent="zero") == (*weights(method=method), 0.0, 0.0)
        assert weights(num_classes=5, method=method, absent="one") == (*weights(method=method), 1.0, 1.0)


def test_other_void_labels():
    signed = np.where(LABELS == 255, -1, LABELS.astype("int32"))
    assert weights(signed, ignore_index=-1) == weights()
    four = np.where(LABELS == 255, 3, LABELS)
    assert weights(four, 4, ignore_index=None) == pytest.approx((16 / 20, 16 / 8, 16 / 28, 16 / 8), rel=EXACT)
    # A void label that is a class leaves that class out.
    assert weights(four, 4, ignore_index=3, absent="zero") == (*weights(), 0.0)


def test_the_sigmoid_case_has_two_weights():
    binary = np.array([[0, 0, 0, 1]])
    assert weights(binary, 1) == weights(binary, 2) == pytest.approx((4 / 6, 4 / 2), rel=EXACT)


def test_counts_are_exact_beyond_float32():
    """2**24 + 1 pixels of one class: float32 would stop counting."""
    y = np.zeros((1, 2**24 + 2), "uint8")
    y[0, 0] = 1
    assert weights(y, 2) == ((2**24 + 2) / (2 * (2**24 + 1)), (2**24 + 2) / 2)


def test_a_loss_takes_them():
    loss = CrossEntropy(class_weights=weights())
    logits = np.random.default_rng(0).normal(size=(*LABELS.shape, 3)).astype("float32")
    each = CrossEntropy(reduction="none")(LABELS, logits).numpy()
    expected = np.mean([each[c == LABELS].mean() for c in range(3)])  # inverse frequencies: all classes count alike
    assert float(loss(LABELS, logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: weights(method="frequency"), "method must be one of .*'enet'.* got 'frequency'"),
        (lambda: weights(beta=1), r"beta must be in \[0, 1\); got 1"),
        (lambda: weights(absent="skip"), "absent must be one of .* got 'skip'"),
        (lambda: weights(num_classes=0), "num_classes must be a positive int; got 0"),
        (lambda: weights(ignore_index=1.5), "ignore_index must be an int or None; got 1.5"),
        (lambda: weights(num_classes=2), r"labels must be 0..1 or ignore_index=255; found \[2\]"),
        (lambda: weights(ignore_index=None), r"labels must be 0..2 or ignore_index=None; found \[255\]"),
        (lambda: weights(LABELS / 2), "labels must be whole numbers; got 0.5"),
        (lambda: weights(LABELS == 1), "labels must be integers; got dtype bool"),
        (lambda: weights(LABELS[0, 0]), r"labels must have shape \(H, W\) or .* got \(4,\)"),
        (lambda: weights(np.zeros((1, 2, 2, 3), int)), r"labels must have shape .* got \(1, 2, 2, 3\)"),
        (lambda: weights(np.full((1, 2, 2), 255)), "the data hold no valid pixel"),
        (lambda: weights([]), "the data hold no valid pixel"),
        (lambda: weights(tf.data.Dataset.from_tensors(LABELS).repeat()), r"the dataset has no end: .*take\(n\)"),
        (lambda: weights((np.zeros((2, 2, 4, 3)), LABELS)), "data is one tuple of arrays: pass its labels alone"),
        (lambda: weights([(1, 2, 3, 4)]), "the elements of data must be labels, .* got tuple of 4"),
        (lambda: weights(7), "data must be an array of labels, or something to iterate over .* got int"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()

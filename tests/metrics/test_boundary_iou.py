"""Boundary IoU, on geometry worked out by hand and against erosion by scipy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from kseg.metrics import BoundaryIoU, native_steps
from kseg.metrics.mask_boundaries import mask_boundaries

NAN = float("nan")


def square(top, left, side, size=20):
    mask = np.zeros((1, size, size), int)
    mask[:, top : top + side, left : left + side] = 1
    return mask


def result(metric, labels, predicted):
    metric.update_state(labels, predicted)
    return metric.result()


def eroded_boundary(mask, ratio):
    """The official definition: what erosion by 3 x 3 pixels takes away, the outside of the image being background."""
    steps = max(1, round(ratio * np.hypot(*mask.shape)))
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=steps, border_value=0)


def oracle(labels, predicted, count, ratio, ignore_index=255):
    shared, either = np.zeros(count), np.zeros(count)
    for truth, guess in zip(labels, predicted, strict=True):
        valid = truth != ignore_index
        for index in range(count):
            a, b = (eroded_boundary((maps == index) & valid, ratio) for maps in (truth, guess))
            shared[index] += (a & b).sum()
            either[index] += (a | b).sum()
    return np.where(either > 0, shared / np.maximum(either, 1), NAN)


def blobs(rng, images, height, width, count):
    fields = [ndimage.gaussian_filter(rng.normal(size=(images, height, width)), (0, 3, 3)) for _ in range(count)]
    return np.argmax(fields, axis=0)


def test_shifted_squares_by_hand():
    """The diagonal is 28.3 pixels: boundaries of 1, 2 and 3 pixels."""
    truth, shifted = square(5, 5, 8), square(5, 7, 8)
    # Rings of 28 pixels. In common: 6 pixels each of the upper and lower side.
    assert float(result(BoundaryIoU(1, dilation_ratio=0.02), truth, shifted)) == pytest.approx(12 / (28 + 28 - 12))
    # Two wide: rings of 64 - 16 = 48. In common: the two upper and lower rows of 6, no column of the four between, for
    # columns 5, 6, 11, 12 of the one meet 7, 8, 13, 14 of the other.
    assert float(result(BoundaryIoU(1, dilation_ratio=2 / 28.3), truth, shifted)) == pytest.approx(24 / (96 - 24))


def test_nested_squares_by_hand():
    """An 8 x 8 square with 4 x 4 inside: their rings only meet where the outer one reaches inwards that far."""
    assert float(result(BoundaryIoU(1), square(4, 4, 8), square(6, 6, 4))) == 0
    # Three wide, the outer ring holds 64 - 4 pixels, 16 - 4 of them of the inner square, all of which is boundary.
    assert float(result(BoundaryIoU(1, dilation_ratio=0.1), square(4, 4, 8), square(6, 6, 4))) == pytest.approx(12 / 64)


def test_equal_masks_and_empty_ones():
    for ratio in (1e-9, 0.02, 3):
        assert float(result(BoundaryIoU(1, dilation_ratio=ratio), square(3, 3, 9), square(3, 3, 9))) == 1
    nothing = np.zeros((1, 20, 20), int)
    assert float(result(BoundaryIoU(1), square(3, 3, 9), nothing)) == 0
    assert float(result(BoundaryIoU(1), nothing, square(3, 3, 9))) == 0
    for absent, value in (("skip", 0), ("one", 1), ("zero", 0)):
        metric = BoundaryIoU(1, absent=absent, per_class=True)
        got = result(metric, nothing, nothing)
        assert float(got["boundary_iou"]) == value
        np.testing.assert_equal(float(got["boundary_iou_1"]), NAN if absent == "skip" else value)


def test_the_border_of_the_image_is_an_edge():
    """An image that one class fills has a boundary of 4 * 19 pixels."""
    full = np.ones((1, 20, 20), int)
    metric = BoundaryIoU(2)
    metric.update_state(full, full)
    np.testing.assert_array_equal(metric.boundary_counts, [[0, 76]] * 3)


@pytest.mark.parametrize("ratio", [0.001, 0.02, 0.07, 0.4])
@pytest.mark.parametrize("size", [(23, 31), (40, 17)])
def test_against_erosion(ratio, size):
    rng = np.random.default_rng(0)
    labels, predicted = blobs(rng, 3, *size, 4), blobs(rng, 3, *size, 4)
    predicted[:2] = np.where(rng.random((2, *size)) < 0.8, labels[:2], predicted[:2])
    labels[:, 3:9, 4:11] = 255
    metric = BoundaryIoU(6, dilation_ratio=ratio, per_class=True)
    for part in (slice(2), slice(2, 3)):
        metric.update_state(labels[part], predicted[part])
    expected = oracle(labels, predicted, 6, ratio)
    got = metric.result()
    np.testing.assert_allclose([float(got[f"boundary_iou_{index}"]) for index in range(6)], expected, rtol=1e-6)
    assert float(got["boundary_iou"]) == pytest.approx(np.nanmean(expected))
    some = result(BoundaryIoU(6, dilation_ratio=ratio, classes=[3, 1]), labels, predicted)
    assert float(some) == pytest.approx(expected[[1, 3]].mean())


@pytest.mark.parametrize("reach", [1, 2, 3, 4, 5, 8, 40])
def test_boundaries_in_graphs_of_unknown_and_known_size(reach):
    maps = blobs(np.random.default_rng(1), 2, 19, 13, 3).astype("int32")
    expected = np.zeros(maps.shape, bool)
    for index in range(3):
        for image, mask in enumerate(maps == index):
            inner = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=reach, border_value=0)
            expected[image] |= mask & ~inner
    np.testing.assert_array_equal(mask_boundaries(tf.constant(maps), reach), expected)
    signature = [tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([], tf.int32)]
    np.testing.assert_array_equal(tf.function(mask_boundaries, input_signature=signature)(maps, reach), expected)
    compiled = tf.function(lambda maps: mask_boundaries(maps, reach), jit_compile=True)
    np.testing.assert_array_equal(compiled(tf.constant(maps)), expected)


def test_void_changes_nothing():
    rng = np.random.default_rng(2)
    labels, predicted = blobs(rng, 1, 24, 24, 3), blobs(rng, 1, 24, 24, 3)
    labels[:, 6:15, 8:20] = 255
    changed = np.where(labels == 255, rng.integers(0, 3, labels.shape), predicted)
    assert float(result(BoundaryIoU(3), labels, changed)) == float(result(BoundaryIoU(3), labels, predicted))
    right = np.where(labels == 255, 0, labels)
    assert float(result(BoundaryIoU(3), labels, right)) == 1


def test_logits_of_all_kinds():
    rng = np.random.default_rng(3)
    labels, predicted = blobs(rng, 2, 16, 20, 3), blobs(rng, 2, 16, 20, 3)
    expected = float(result(BoundaryIoU(3), labels, predicted))
    logits = np.eye(3, dtype="float32")[predicted]
    for given in (logits, logits.astype("float16"), logits.astype("float64"), np.where(logits == 0, np.nan, logits)):
        assert float(result(BoundaryIoU(3), labels, given)) == expected
        with native_steps():
            assert float(result(BoundaryIoU(3), labels[..., None].astype("float32"), given)) == expected
    sigmoid = np.where(predicted == 1, 0.5, -0.5).astype("float32")[..., None]
    one = float(result(BoundaryIoU(3, classes=[1]), np.minimum(labels, 1), (predicted == 1).astype(int)))
    assert float(result(BoundaryIoU(1), np.minimum(labels, 1), sigmoid)) == one


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_a_model(tmp_path, jit_compile):
    images = keras.Input((None, None, 2))
    model = keras.Model(images, keras.layers.Conv2D(3, 1)(images))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 14, 11, 2)).astype("float32"), rng.choice([0, 1, 2, 255], (4, 14, 11))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    metric = BoundaryIoU(3, dilation_ratio=0.1, per_class=True, class_names=["a", "b", "c"])
    model.compile("sgd", loss, metrics=[metric], jit_compile=jit_compile)
    if not jit_compile:  # compiling the training step as well takes long
        model.fit(x, y, batch_size=2, verbose=0)
    logs = model.evaluate(x, y, batch_size=2, verbose=0, return_dict=True)
    expected = oracle(y, model.predict(x, verbose=0).argmax(-1), 3, 0.1)
    assert [logs[f"boundary_iou_{name}"] for name in "abc"] == pytest.approx(expected)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(x, y, batch_size=2, verbose=0, return_dict=True) == pytest.approx(logs)


def test_state_merges_and_resets():
    first, second = BoundaryIoU(1), BoundaryIoU(1)
    first.update_state(square(3, 3, 9), square(3, 3, 9))
    second.update_state(square(3, 3, 9), square(3, 4, 9))
    both = BoundaryIoU(1)
    both.merge_state([first, second])
    np.testing.assert_array_equal(both.boundary_counts, first.boundary_counts.numpy() + second.boundary_counts.numpy())
    both.reset_state()
    assert float(both.result()) == 0
    with pytest.raises(ValueError, match="merge_state takes BoundaryIoU metrics over 2 classes"):
        both.merge_state([BoundaryIoU(3)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BoundaryIoU(2, dilation_ratio=0), "dilation_ratio must be a number above 0; got 0"),
        (lambda: BoundaryIoU(2, dilation_ratio="a"), "dilation_ratio must be a number above 0; got 'a'"),
        (
            lambda: BoundaryIoU(2, classes=[2]),
            r"classes must be different class numbers from 0 to 1, or None; got \[2\]",
        ),
        (lambda: BoundaryIoU(2, classes=[1, 1]), "classes must be different class numbers"),
        (lambda: BoundaryIoU(2, classes=[]), "classes must be different class numbers"),
        (lambda: BoundaryIoU(2, class_names=["a"]), "class_names must be 2 different names"),
        (lambda: BoundaryIoU(2, absent="nan"), "absent must be one of"),
        (lambda: BoundaryIoU(0), "num_classes must be a positive int"),
        (
            lambda: BoundaryIoU(2).update_state(square(1, 1, 2), square(1, 1, 2), np.ones(1)),
            "BoundaryIoU looks at the shapes of objects and takes no sample_weight",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_classes_out_of_range():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)labels must be in 0..1 or 255, got.*7"):
        BoundaryIoU(2).update_state(square(1, 1, 2) * 7, square(1, 1, 2))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)predicted classes must be in 0..1, got.*7"):
        BoundaryIoU(2).update_state(square(1, 1, 2), square(1, 1, 2) * 7)

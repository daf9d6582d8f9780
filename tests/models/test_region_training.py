"""Training Faster R-CNN and Mask R-CNN."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
import kseg_ops
from kseg.models import region_losses
from kseg.models.region_targets import without_padding
from kseg_ops import _library
from tests.helpers.detector_cases import as_dataset, rectangles, tiny_detector

# Graphs of a training step take seconds to trace: only `fit` has them here.
EAGERLY = {"run_eagerly": True}
LOSSES = ["rpn_objectness_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss"]


def drawn(**arrays):
    return {name: tf.constant(value) for name, value in arrays.items()}


def test_objectness_loss():
    samples = drawn(positive=[[True, False, False]], valid=[[True, True, False]])
    # log(1 + e**-2) for the first, log(1 + e**1) for the second; the third is padding.
    expected = (np.log1p(np.exp(-2)) + np.log1p(np.exp(1))) / 2
    np.testing.assert_allclose(
        region_losses.objectness_loss(tf.constant([[2.0, 1.0, 9.0]]), samples), expected, rtol=1e-6
    )


def test_class_loss():
    samples = drawn(classes=[[1, -1, -1]], valid=[[True, True, False]])
    shares = np.array([[[0.2, 0.3, 0.5], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]], "float32")
    expected = -(np.log(0.5) + np.log(0.7)) / 2
    np.testing.assert_allclose(region_losses.class_loss(np.log(shares), samples), expected, rtol=1e-6)


def test_box_loss():
    samples = drawn(
        positive=[[True, True, False, False]],
        valid=[[True, True, True, True]],
        deltas=np.zeros((1, 4, 4), "float32"),
    )
    deltas = np.zeros((1, 4, 4), "float32")
    deltas[0, 0] = [1 / 18, 0, 0, 0]  # on the parabola: 9 / 2 * (1 / 18)**2
    deltas[0, 1] = [0, -2, 0, 1]  # on the lines: 2 - 1 / 18 and 1 - 1 / 18
    deltas[0, 2] = 7  # of a negative sample
    np.testing.assert_allclose(region_losses.box_loss(deltas, samples), (1 / 72 + 3 - 1 / 9) / 4, rtol=1e-6)


def test_mask_loss():
    logits = tf.constant(np.log([[[[3.0]], [[0.5]], [[7.0]]]]), tf.float32)
    targets = tf.constant([[[[1.0]], [[0.0]], [[0.0]]]])
    expected = -(np.log(0.75) + np.log(1 / 1.5)) / 2
    np.testing.assert_allclose(
        region_losses.mask_loss(logits, targets, tf.constant([[True, True, False]])), expected, rtol=1e-6
    )


def test_without_samples_losses_are_zero():
    nothing = drawn(positive=[[False]], valid=[[False]], classes=[[-1]], deltas=np.zeros((1, 1, 4), "float32"))
    assert float(region_losses.objectness_loss(tf.constant([[3.0]]), nothing)) == 0
    assert float(region_losses.class_loss(tf.constant([[[3.0, 1.0]]]), nothing)) == 0
    assert float(region_losses.box_loss(tf.ones([1, 1, 4]), nothing)) == 0
    assert float(region_losses.mask_loss(tf.ones([1, 1, 2, 2]), tf.ones([1, 1, 2, 2]), nothing["positive"])) == 0


def test_fit_learns():
    keras.utils.set_random_seed(1)
    model = tiny_detector(seed=1)
    model.compile(keras.optimizers.Adam(3e-3))
    history = model.fit(as_dataset(*rectangles(8)), epochs=12, verbose=0).history
    assert list(history) == ["loss", *LOSSES] or sorted(history) == sorted(["loss", *LOSSES])
    for name, values in history.items():
        assert np.isfinite(values).all(), name
    np.testing.assert_allclose(history["loss"], np.sum([history[name] for name in LOSSES], axis=0), rtol=1e-4)
    assert history["loss"][-1] < 0.75 * history["loss"][0]
    for name in ("rpn_objectness_loss", "class_loss", "mask_loss"):
        assert history[name][-1] < history[name][0], name


def test_every_weight_moves():
    keras.utils.set_random_seed(2)
    model = tiny_detector(form="v2")
    model.compile(**EAGERLY)
    before = [np.array(weight) for weight in model.trainable_weights]
    images, targets = rectangles(2)
    for _ in range(2):
        model.train_on_batch(images, targets)
    still = [
        weight.path
        for weight, value in zip(model.trainable_weights, before, strict=True)
        if np.array_equal(weight, value)
    ]
    assert not still


@pytest.mark.parametrize("kind", [kseg.FasterRCNN, kseg.MaskRCNN])
@pytest.mark.parametrize("places", [0, 2])
def test_images_without_objects(kind, places):
    model = tiny_detector(kind)
    model.compile(**EAGERLY)
    images, targets = rectangles(2)
    targets = {name: value[:, :places] for name, value in targets.items()}
    targets["classes"] = np.full_like(targets["classes"], -1)
    for _ in range(2):
        logs = model.train_on_batch(images, targets, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    assert logs["box_loss"] == 0
    assert logs["rpn_box_loss"] == 0
    assert logs["class_loss"] > 0
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    model = tiny_detector(dtype=policy)
    model.compile(**EAGERLY)
    images, targets = rectangles(2)
    logs = model.train_on_batch(images, targets, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())


def test_stock_ops_train_alike():
    images, targets = rectangles(2)
    model = tiny_detector(seed=4)
    model.compile(**EAGERLY)
    with kseg_ops.use_reference():
        stock = model.test_on_batch(images, targets, return_dict=True)
    again = tiny_detector(seed=4)
    again.compile(**EAGERLY)
    again.set_weights(model.get_weights())
    found = again.test_on_batch(images, targets, return_dict=True)
    for name, value in stock.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, err_msg=name)


def test_padding_of_targets():
    targets = {
        "classes": tf.constant([[0, -1, 1, -1, -1], [-1, -1, -1, -1, -1]]),
        "boxes": tf.zeros([2, 5, 4]),
        "sizes": tf.zeros([2, 2]),
    }
    found = {name: tuple(value.shape) for name, value in without_padding(targets).items()}
    count = 5 if _library.native_op("batched_nms") is None else 3
    assert found == {"classes": (2, count), "boxes": (2, count, 4), "sizes": (2, 2)}
    images, targets = rectangles(2)
    more = {name: np.pad(value, [[0, 0], [0, 3], *[[0, 0]] * (value.ndim - 2)]) for name, value in targets.items()}
    more["classes"][:, 4:] = -1
    first, second = tiny_detector(seed=5), tiny_detector(seed=5)
    second.set_weights(first.get_weights())
    losses = []
    for model, given in ((first, targets), (second, more)):
        model.compile(**EAGERLY)
        losses.append(model.test_on_batch(images, given, return_dict=True))
    if count == 3:  # otherwise other random numbers are drawn
        assert losses[0] == losses[1]


@keras.saving.register_keras_serializable(package="kseg_tests")
class Found(keras.metrics.Metric):
    """How many detections there are to an object."""

    def __init__(self, name="found", **kwargs):
        super().__init__(name=name, **kwargs)
        self.ratio = self.add_weight(name="ratio", initializer="zeros")

    def update_state(self, targets, detections, sample_weight=None):
        counts = [tf.reduce_sum(tf.cast(one["classes"] >= 0, tf.float32)) for one in (detections, targets)]
        self.ratio.assign(counts[0] / counts[1])

    def result(self):
        return tf.convert_to_tensor(self.ratio)


def test_metrics_see_detections_when_the_model_is_evaluated(tmp_path):
    model = tiny_detector()
    model.compile(metrics=[Found()], **EAGERLY)
    images, targets = rectangles(2)
    data = as_dataset(images, targets)
    history = model.fit(data, validation_data=data, verbose=0).history
    assert "found" not in history
    detections = model.predict(images, verbose=0)
    expected = (detections["classes"] >= 0).sum() / (targets["classes"] >= 0).sum()
    assert model.evaluate(data, verbose=0, return_dict=True)["found"] == pytest.approx(expected)
    assert "val_found" in history
    assert "val_mask_loss" in history
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [metric.name for metric in loaded.detection_metrics] == ["found"]


def test_a_saved_model_goes_on_training(tmp_path):
    model = tiny_detector()
    images, targets = rectangles(2)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), **EAGERLY)
    model.train_on_batch(images, targets)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations) == 1
    for ours, theirs in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.isfinite(loaded.train_on_batch(images, targets)).all()


def test_refusals():
    model = tiny_detector()
    images, targets = rectangles(2)

    def refused(error, match, **changes):
        with pytest.raises(error, match=match):
            model.train_on_batch(images, {**targets, **changes})

    model.compile(**EAGERLY)
    with pytest.raises(TypeError, match="targets must be a dict of boxes, classes, masks; got"):
        model.train_on_batch(images, targets["classes"])
    with pytest.raises(ValueError, match="masks missing, it has boxes, classes"):
        model.train_on_batch(images, {name: targets[name] for name in ("boxes", "classes")})
    refused(TypeError, "classes must be integers, -1 for padding; got float32", classes=targets["boxes"][..., 0])
    refused(ValueError, r"boxes must have shape \(B, N, 4\) for images", boxes=targets["boxes"][:, :2])
    refused(ValueError, r"masks must have shape \(B, N, H, ceil\(W / 8\)\)", masks=np.zeros((2, 4, 64, 72), "uint8"))
    refused(TypeError, "masks must be uint8, packed by kseg_ops.pack_masks", masks=targets["masks"].astype(bool))
    refused(
        tf.errors.InvalidArgumentError, r"classes must be in 0\.\.1, or -1 for padding", classes=targets["classes"] + 1
    )
    for box in ([30, 10, 10, 20], [10, 10, 30, 10], [10, 10, 30, np.nan], [10, 10, np.inf, 20]):
        wrong = targets["boxes"].copy()
        wrong[0, 1] = box
        text = f"boxes of objects must be finite x1, y1, x2, y2 in pixels(.|\n)*{box[0]}(.0)?, {box[1]}"
        refused(tf.errors.InvalidArgumentError, text, boxes=wrong)
        wrong[0, 1], wrong[0, -1] = targets["boxes"][0, 1], box  # of padding, anything goes
        assert np.isfinite(model.train_on_batch(images, {**targets, "boxes": wrong})).all()
    refused(ValueError, r"sizes must be \(B, 2\), heights and widths, for images \(2, 64, 72, 3\)", sizes=[64, 72])
    with pytest.raises(
        ValueError, match=r"images must be \(B, H, W, 3\), as the backbone has it; got \(2, 64, 72, 1\)"
    ):
        model.predict_on_batch(images[..., :1])
    with pytest.raises(ValueError, match=r"images must be \(B, H, W, 3\), as the backbone has it; got \(64, 72, 3\)"):
        model.predict_on_batch(images[0])
    with pytest.raises(TypeError, match=r"metrics must be keras\.metrics\.Metric objects.*; got 'accuracy'"):
        model.compile(metrics=["accuracy"])
    with pytest.raises(TypeError, match=r"got <.*CocoEvaluator.*>\. kseg\.callbacks\.CocoEvaluation\(dataset\) adds"):
        model.compile(metrics=[kseg.metrics.CocoEvaluator()])
    with pytest.raises(ValueError, match="sample_weight is not supported: a batch is"):
        model.train_on_batch(images, targets, sample_weight=np.ones(2))
    with pytest.raises(ValueError, match="loss must not be given: MaskRCNN has its own, rpn_objectness_loss"):
        model.compile(loss="mse")

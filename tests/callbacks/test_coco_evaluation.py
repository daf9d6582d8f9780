from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.callbacks import CocoEvaluation
from kseg.metrics import CocoEvaluator


class BoxModel(keras.Model):
    """Predicts one box for every image, the corners being its weights."""

    def __init__(self, corners):
        super().__init__()
        self.corners = self.add_weight(
            name="corners", shape=(4,), initializer=lambda shape, dtype: tf.constant(corners, dtype)
        )

    def call(self, images):
        batch = tf.shape(images)[0]
        return {
            "boxes": tf.tile(tf.reshape(self.corners, [1, 1, 4]), [batch, 1, 1]),
            "classes": tf.zeros([batch, 1], tf.int32),
            "scores": tf.ones([batch, 1]),
        }

    def train_step(self, data):
        """Moves the box to the right by 2."""
        self.corners.assign_add([2.0, 0.0, 2.0, 0.0])
        return {"loss": tf.constant(0.0)}


def data_set(batches=2):
    images = tf.zeros([2 * batches, 8, 8, 3])
    targets = {
        "boxes": tf.tile(tf.constant([[[4.0, 0.0, 14.0, 10.0]]]), [2 * batches, 1, 1]),
        "classes": tf.zeros([2 * batches, 1], tf.int32),
    }
    return tf.data.Dataset.from_tensor_slices((images, targets)).batch(2)


def test_figures_of_each_epoch_can_be_monitored(tmp_path):
    model = BoxModel([0.0, 0.0, 10.0, 10.0])
    model.compile()
    evaluation = CocoEvaluation(data_set(), CocoEvaluator(["thing"], "box"))
    best = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.weights.h5", monitor="val_AP", mode="max", save_best_only=True, save_weights_only=True
    )
    stop = keras.callbacks.EarlyStopping(monitor="val_AP", mode="max", patience=2)
    # One step per epoch: the box is at 2, 4 (the truth), 6 and 8.
    history = model.fit(data_set(1), epochs=9, verbose=0, shuffle=False, callbacks=[evaluation, best, stop]).history
    # Overlaps of 8 / 12, 1, 8 / 12 and 6 / 14: 4, 10, 4 and none of the ten thresholds.
    np.testing.assert_allclose(history["val_AP"], [0.4, 1, 0.4, 0], atol=1e-12)
    assert history["val_AP50"] == pytest.approx([1, 1, 1, 0])
    assert len([name for name in history if name.startswith("val_")]) == 12
    model.load_weights(tmp_path / "best.weights.h5")
    assert model.corners.numpy().tolist() == [4, 0, 14, 10]


def test_own_predictions_prefix_and_types():
    model = BoxModel([4.0, 0.0, 14.0, 10.0])
    model.compile()
    calls = []

    def predict(images):
        calls.append(images.shape)
        return {**model(images), "boxes": tf.zeros([2, 1, 4])}

    evaluation = CocoEvaluation(data_set(), CocoEvaluator(["thing"], ["box"]), predict=predict, prefix="held_out_")
    history = model.fit(data_set(1), epochs=1, verbose=0, shuffle=False, callbacks=[evaluation]).history
    assert history["held_out_AP"] == [0]
    assert len(calls) == 2


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"data must be batches that can be iterated again.*got generator"):
        CocoEvaluation(batch for batch in ())
    with pytest.raises(TypeError, match=r"data must be batches that can be iterated again.*got int"):
        CocoEvaluation(3)
    with pytest.raises(TypeError, match=r"evaluator must be a kseg.metrics.CocoEvaluator; got str"):
        CocoEvaluation([], "mask")
    empty = CocoEvaluation([])
    empty.set_model(BoxModel([0.0] * 4))
    with pytest.raises(ValueError, match="data must have at least one batch"):
        empty.on_epoch_end(0, {})
    assert empty.get_state() == {}


class MaskModel(keras.Model):
    """Predicts one box for every image, and a mask that fills it."""

    paste_mode = "torchvision"

    def call(self, images):
        batch = tf.shape(images)[0]
        return {
            "boxes": tf.tile(tf.constant([[[2.0, 2.0, 6.0, 6.0]]]), [batch, 1, 1]),
            "classes": tf.zeros([batch, 1], tf.int32),
            "scores": tf.ones([batch, 1]),
            "masks": tf.ones([batch, 1, 28, 28]),
        }


@pytest.mark.parametrize(("given", "used"), [(None, "torchvision"), ("detectron2", "detectron2")])
def test_masks_are_pasted_as_the_model_says(given, used):
    model = MaskModel()
    model.compile()
    images = tf.zeros([1, 16, 16, 3])
    crops = {name: value[0] for name, value in model(images).items()}
    truth = kseg_ops.paste_masks(crops["masks"], crops["boxes"], (16, 16), mode=used, output="packed")
    targets = {"boxes": crops["boxes"][None], "classes": crops["classes"][None], "masks": truth[None]}
    evaluation = CocoEvaluation([(images, targets)], CocoEvaluator(["thing"], paste_mode=given))
    evaluation.set_model(model)
    logs = {}
    evaluation.on_epoch_end(0, logs)
    assert logs["val_AP"] == pytest.approx(1)  # with the other mode another mask, 0.7

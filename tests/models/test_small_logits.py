"""Models whose logits are smaller than the image: training, evaluation and prediction as if they were not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
import kseg_ops
from kseg.layers import ResizeTo
from kseg.losses import CrossEntropy, Dice, Focal, WeightedSum
from kseg.metrics import MeanIoU, PixelAccuracy
from kseg_ops import _library
from tests.helpers.layer_checks import check_saved, count
from tests.helpers.quarter_model import Quarter, data
from tests.helpers.repository import ROOT

EPS = float(np.finfo("float32").eps)
# Sums over some hundred pixels of values of order 1, interpolated and exponentiated: about that many roundings.
CLOSE = 512 * EPS


class FullSize(Quarter):
    """The same, computed the long way: overriding `call` takes small logits out of use."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=training, mask=mask)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        total = super().compute_loss(x, y, y_pred, sample_weight, training)
        if training and self._arguments.values["auxiliary"]:
            half = keras.Model(self.input, self.get_layer("half").output)
            head = ResizeTo(self.upsampling, dtype="float32")([self.get_layer("head")(half(x)), x])
            total += 0.5 * self.loss(y, head, sample_weight=sample_weight)
        return total


def trained(model, x, y, weight=None):
    """The loss and the weights after one step of plain gradient descent, and the figures of the evaluation."""
    loss = model.train_on_batch(x, y, sample_weight=weight, return_dict=True)["loss"]
    weights = [np.asarray(value) for value in model.get_weights()]
    return loss, weights, model.evaluate(x, y, sample_weight=weight, verbose=0, return_dict=True)


LOSSES = {
    "cross_entropy": lambda: CrossEntropy(label_smoothing=0.1),
    "focal": lambda: Focal(),
    "sum": lambda: WeightedSum([CrossEntropy(class_weights=[1, 2, 3]), Dice()]),
}


@pytest.mark.parametrize(
    ("loss", "upsampling"),
    [("cross_entropy", "bilinear"), ("focal", "align_corners"), ("sum", "bilinear"), ("sum", "align_corners")],
)
def test_as_if_upsampled(loss, upsampling):
    """Loss, gradients (through a step of gradient descent of rate 1) and metrics of both ways."""
    make, (x, y) = LOSSES[loss], data()
    small, full = (kind(upsampling=upsampling, norm=None) for kind in (Quarter, FullSize))
    full.set_weights(small.get_weights())
    rng = np.random.default_rng(1)
    weights = {"sum": np.array([1, 2, 0, 3], "float32"), "focal": rng.uniform(size=y.shape).astype("float32")}
    for weight in (None, weights[loss]) if loss in weights else (None,):
        for model in (small, full):
            model.compile(keras.optimizers.SGD(1.0), make(), jit_compile=False)
        ours, theirs = trained(small, x, y, weight), trained(full, x, y, weight)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=CLOSE)
        for mine, other in zip(ours[1], theirs[1], strict=True):
            np.testing.assert_allclose(mine, other, rtol=CLOSE, atol=CLOSE)
        np.testing.assert_allclose(ours[2]["loss"], theirs[2]["loss"], rtol=2 * CLOSE)
        for name in ("mean_iou", "pixel_accuracy"):
            # A pixel changes its class where two logits are equal up to rounding: at most one of the 1,496.
            np.testing.assert_allclose(ours[2][name], theirs[2][name], atol=3 / y.size)


def test_the_loss_is_made_of_its_parts():
    """The auxiliary loss is counted once, weighted, and in training only; the regularisation once."""
    model, (x, y) = Quarter(norm=None), data()
    model.compile(keras.optimizers.SGD(0.0), CrossEntropy(), jit_compile=False)
    main = float(CrossEntropy()(y, model(x)))
    half = keras.Model(model.input, model.get_layer("half").output)
    head = float(CrossEntropy()(y, ResizeTo("bilinear")([model.get_layer("head")(half(x)), x])))
    penalty = 0.01 * float(tf.reduce_sum(model.get_layer("logits").kernel ** 2))
    logs = model.train_on_batch(x, y, return_dict=True)
    np.testing.assert_allclose(logs["auxiliary_loss"], head, rtol=CLOSE)
    np.testing.assert_allclose(logs["loss"], main + penalty + 0.5 * head, rtol=CLOSE)
    np.testing.assert_allclose(model.test_on_batch(x, y, return_dict=True)["loss"], main + penalty, rtol=CLOSE)
    model.compile(keras.optimizers.SGD(0.0), CrossEntropy(), loss_weights=3.0, jit_compile=False)
    logs = model.train_on_batch(x, y, return_dict=True)
    np.testing.assert_allclose(logs["loss"], 3 * main + penalty + 1.5 * head, rtol=CLOSE)


def test_auxiliary_losses_are_logged():
    model, (x, y) = Quarter(), data()
    history = model.fit(x, y, batch_size=2, epochs=2, validation_data=(x, y), verbose=0).history
    assert {"auxiliary_loss", "loss", "val_loss"} <= set(history)
    assert "val_auxiliary_loss" not in history
    assert np.isfinite(history["auxiliary_loss"]).all()
    first, second = history["auxiliary_loss"]
    assert first != second
    assert list(model.evaluate(x, y, verbose=0, return_dict=True)) == ["loss", "mean_iou", "pixel_accuracy"]


def squared(y_true, y_pred):
    """A loss that knows nothing of void pixels or smaller logits."""
    return tf.reduce_mean((tf.one_hot(tf.cast(y_true, tf.int32), 3) - tf.nn.softmax(y_pred)) ** 2, axis=-1)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        squared,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        WeightedSum([CrossEntropy(), keras.losses.SparseCategoricalCrossentropy(from_logits=True)]),
    ],
    ids=["name", "function", "object", "sum"],
)
def test_losses_of_others_see_logits_of_full_size(loss):
    model, (x, y) = Quarter(norm=None), data()
    y[y == 255] = 0
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=["accuracy", MeanIoU(3)], jit_compile=False)
    logs = model.train_on_batch(x, y, return_dict=True)
    logits = model(x)
    np.testing.assert_allclose(logs["accuracy"], np.mean(np.argmax(logits, -1) == y), atol=1 / y.size + EPS)
    if callable(loss):
        half = keras.Model(model.input, model.get_layer("half").output)
        head = ResizeTo("bilinear")([model.get_layer("head")(half(x)), x])
        penalty = 0.01 * float(tf.reduce_sum(model.get_layer("logits").kernel ** 2))
        expected = np.mean(loss(y, logits)) + 0.5 * np.mean(loss(y, head)) + penalty
        np.testing.assert_allclose(logs["loss"], expected, rtol=CLOSE)


@pytest.mark.skipif(_library.core() is None, reason="needs the compiled library")
@pytest.mark.parametrize("metrics", [None, ["accuracy"]])
def test_steps_hold_no_logits_of_full_size(metrics):
    """With kseg's losses and metrics the ops that upsample and reduce at once do all the work."""
    model, (x, y) = Quarter(), data()
    model.compile(metrics=metrics, jit_compile=False)
    model.train_on_batch(x, y)
    for step, ops in ((model.train_step, 2), (model.test_step, 1)):
        types = [op.type for op in tf.function(step).get_concrete_function((x, y)).graph.get_operations()]
        assert types.count("Kseg>ResizeSoftmaxCrossEntropyTraining") == ops
        assert types.count("Kseg>ResizeArgmax") == (1 if metrics is None else 0)
        assert ("ResizeBilinear" in types) == (metrics is not None)


@pytest.mark.parametrize("upsampling", ["bilinear", "align_corners"])
def test_under_xla(upsampling):
    """The references, as on a GPU. 16 and 24 pixels are multiples of the logits' size, which XLA interpolates well."""
    x, y = data(size=(16, 24))
    with kseg_ops.use_reference():
        models = [Quarter(upsampling=upsampling, norm=None) for _ in range(2)]
    models[1].set_weights(models[0].get_weights())
    results = []
    for model, jit_compile in zip(models, (False, True), strict=True):
        model.compile(keras.optimizers.SGD(0.1), CrossEntropy(), jit_compile=jit_compile)
        assert model.jit_compile == jit_compile
        results.append(trained(model, x, y))
        assert model.predict(x, verbose=0).shape == (4, 16, 24, 3)
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=CLOSE)
    for mine, other in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose(results[0][2]["pixel_accuracy"], results[1][2]["pixel_accuracy"], atol=3 / y.size)


def test_eagerly():
    (x, y), losses = data(), []
    models = [Quarter(norm=None) for _ in range(2)]
    models[1].set_weights(models[0].get_weights())
    for model, run_eagerly in zip(models, (False, True), strict=True):
        model.compile(keras.optimizers.SGD(0.1), run_eagerly=run_eagerly)
        losses.append(model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=CLOSE)


# Logical devices must be there before TensorFlow starts, hence a process of its own.
DISTRIBUTED = """
import json
import keras
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.helpers.quarter_model import Quarter, data

x, y = data()
y[y == 255] = 0  # so that both replicas have as many valid pixels
results, weights = [], None
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    with strategy.scope():
        model = Quarter(norm=None)
        model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    weights = weights or model.get_weights()
    model.set_weights(weights)
    history = model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(4), epochs=2, verbose=0).history
    results.append([history[name] for name in ("loss", "auxiliary_loss", "pixel_accuracy")])
print(json.dumps(results))
"""


def test_distributed():
    """Two replicas give the losses and the metrics of one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.run(
        [sys.executable, "-c", DISTRIBUTED], capture_output=True, text=True, env=environment, check=False
    )
    assert process.returncode == 0, process.stderr
    alone, shared = json.loads(process.stdout.splitlines()[-1])
    np.testing.assert_allclose(shared, alone, rtol=CLOSE, atol=3 / (4 * 17 * 22))


@pytest.mark.parametrize("channels", [1, 3])
def test_one_class_and_images_without_a_channel_axis(channels):
    model = Quarter(1, input_shape=(16, 20, channels))
    x, y = data(size=(16, 20), classes=2)
    x = x[..., :1] if channels == 1 else x
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()
    assert model.evaluate(x, y, verbose=0, return_dict=True)["pixel_accuracy"] > 0


@pytest.mark.parametrize("upsampling", ["bilinear", "align_corners", None])
@pytest.mark.parametrize("auxiliary", [False, True])
def test_saved(upsampling, auxiliary, tmp_path):
    """Auxiliary heads are saved once, trained or not; predictions have the image's size in float32."""
    model, (x, y) = Quarter(upsampling=upsampling, auxiliary=auxiliary), data()
    names = [weight.path for weight in model.weights]
    assert len(set(names)) == len(names)
    head = 4 * 3 + 3 if auxiliary else 0
    assert count(model.trainable_weights) == (9 * 3 * 4 + 8) + (9 * 4 * 4 + 8) + (4 * 3 + 3) + head
    if upsampling is not None:
        model.fit(x, y, verbose=0)
        assert model.predict(x, verbose=0).shape == (*y.shape, 3)
    loaded = check_saved(model, x, tmp_path / "model.keras")
    for mine, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert ("head" in [layer.name for layer in model.layers]) == auxiliary


def test_mixed_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, (x, y) = Quarter(), data()
        assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()
        assert model(x).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy("float32")


def test_small_logits():
    """What comes before the upsampling, at inference."""
    for upsampling in ("bilinear", "align_corners"):
        model, (x, _) = Quarter(upsampling=upsampling), data()
        small = model.small_logits(x)
        assert small.shape == (4, 5, 6, 3)
        np.testing.assert_array_equal(ResizeTo(upsampling)([small, x]), model(x))
    same = Quarter(upsampling=None)
    np.testing.assert_array_equal(same.small_logits(x), same(x))


def norms(model):
    return [model.get_layer(name).batch_norm for name in ("half", "quarter")]


def test_frozen_batch_norm(tmp_path):
    """Statistics, gamma and beta stay, whatever `trainable` says, also after loading."""
    x, y = data()
    model = Quarter(frozen_batch_norm=True)
    for trial in range(3):
        before = [np.concatenate(norm.get_weights()) for norm in norms(model)]
        kernel = np.asarray(model.get_layer("half").kernel)
        model.fit(x, y, verbose=0)
        for norm, old in zip(norms(model), before, strict=True):
            np.testing.assert_array_equal(np.concatenate(norm.get_weights()), old)
        assert np.any(np.asarray(model.get_layer("half").kernel) != kernel)
        assert all("gamma" not in weight.path for weight in model.trainable_weights)
        if trial == 0:
            model.trainable = False
            assert model.trainable_weights == []
            model.trainable = True
            model.compile()
        else:
            model = check_saved(model, x, tmp_path / "model.keras")
            assert model.frozen_batch_norm
    free = Quarter()
    assert not free.frozen_batch_norm
    assert "frozen_batch_norm" not in free.get_config()
    free.fit(x, y, verbose=0)
    assert np.any(np.asarray(norms(free)[0].moving_mean) != 0)


class Overriding(Quarter):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        assert y_pred.shape[1:3] == y.shape[1:3]
        return super().compute_metrics(x, y, y_pred, sample_weight)


def test_overriding_subclasses_see_logits_of_full_size():
    x, y = data()
    assert np.isfinite(Overriding(auxiliary=False).fit(x, y, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upsampling": "cubic"}, 'upsampling must be "bilinear", "align_corners" or None; got \'cubic\''),
        ({"margin": 2}, "margin must be 0 for a model that upsamples its logits; got 2"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Quarter(**options)


def test_weights_of_heads_must_be_numbers():
    images = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(2, 1)(images)
    with pytest.raises(ValueError, match="auxiliary must have a finite number as the weight of 'head'; got 'much'"):
        kseg.SegmentationModel(images, logits, num_classes=2, auxiliary={"head": (logits, "much")})


def test_heads_share_one_loss():
    model, (x, y) = Quarter(), data()
    model.compile(loss=[CrossEntropy(), Dice()], metrics=[PixelAccuracy(3)])
    with pytest.raises(ValueError, match="must be compiled with one loss, which they share"):
        model.train_on_batch(x, y)

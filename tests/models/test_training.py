"""Fitting, evaluating, saving and loading a segmentation model."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
import kseg_ops
from kseg_ops import _library


def small(num_classes=2, **options):
    return kseg.UNet(num_classes, **{"filters": 4, "depth": 2, **options})


def data(count=4, size=16, classes=2, seed=0):
    """Images whose classes are plain to see, with void pixels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (count, size // 4, size // 4)).repeat(4, 1).repeat(4, 2).astype("uint8")
    images = (labels[..., None] * 80 + rng.integers(0, 60, (count, size, size, 3))).astype("uint8")
    labels[:, :2] = 255
    return images, labels


def test_fit_learns_from_arrays():
    keras.utils.set_random_seed(0)
    model = small(3)
    model.compile(keras.optimizers.Adam(0.02))
    x, y = data(classes=3)
    history = model.fit(x, y, batch_size=2, epochs=20, verbose=0).history
    assert set(history) == {"loss", "mean_iou", "pixel_accuracy"}
    assert history["loss"][-1] < history["loss"][0] / 2
    assert history["pixel_accuracy"][-1] > 0.9
    assert model.metrics_names[0] == "loss"
    assert model.loss.ignore_index == 255


def test_label_dtypes_and_shapes():
    """One compiled step takes every kind of label, one after the other, and gives the same."""
    model = small(ignore_index=100)
    x, y = data()
    y = np.where(y == 255, 100, y)
    expected = model.evaluate(x, y.astype("int32"), verbose=0, return_dict=True)
    for dtype in ("uint8", "int8", "uint16", "int64"):
        assert model.evaluate(x, y.astype(dtype)[..., None], verbose=0, return_dict=True) == expected
    assert model.evaluate(x, y.astype("int64"), verbose=0, return_dict=True) == expected


def test_fit_on_a_dataset_with_validation_and_weights():
    model = small()
    x, y = data()
    weights = np.ones(y.shape, "float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(2)
    validation = tf.data.Dataset.from_tensor_slices((x, y)).batch(2)
    history = model.fit(dataset, validation_data=validation, epochs=2, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()
    assert "val_mean_iou" in history
    history = model.fit(dataset, validation_data=(x, y), verbose=0).history
    np.testing.assert_allclose(history["val_loss"][0], model.evaluate(x, y, verbose=0)[0], rtol=1e-5)


def test_fit_on_a_dataset_of_unknown_sizes():
    def batches():
        for size in (9, 14):
            yield data(1, 16)[0][:, :size, :size], data(1, 16)[1][:, :size, :size]

    signature = (tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([None, None, None], tf.uint8))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    assert np.isfinite(small().fit(dataset, steps_per_epoch=2, verbose=0).history["loss"]).all()


def test_sigmoid_case():
    keras.utils.set_random_seed(0)
    model = small(1)
    model.compile(keras.optimizers.Adam(0.02))
    x, y = data()
    history = model.fit(x, y, batch_size=2, epochs=20, verbose=0).history
    assert model.output_shape[-1] == 1
    assert history["mean_iou"][-1] > 0.8


class Pixelwise(kseg.SegmentationModel):
    """The smallest model there is, which XLA compiles fast."""

    def __init__(self, num_classes):
        images = keras.Input((None, None, 3))
        logits = keras.layers.Conv2D(num_classes, 1)(kseg.layers.Normalize()(images))
        super().__init__(images, logits, num_classes=num_classes)
        self.compile_default()


@pytest.mark.parametrize("model", [lambda: small(3), lambda: Pixelwise(1)], ids=["unet", "sigmoid"])
def test_default_losses_and_metrics_under_xla(model):
    """What Keras's `jit_compile="auto"` does wherever it sees a GPU."""
    keras.utils.set_random_seed(0)
    model = model()
    model.compile(jit_compile=True)
    assert model.jit_compile
    x, y = data(classes=max(model.num_classes, 2))
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()
    model.compile(metrics=model_metrics(model), jit_compile=True)
    compiled = model.evaluate(x, y, verbose=0, return_dict=True)
    logits = model.predict(x, verbose=0)
    assert logits.shape == (*x.shape[:3], model.num_classes)
    model.compile(metrics=model_metrics(model), jit_compile=False)
    plain = model.evaluate(x, y, verbose=0, return_dict=True)
    # XLA adds up in another order. A pixel changes class only where logits are equal up to that rounding: allow one in
    # a thousand of the 896 valid pixels, rounded up to two.
    np.testing.assert_allclose(compiled["loss"], plain["loss"], rtol=1e-4)
    np.testing.assert_allclose(compiled["pixel_accuracy"], plain["pixel_accuracy"], atol=2 / 896 + 1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_native_ops_are_in_steps_unless_xla_refuses_them(jit_compile):
    model = Pixelwise(2)
    model.compile(jit_compile=jit_compile)
    x, y = (tf.constant(array) for array in data())
    model.test_on_batch(x, y)  # metrics make their variables
    native = {
        op.type
        for op in tf.function(lambda y, z: kseg_ops.confusion_matrix(y, z, 2))
        .get_concrete_function(y, tf.zeros((*y.shape, 2)))
        .graph.get_operations()
    }
    step = {op.type for op in tf.function(model.test_step).get_concrete_function((x, y)).graph.get_operations()}
    has_native = any(name.startswith("Kseg") for name in native)  # not with KSEG_NATIVE=0, nor without the library
    assert any(name.startswith("Kseg") for name in step) == (
        has_native and not (jit_compile and _library.xla_problem())
    )


def model_metrics(model):
    return [
        kseg.metrics.MeanIoU(model.num_classes),
        kseg.metrics.PixelAccuracy(model.num_classes),
        kseg.metrics.DiceScore(model.num_classes),
        kseg.metrics.PerClassIoU(model.num_classes),
    ]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = data()
    assert np.isfinite(model.fit(x, y, verbose=0, epochs=2).history["loss"]).all()
    assert model(x).dtype == tf.float32
    if policy == "mixed_float16":
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_valid_padding_trains_on_labels_of_either_size():
    model = small(padding="valid")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (2, 30, 34, 3), dtype="uint8"), rng.integers(0, 2, (2, 30, 34))
    height, width = model.logits_size(30, 34)
    part = y[:, model.margin : model.margin + height, model.margin : model.margin + width]
    full = model.evaluate(x, y, verbose=0, return_dict=True)
    assert full == model.evaluate(x, part, verbose=0, return_dict=True)
    logits = model.predict(x, verbose=0)
    assert full["pixel_accuracy"] == pytest.approx((logits.argmax(-1) == part).mean())
    weights = np.zeros(y.shape, "float32")
    weights[:, model.margin, model.margin] = 1
    model.compile("sgd", kseg.losses.CrossEntropy(reduction="mean_with_sample_weight"))
    weighted = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)["loss"]
    corner = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(part[:, :1, :1], logits[:, :1, :1])
    assert weighted == pytest.approx(float(corner), rel=1e-5)
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()


def test_save_and_load_compiled(tmp_path):
    model = small()
    x, y = data()
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, kseg.UNet)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == model.evaluate(x, y, verbose=0, return_dict=True)
    assert loaded.optimizer.iterations.numpy() == model.optimizer.iterations.numpy()
    assert np.isfinite(loaded.fit(x, y, verbose=0).history["loss"]).all()


def test_load_uncompiled_is_silent(tmp_path):
    small().save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert not loaded.compiled
    assert small().compiled  # building from a configuration leaves no trace


def test_compile_overrides_the_defaults(tmp_path):
    model = small()
    model.compile("sgd", kseg.losses.WeightedSum([kseg.losses.CrossEntropy(), kseg.losses.Dice()]), metrics=[])
    assert set(model.fit(*data(), verbose=0).history) == {"loss"}
    # What is left out of a second compile() is the default again, also after saving.
    model.compile(keras.optimizers.SGD(0.5))
    model.save(tmp_path / "model.keras")
    for compiled in (model, keras.models.load_model(tmp_path / "model.keras")):
        assert set(compiled.evaluate(*data(), verbose=0, return_dict=True)) == {"loss", "mean_iou", "pixel_accuracy"}
        assert isinstance(compiled.loss, kseg.losses.CrossEntropy)
        assert float(compiled.optimizer.learning_rate.numpy()) == 0.5


def test_train_on_batch_and_test_on_batch():
    model = small()
    x, y = data()
    assert np.isfinite(model.train_on_batch(x, y, return_dict=True)["loss"])
    assert np.isfinite(model.test_on_batch(tf.constant(x), tf.constant(y), return_dict=True)["loss"])


def test_class_weight_is_refused():
    with pytest.raises(ValueError, match=r"kseg.losses.CrossEntropy\(class_weights="):
        small().fit(*data(), class_weight={0: 1.0, 1: 2.0})

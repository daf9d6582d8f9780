"""Training steps that XLA compiles, with native ops and with references, against those of the ordinary graph."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
import kseg_ops
from kseg_ops import _library
from tests.helpers.detector_cases import rectangles, tiny_detector
from tests.helpers.tiny_backbone import TinyBackbone

needs_bridge = pytest.mark.skipif(bool(_library.xla_problem()), reason=f"no XLA support: {_library.xla_problem()}")
KINDS = [pytest.param(True, marks=needs_bridge, id="native"), pytest.param(False, id="reference")]
SIZE = (32, 48)


def unet():
    return kseg.UNet(3, filters=4, depth=2)


def unet_on_a_backbone():
    return kseg.UNet(3, backbone=TinyBackbone(levels=(1, 2, 3)), decoder_filters=(8, 6, 4))


def deeplab():
    return kseg.DeepLabV3Plus(
        3, backbone=TinyBackbone(levels=(2, 3, 4, 5), output_stride=16), filters=8, rates=(1, 2, 3), dropout=0.0
    )


def semantic_batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, *SIZE))
    labels[:, :3] = 255
    return rng.integers(0, 256, (2, *SIZE, 3)).astype("float32"), labels.astype("uint8")


# More samples than there are candidates, so that none is left to chance: XLA draws other random numbers.
FEW = {"num_proposals": 8, "training_proposals": 8, "rpn_samples": 1024, "box_samples": 32, "max_detections": 4}


def mask_rcnn():
    return tiny_detector(levels=(2, 3), anchor_sizes=(12, 18, 27), seed=0, **FEW)


def instance_batch():
    images, targets = rectangles(1, size=(32, 40), objects=1)
    return images.astype("float32"), targets


def step(make, data, jit, native):
    """The model, the losses of its first step, and what that changed: with SGD and a rate of 1, the gradients."""
    keras.utils.set_random_seed(0)  # a model of its own for each step: detectors draw samples, and count how often
    model = make()
    weights = model.get_weights()
    model.compile(keras.optimizers.SGD(1.0), jit_compile=jit)
    assert model.jit_compile == jit
    with contextlib.nullcontext() if native else kseg_ops.use_reference():
        logs = model.train_on_batch(*data, return_dict=True)
    return model, logs, [after - before for after, before in zip(model.get_weights(), weights, strict=True)]


@pytest.mark.parametrize("native", KINDS)
@pytest.mark.parametrize(
    ("make", "batch"),
    [
        (unet, semantic_batch),
        (unet_on_a_backbone, semantic_batch),
        (deeplab, semantic_batch),
        pytest.param(mask_rcnn, instance_batch, marks=pytest.mark.slow),
    ],
)
def test_step_equals_the_ordinary_graph(make, batch, native):
    data = batch()
    model, logs, changes = step(make, data, jit=False, native=native)
    _, logs_xla, changes_xla = step(make, data, jit=True, native=native)
    # XLA rounds sums in another order. A gradient sums some n = 10,000 products, whose rounding errors add up like a
    # random walk, to sqrt(n) * eps of their magnitude; batch normalisation behind it divides by a deviation.
    tolerance = 10 * np.sqrt(1e4) * np.finfo("float32").eps
    for name, value in logs.items():
        assert logs_xla[name] == pytest.approx(value, rel=tolerance), name
    assert any(np.abs(change).max() > 0 for change in changes)
    scale = max(np.abs(change).max() for change in changes)
    for variable, ours, expected in zip(model.weights, changes_xla, changes, strict=True):
        if np.issubdtype(expected.dtype, np.floating):
            limit = tolerance * max(np.abs(expected).max(), 1e-2 * scale)
            np.testing.assert_allclose(ours, expected, rtol=0, atol=limit, err_msg=variable.path)


@needs_bridge
def test_native_ops_stay_in_steps_that_xla_compiles(monkeypatch):
    used = []
    native_op = _library.native_op
    monkeypatch.setattr(_library, "native_op", lambda name: used.append((name, native_op(name))) or used[-1][1])
    model = deeplab()
    model.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    model.train_on_batch(*semantic_batch())
    assert ("resize_softmax_cross_entropy", True) in {(name, op is not None) for name, op in used}


@pytest.mark.parametrize("problem", ["", "no bridge"])
def test_layers_support_jit_where_it_works(monkeypatch, problem):
    if not _library.native_allowed() or _library.native_op("aspp") is None:
        pytest.skip("the compiled ops are not in use")
    monkeypatch.setattr(_library, "xla_problem", lambda: problem)
    for layer in (kseg.layers.ASPP(8), kseg.layers.RoIAlign((2, 2)), kseg.layers.MaxPoolingWithIndices2D()):
        assert layer.supports_jit == (not problem)
    with kseg_ops.use_reference():
        assert kseg.layers.ASPP(8).supports_jit


def test_fit_and_evaluate_without_the_bridge(monkeypatch):
    """What XLA cannot compile must not end up in a step that it compiles: not in layers, losses or metrics."""
    monkeypatch.setattr(_library, "xla_problem", lambda: "no bridge")
    images, labels = semantic_batch()
    model = unet()
    model.compile("sgd", metrics=[kseg.metrics.MeanIoU(3)], jit_compile=True)
    model.fit(images, labels, verbose=0)
    assert np.isfinite(model.evaluate(images, labels, verbose=0)).all()


@needs_bridge
def test_a_training_loop_of_ones_own():
    """`tf.function(jit_compile=True)` around model, loss and metric, none of which is told."""
    model, loss, metric = deeplab(), kseg.losses.CrossEntropy(), kseg.metrics.MeanIoU(3)
    images, labels = (tf.constant(array) for array in semantic_batch())

    def loop():
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            value = loss(labels, logits)
        metric.update_state(labels, logits)
        return value, tape.gradient(value, model.trainable_weights[0])

    weights = model.get_weights()
    expected, gradient = tf.function(loop)()
    count = metric.result()
    model.set_weights(weights)
    metric.reset_state()
    value, ours = tf.function(loop, jit_compile=True)()
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(ours, gradient, rtol=0, atol=1e-3 * np.abs(gradient).max())
    assert float(metric.result()) == pytest.approx(float(count), abs=2 / labels.numpy().size * 3)

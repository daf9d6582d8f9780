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
EPSILON = np.finfo("float32").eps
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
    labels = rng.integers(0, 3, (4, *SIZE))
    labels[:, :3] = 255
    return rng.integers(0, 256, (4, *SIZE, 3)).astype("float32"), labels.astype("uint8")


# More samples than there are candidates, so that none is left to chance: XLA draws other random numbers. One more step
# of the same model has the same samples, too.
FEW = {"num_proposals": 8, "training_proposals": 8, "rpn_samples": 1024, "box_samples": 32, "max_detections": 4}


def mask_rcnn():
    return tiny_detector(levels=(2, 3), anchor_sizes=(12, 18, 27), seed=0, **FEW)


def instance_batch():
    images, targets = rectangles(1, size=(32, 40), objects=1)
    return images.astype("float32"), targets


def changes_of(model, weights, data):
    """The losses of a step from these weights, and what it changes: with SGD and a rate of 1, the gradients."""
    model.set_weights(weights)
    logs = model.train_on_batch(*data, return_dict=True)
    return logs, [after - before for after, before in zip(model.get_weights(), weights, strict=True)]


def compiled(make, jit):
    keras.utils.set_random_seed(0)
    model = make()
    model.compile(keras.optimizers.SGD(1.0), jit_compile=jit)
    assert model.jit_compile == jit
    return model


def rounded_otherwise(weights):
    """Each weight one rounding away: what that changes is what rounding may change."""
    rng = np.random.default_rng(0)
    return [
        (array * (1 + EPSILON * rng.choice([-1, 1], array.shape))).astype(array.dtype)
        if np.issubdtype(array.dtype, np.floating)
        else array
        for array in weights
    ]


def sizes_of(arrays):
    """The largest value of each; of those that are almost zero, what their parts may have been."""
    sizes = [np.abs(array).max() for array in arrays]
    return [max(size, max(sizes) / 100) for size in sizes]


def noise(others, arrays):
    """By what part of its size the worst of the arrays differs, and no less than the weights' own rounding."""
    pairs = zip(others, arrays, sizes_of(arrays), strict=True)
    return float(max(100 * EPSILON, *(np.abs(other - array).max() / size for other, array, size in pairs)))


@pytest.mark.parametrize(
    ("make", "batch", "native"),
    [
        pytest.param(unet_on_a_backbone, semantic_batch, True, marks=needs_bridge),
        pytest.param(unet_on_a_backbone, semantic_batch, False),
        pytest.param(deeplab, semantic_batch, True, marks=needs_bridge),
        pytest.param(mask_rcnn, instance_batch, True, marks=needs_bridge),
    ],
)
@pytest.mark.slow
def test_step_equals_the_ordinary_graph(make, batch, native, monkeypatch):
    data, used = batch(), []
    native_op = _library.native_op
    monkeypatch.setattr(_library, "native_op", lambda name: used.append(native_op(name)) or used[-1])
    with contextlib.nullcontext() if native else kseg_ops.use_reference():
        plain = compiled(make, jit=False)
        weights = plain.get_weights()
        logs, changes = changes_of(plain, weights, data)
        logs_otherwise, otherwise = changes_of(plain, rounded_otherwise(weights), data)
        used.clear()
        model = compiled(make, jit=True)
        logs_xla, changes_xla = changes_of(model, weights, data)
    assert any(op is not None for op in used) == native
    assert all(layer.supports_jit for layer in model.layers)
    # XLA rounds elsewhere: a step may be as far off as if each weight were rounded otherwise, some times over.
    assert logs_xla == pytest.approx(logs, rel=16 * noise([logs_otherwise[name] for name in logs], list(logs.values())))
    limit = 16 * noise(otherwise, changes)
    assert limit < 0.01, "too much noise to tell anything"
    sizes = sizes_of(changes)
    for index, variable in enumerate(plain.weights):
        error = np.abs(changes_xla[index].astype("float64") - changes[index]).max()
        assert error <= limit * sizes[index], variable.path
    assert any(np.any(change) for change in changes)


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
    model, loss, metric = unet(), kseg.losses.CrossEntropy(), kseg.metrics.MeanIoU(3)
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


@pytest.mark.parametrize("native", [pytest.param(True, marks=needs_bridge), False])
def test_no_input_is_taken_for_a_constant(native):
    """XLA compiles anew for each value of what it takes for one, and leaves it out of the program's parameters."""
    given = [
        tf.ones([3, 8, 9], tf.uint8),
        tf.constant([[0.0, 0.0, 5.0, 6.0], [1.0, 2.0, 8.0, 7.0]]),
        tf.constant([2, 0]),
    ]

    @tf.function(jit_compile=True, autograph=False)
    def crops(masks, boxes, mask_indices):
        return kseg_ops.crop_masks(masks, boxes, (4, 4), mask_indices=mask_indices)

    with contextlib.nullcontext() if native else kseg_ops.use_reference():
        program = crops.experimental_get_compiler_ir(*given)(stage="hlo")
    assert program[program.index("ENTRY") :].count(" parameter(") == len(given)

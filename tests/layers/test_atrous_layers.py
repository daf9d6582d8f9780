"""The layers around atrous convolutions: one at training and at inference, whatever the precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.layers import ASPP, AtrousConv2D, AtrousSeparableConv2D
from tests.helpers.convolution_cases import EPS
from tests.helpers.layer_checks import check_layer, check_saved

X = np.random.default_rng(0).normal(size=(2, 9, 7, 5)).astype("float32")


def randomised(layer, seed=0):
    """The layer with weights that hide nothing: moving statistics and biases, too."""
    layer.build((None, None, None, 5))
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 2, weight.shape))
        elif weight.name in ("beta", "bias", "moving_mean"):
            weight.assign(rng.normal(0, 0.5, weight.shape))
        elif "kernel" in weight.name:
            fan_in = np.prod(weight.shape[:2]) * (1 if weight.name == "depthwise_kernel" else weight.shape[2])
            weight.assign(rng.normal(0, np.sqrt(1 / fan_in), weight.shape))
    return layer


MAKERS = {
    "dense": lambda **kw: AtrousConv2D(6, rate=(2, 3), **kw),
    "pointwise without norm": lambda **kw: AtrousConv2D(6, kernel_size=1, norm=None, **kw),
    "gelu": lambda **kw: AtrousConv2D(6, kernel_size=(3, 2), activation="gelu", **kw),
    "separable": lambda **kw: AtrousSeparableConv2D(6, rate=(2, 3), **kw),
    "separable, plain between": lambda **kw: AtrousSeparableConv2D(
        6,
        rate=2,
        depth_multiplier=2,
        norm=None,
        depthwise_norm=None,
        depthwise_activation=None,
        activation="gelu",
        **kw,
    ),
    "aspp": lambda **kw: ASPP(6, rates=(2, (4, 12)), **kw),
    "aspp separable": lambda **kw: ASPP(6, rates=(2, 4), separable=True, dropout=0, **kw),
    "aspp separable, plain between": lambda **kw: ASPP(6, rates=(2, 4), separable=True, norm_between=False, **kw),
    "aspp without pooling or norm": lambda **kw: ASPP(6, rates=[3], image_pooling=False, norm=None, **kw),
    "aspp with gelu": lambda **kw: ASPP(6, rates=(2,), activation="gelu", **kw),
}
# Kernels, then scales and shifts or biases.
WEIGHTS = {
    "dense": 9 * 5 * 6 + 12,
    "pointwise without norm": 5 * 6 + 6,
    "gelu": 6 * 5 * 6 + 12,
    "separable": 9 * 5 + 10 + 5 * 6 + 12,
    "separable, plain between": 9 * 10 + 10 * 6 + 6,
    "aspp": 5 * 6 * (1 + 9 + 9 + 1) + 24 * 6 + 5 * 12,
    "aspp separable": 5 * 6 * 4 + 2 * (9 * 5 + 10) + 24 * 6 + 5 * 12,
    "aspp separable, plain between": 5 * 6 * 4 + 2 * 9 * 5 + 24 * 6 + 5 * 12,
    "aspp without pooling or norm": 5 * 6 * (1 + 9) + 12 * 6 + 3 * 6,
    "aspp with gelu": 5 * 6 * (1 + 9 + 1) + 18 * 6 + 4 * 12,
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_layer(name):
    check_layer(MAKERS[name], X.shape, (2, 9, 7, 6), weights=WEIGHTS[name])


@pytest.mark.parametrize("kind", [AtrousConv2D, AtrousSeparableConv2D])
def test_valid_padding(kind):
    check_layer(lambda **kw: kind(4, 3, (3, 2), "valid", **kw), X.shape, (2, 3, 3, 4))


@pytest.mark.parametrize("size", [(1, 1), (2, 13), (40, 3)])
def test_any_size(size):
    layer = randomised(ASPP(3, rates=(6, 12)))
    assert layer(np.ones((1, *size, 5), "float32")).shape == (1, *size, 3)
    model = keras.Sequential([keras.Input((None, None, 5)), layer])
    assert model.predict(np.ones((1, *size, 5), "float32"), verbose=0).shape == (1, *size, 3)


def as_keras(layer, x):
    """What an AtrousConv2D computes, by Keras's own layers: convolution, normalisation, activation."""
    conv = keras.layers.Conv2D(
        layer.filters, layer.kernel_size, dilation_rate=layer.rate, padding=layer.padding, use_bias=layer.norm is None
    )
    conv.build((None, None, None, x.shape[-1]))
    conv.set_weights([layer.kernel] if layer.norm else [layer.kernel, layer.bias])
    features = conv(x)
    if layer.norm:
        features = layer.batch_norm(features, training=False)
    return layer.activation(features)


@pytest.mark.parametrize("name", ["dense", "pointwise without norm", "gelu"])
def test_folding_changes_nothing_but_rounding(name):
    layer = randomised(MAKERS[name]())
    ours, theirs = layer(X, training=False), as_keras(layer, X)
    # Sums of 45 products and the affine map, each side rounding each of them; of values whose absolute values sum to
    # 60 at most (45 x 4 / 3) times a scale of 3. GELU is 1.2-Lipschitz.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2 * 1.2 * (45 + 6) * EPS / 2 * 180)


@pytest.mark.parametrize(
    "name", ["separable", "aspp", "aspp separable", "aspp separable, plain between", "aspp without pooling or norm"]
)
def test_inference_in_one_op_equals_step_by_step(name):
    layer = randomised(MAKERS[name]())
    ours, theirs = layer(X, training=False).numpy(), layer._step_by_step(X, training=False).numpy()
    # Three convolutions after one another at most: 9, then 45, then 24 products, plus 6 roundings of an affine map
    # each; each map amplifies what it is given by a scale of 3 at most (gamma of 2 over a deviation of 0.7).
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2 * (9 + 45 + 24 + 18) * EPS / 2 * 3**3 * 8)
    assert np.abs(ours).max() > 0.5


def test_training_uses_the_statistics_of_the_batch():
    for name in ("dense", "separable", "aspp"):
        layer = randomised(MAKERS[name]())
        before = [np.array(w) for w in layer.non_trainable_weights]
        at_inference, in_training = layer(X, training=False), layer(X, training=True)
        assert not np.allclose(at_inference, in_training, atol=1e-2)
        moved = [
            not np.array_equal(a, b)
            for a, b in zip(before, layer.non_trainable_weights, strict=True)
            if np.asarray(b).dtype == np.float32
        ]
        assert all(moved)
        layer.trainable = False
        layer.drop = None
        np.testing.assert_allclose(layer(X, training=True), layer(X, training=False), rtol=0, atol=1e-4)


def test_image_pooling_in_half_precision_does_not_overflow():
    layer = ASPP(3, rates=(2,), dtype="float16", dropout=0)
    x = np.full((2, 64, 64, 5), 100, "float16")
    for training in (True, False):
        assert np.isfinite(layer(x, training=training)).all()


def test_it_runs_one_op_at_inference():
    layer = randomised(ASPP(3, rates=(2, 4)))
    graph = tf.function(lambda x: layer(x, training=False)).get_concrete_function(tf.TensorSpec(X.shape)).graph
    ops = [node.op for node in graph.as_graph_def().node]
    native = kseg_ops._library.native_op("aspp") is not None
    assert ops.count("Kseg>Aspp") == native
    assert layer.supports_jit == kseg_ops._library.jit_ready(("aspp",))


@pytest.mark.parametrize("separable", [False, True])
def test_a_model_trains_and_comes_back(separable, tmp_path):
    images = keras.Input((None, None, 5))
    model = keras.Model(images, keras.layers.Conv2D(2, 1)(ASPP(4, rates=(2, 4), separable=separable)(images)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = np.random.default_rng(1).integers(0, 2, X.shape[:3])
    before = [np.array(weight) for weight in model.trainable_weights]
    assert np.isfinite(model.fit(X, labels, verbose=0).history["loss"]).all()
    assert all(not np.array_equal(a, b) for a, b in zip(before, model.trainable_weights, strict=True))
    check_saved(model, X, tmp_path / "aspp.keras")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AtrousConv2D(0), "filters must be a positive int; got 0"),
        (lambda: AtrousConv2D(4, norm="group"), "norm must be \"batch\" or None; got 'group'"),
        (lambda: AtrousConv2D(4, rate=0), "rate must be in 1..65536, got 0"),
        (lambda: AtrousConv2D(4, padding="full"), 'padding must be "same" or "valid", got \'full\''),
        (lambda: AtrousConv2D(4, kernel_size=(3, 0)), "kernel_size must be a positive int or a pair of them"),
        (lambda: AtrousSeparableConv2D(4, depthwise_norm="group"), 'depthwise_norm must be "batch" or None'),
        (lambda: AtrousSeparableConv2D(4, depth_multiplier=0), "depth_multiplier must be a positive int; got 0"),
        (lambda: AtrousSeparableConv2D(4, depthwise_activation="gelu"), "depthwise_activation must be None, 'relu'"),
        (lambda: ASPP(4, rates=6), r"rates must be a list of dilation rates, for example \(6, 12, 18\); got 6"),
        (lambda: ASPP(4, rates=(6, 0)), "rate must be in 1..65536, got 0"),
        (lambda: ASPP(4, dropout=1), r"dropout must be a rate in \[0, 1\); got 1"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""SegNet's architecture: counts, sizes, where values come back to."""

from __future__ import annotations

import numpy as np
import pytest

import kseg
from tests.helpers.layer_checks import count
from tests.helpers.model_checks import check_model, uint8_images


def small(num_classes=3, **options):
    return kseg.SegNet(num_classes, **{"filters": 2, "convolutions": (1, 2, 2), **options})


def test_parameters_of_the_published_network():
    assert count(kseg.SegNet(12).trainable_weights) == 29_449_932


def test_where_the_parameters_are():
    """VGG-16's with normalisation, its mirror image, and the last convolution for 12 classes."""
    encoder = 14_714_688 + 2 * 4_224
    kernels = 5 * 512 * 512 + 512 * 256 + 2 * 256 * 256 + 256 * 128 + 128 * 128 + 128 * 64 + 64 * 64
    biases = 5 * 512 + 256 + 2 * 256 + 128 + 128 + 64 + 64
    assert encoder + 9 * kernels + 3 * biases + (9 * 64 * 12 + 12) == 29_449_932


def test_layers():
    names = [layer.name for layer in kseg.SegNet(2, filters=1).layers if layer.weights]
    assert len(names) == 26
    assert names[:4] == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]
    assert names[13:17] == ["conv5_3_D", "conv5_2_D", "conv5_1_D", "conv4_3_D"]
    assert names[-2:] == ["conv1_2_D", "logits"]


def test_model(tmp_path):
    check_model(lambda **kw: small(**kw), tmp_path / "segnet.keras")


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 30), (31, 4)])
def test_any_size(size):
    model = small(convolutions=(1, 1, 1, 1))
    assert model(uint8_images(2, *size, 3)).shape == (2, *size, 3)


def test_values_go_back_to_where_the_maxima_were():
    """Convolutions that copy their only channel make of SegNet a filter that keeps each window's maximum."""
    model = kseg.SegNet(1, (None, None, 1), filters=1, convolutions=(1,), input_range=None)
    copy = np.zeros((3, 3, 1, 1))
    copy[1, 1] = 1
    epsilon = model.get_layer("conv1_1").norm_epsilon
    for layer in model.layers:
        if layer.weights:
            values = [copy, *(np.zeros(1) for _ in layer.weights[1:])]
            if len(values) == 6:  # kernel, bias, gamma, beta, moving mean and variance
                values[2], values[5] = np.ones(1), np.full(1, 1 - epsilon)
            layer.set_weights(values)
    image = np.array([[1, 2, 0], [4, 3, 5], [0, 7, 6]], "float32").reshape(1, 3, 3, 1)
    expected = [[0, 0, 0], [4, 0, 5], [0, 7, 6]]
    # 1 - epsilon + epsilon is 1 but for one rounding.
    np.testing.assert_allclose(model(image)[0, ..., 0], expected, rtol=1e-6)


@pytest.mark.parametrize("convolutions", [(1,), (2, 1), (1, 2, 1)])
def test_receptive_field_radius(convolutions):
    """Nothing farther away is reached by any change of a pixel, and something as far away is by some change."""
    model = kseg.SegNet(1, (None, None, 1), filters=1, convolutions=convolutions, input_range=None)
    radius, stride = model.receptive_field_radius, model.stride
    rng = np.random.default_rng(0)
    width = 2 * (radius + 2 * stride)
    width += -width % stride
    farthest = 0
    for _ in range(4):
        # Positive weights and normalisations that keep everything positive, so that no ReLU hides anything.
        model.set_weights([rng.uniform(0.5, 1.5, w.shape) if "mean" not in w.path else w for w in model.weights])
        image = rng.uniform(0, 1, (1, stride, width, 1)).astype("float32")
        changed = np.repeat(image, stride, 0)
        positions = width // 2 + np.arange(stride)
        changed[np.arange(stride), stride // 2, positions] = 9
        differs = (np.asarray(model(changed)) != np.asarray(model(np.repeat(image, stride, 0))))[..., 0].any(axis=1)
        for row, at in zip(differs, positions, strict=True):
            farthest = max(farthest, np.abs(np.flatnonzero(row) - at).max())
    assert farthest <= radius
    assert farthest >= radius - stride


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be a positive int; got 0"),
        ({"convolutions": ()}, r"convolutions must hold one positive int for each stage, .* got \(\)"),
        ({"convolutions": (2, 0)}, r"convolutions must hold one positive int for each stage, .* got \(2, 0\)"),
        ({"convolutions": 3}, "convolutions must hold one positive int for each stage, .* got 3"),
        ({"filters": 0}, "filters must be a positive int; got 0"),
        ({"input_range": (255, 0)}, "input_range must be two increasing numbers"),
    ],
)
def test_argument_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)

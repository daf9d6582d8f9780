"""Losses against those of segmentation-models-pytorch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kseg.losses import CrossEntropy, Dice, Focal, FocalTversky, Jaccard, LovaszHinge, LovaszSoftmax, Tversky

torch = pytest.importorskip("torch", reason="segmentation-models-pytorch needs it")
peers = pytest.importorskip("segmentation_models_pytorch.losses", reason="the losses to compare with")

EPS = float(np.finfo("float32").eps)
CLOSE = 64 * EPS  # sums and sorts of some 150 softmax values on both sides, in float32


def draw(classes, void, size=(3, 7, 8)):
    """Labels with every class in every image, and logits."""
    rng = np.random.default_rng(classes)
    y = rng.integers(0, max(classes, 2), size)
    y.reshape(size[0], -1)[:, : max(classes, 2)] = np.arange(max(classes, 2))
    if void:
        y[:, 3:5, 2:6] = 255
    return y, rng.normal(size=(*size, classes)).astype("float32") * 2


def check(ours, theirs, classes, void):
    """Value and gradient."""
    y, logits = draw(classes, void)
    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = ours(y, variable)
    peer_logits = torch.tensor(np.moveaxis(logits, -1, 1), requires_grad=True)
    expected = theirs(peer_logits, torch.tensor(y)[:, None] if classes == 1 else torch.tensor(y))
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=CLOSE)
    gradient = np.moveaxis(peer_logits.grad.numpy(), 1, -1)
    np.testing.assert_allclose(
        tape.gradient(value, variable), gradient, rtol=CLOSE, atol=CLOSE * np.abs(gradient).max()
    )


sizes = pytest.mark.parametrize("classes", [1, 4])
voids = pytest.mark.parametrize("void", [False, True])


def mode(classes):
    return "binary" if classes == 1 else "multiclass"


@sizes
@voids
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_dice(classes, void, smooth):
    """The peer's Dice and Tversky add `smooth` to numerator and denominator as ours."""
    peer = peers.DiceLoss(mode(classes), smooth=smooth, ignore_index=255)
    check(Dice(smooth=smooth), peer, classes, void)


@sizes
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_jaccard(classes, smooth):
    """The peer's knows no void."""
    check(Jaccard(smooth=smooth), peers.JaccardLoss(mode(classes), smooth=smooth), classes, void=False)


@sizes
@voids
@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.7), (1.0, 0.25)])
def test_tversky(classes, void, alpha, beta):
    peer = peers.TverskyLoss(mode(classes), alpha=alpha, beta=beta, smooth=1.0, ignore_index=255)
    check(Tversky(alpha, beta), peer, classes, void)


@voids
@pytest.mark.parametrize("gamma", [0.75, 2.0])
def test_focal_tversky(void, gamma):
    """The peer takes the power after the mean over classes: the same for a single one."""
    peer = peers.TverskyLoss("binary", alpha=0.3, beta=0.7, gamma=gamma, smooth=1.0, ignore_index=255)
    check(FocalTversky(gamma), peer, 1, void)


@voids
@pytest.mark.parametrize("per_image", [False, True])
def test_lovasz_softmax(void, per_image):
    peer = peers.LovaszLoss("multiclass", per_image=per_image, ignore_index=255)
    check(LovaszSoftmax(per_image=per_image), peer, 4, void)


@voids
@pytest.mark.parametrize("per_image", [False, True])
def test_lovasz_hinge(void, per_image):
    peer = peers.LovaszLoss("binary", per_image=per_image, ignore_index=255)
    check(LovaszHinge(per_image=per_image), peer, 1, void)


@voids
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_focal(void, gamma):
    """The peer's for several classes is a sum of binary ones: compared for one."""
    peer = peers.FocalLoss("binary", gamma=gamma, ignore_index=255)
    check(Focal(gamma), peer, 1, void)


@voids
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(void, smoothing):
    """PyTorch's own, which divides by the valid pixels too."""
    peer = torch.nn.CrossEntropyLoss(ignore_index=255, label_smoothing=smoothing)
    check(CrossEntropy(label_smoothing=smoothing), peer, 4, void)

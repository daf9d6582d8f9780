"""Losses against those of segmentation-models-pytorch and PyTorch, value and gradient."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kseg.losses import CrossEntropy, Dice, Focal, FocalTversky, Jaccard, LovaszHinge, LovaszSoftmax, Tversky

# Not pytest.importorskip: PyTorch must not be imported beside TensorFlow.
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "segmentation_models_pytorch")),
    reason="PyTorch and segmentation-models-pytorch, whose losses these are compared with, are not installed",
)

EPS = float(np.finfo("float32").eps)
CLOSE = 64 * EPS  # sums and sorts of some 170 softmax values on both sides, in float32


@pytest.fixture(scope="module")
def data():
    """Labels, every class in every image, without and with void pixels; and logits."""
    arrays = {}
    for classes in (1, 4):
        rng = np.random.default_rng(classes)
        y = rng.integers(0, max(classes, 2), (3, 7, 8))
        y.reshape(3, -1)[:, : max(classes, 2)] = np.arange(max(classes, 2))
        void = y.copy()
        void[:, 3:5, 2:6] = 255
        logits = (rng.normal(size=(*y.shape, classes)) * 2).astype("float32")
        arrays |= {f"y {classes} full": y, f"y {classes} void": void, f"logits {classes}": logits}
    return arrays


@pytest.fixture(scope="module")
def answers(data, tmp_path_factory):
    """What the peers give."""
    folder = tmp_path_factory.mktemp("losses")
    np.savez(folder / "in.npz", **data)
    script = Path(__file__).with_name("loss_peers.py")
    command = [sys.executable, str(script), str(folder / "in.npz"), str(folder / "out.npz")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return dict(np.load(folder / "out.npz"))


def ours():
    """Losses by the peers' names."""
    kinds = {}
    for classes in (1, 4):
        for smooth in (0.0, 1.0):
            kinds[f"{classes} full jaccard {smooth}"] = Jaccard(smooth=smooth)  # the peer knows no void
        for void in ("full", "void"):
            start = f"{classes} {void}"
            for smooth in (0.0, 1.0):
                kinds[f"{start} dice {smooth}"] = Dice(smooth=2 * smooth)  # the peer adds it to the halved sums
            for alpha, beta in ((0.3, 0.7), (1.0, 0.25)):
                kinds[f"{start} tversky {alpha} {beta}"] = Tversky(alpha, beta)
            for per_image in (False, True):
                lovasz = LovaszHinge if classes == 1 else LovaszSoftmax
                kinds[f"{start} lovasz {per_image}"] = lovasz(per_image=per_image)
    for void in ("full", "void"):
        # The peer takes the power after the mean over classes, and sums binary focal losses: the same for one class.
        for gamma in (0.75, 2.0):
            kinds[f"1 {void} focal_tversky {gamma}"] = FocalTversky(gamma)
        for gamma in (1.0, 2.0):
            kinds[f"1 {void} focal {gamma}"] = Focal(gamma)
        for smoothing in (0.0, 0.2):
            kinds[f"4 {void} cross_entropy {smoothing}"] = CrossEntropy(label_smoothing=smoothing)
    return kinds


@pytest.mark.parametrize("name", ours())
def test_value_and_gradient(name, data, answers):
    classes, void = name.split()[:2]
    logits = tf.constant(data[f"logits {classes}"])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = ours()[name](data[f"y {classes} {void}"], logits)
    expected = answers[f"{name} gradient"]
    assert np.abs(expected).max() > 0
    assert float(value) == pytest.approx(float(answers[name]), rel=CLOSE)
    np.testing.assert_allclose(
        tape.gradient(value, logits), expected, rtol=CLOSE, atol=CLOSE * np.abs(expected).max(), err_msg=name
    )


def test_every_peer_is_compared(answers):
    assert {name for name in answers if not name.endswith("gradient")} == set(ours())

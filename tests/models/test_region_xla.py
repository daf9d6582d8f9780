"""A training step of a detector that XLA compiles, which takes it twenty seconds."""

from __future__ import annotations

import numpy as np
import pytest

import kseg_ops
from tests.helpers.detector_cases import rectangles, tiny_detector

FEW = {"num_proposals": 8, "training_proposals": 8, "rpn_samples": 16, "box_samples": 8, "max_detections": 4}


@pytest.mark.slow
def test_training_step():
    """As Keras has it by default where a GPU is visible."""
    images, targets = rectangles(1, size=(32, 40), objects=1)
    with kseg_ops.use_reference():
        model = tiny_detector(levels=(2, 3), anchor_sizes=(12, 18, 27), **FEW)
        model.compile(jit_compile=True)
    assert model.jit_compile
    logs = model.train_on_batch(images, targets, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    assert logs["mask_loss"] > 0

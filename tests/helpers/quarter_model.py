"""The smallest model that predicts at a quarter of the image's size."""

from __future__ import annotations

import keras
import numpy as np

import kseg
from kseg.layers import ConvNorm2D, Normalize


@keras.saving.register_keras_serializable(package="kseg_tests")
class Quarter(kseg.SegmentationModel):
    """Logits at a quarter of the size, an auxiliary head at half of it, and a regularised kernel."""

    def __init__(self, num_classes=3, upsampling="bilinear", auxiliary=True, norm="batch", input_shape=None, **kwargs):
        images = keras.Input(input_shape or (None, None, 3), name="images")
        features = Normalize(name="normalize")(images)
        half = ConvNorm2D(4, 3, strides=2, norm=norm, name="half")(features)
        quarter = ConvNorm2D(4, 3, strides=2, norm=norm, name="quarter")(half)
        logits = keras.layers.Conv2D(num_classes, 1, kernel_regularizer="l2", dtype="float32", name="logits")(quarter)
        heads = None
        if auxiliary:
            heads = {"auxiliary": (keras.layers.Conv2D(num_classes, 1, dtype="float32", name="head")(half), 0.5)}
        super().__init__(images, logits, num_classes=num_classes, upsampling=upsampling, auxiliary=heads, **kwargs)
        self.keep_arguments(
            num_classes=num_classes, upsampling=upsampling, auxiliary=auxiliary, norm=norm, input_shape=input_shape
        )
        self.compile_default()


def data(count=4, size=(17, 22), classes=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (count, *size, 3)).astype("uint8")
    y = rng.integers(0, classes, (count, *size)).astype("uint8")
    y[rng.random(y.shape) < 0.1] = 255
    return x, y

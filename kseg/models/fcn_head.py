"""The head of torchvision's FCN, which its DeepLabV3 has as an auxiliary one."""

from __future__ import annotations

import keras

from kseg.layers import ConvNorm2D
from kseg.layers.conv_block import fresh_initializer
from kseg.models.backbone_graph import logits_layer

AUXILIARY_WEIGHT = 0.5
REDUCTION = 4  # of the channels, by the first convolution


def fcn_head(features, num_classes, dropout, kernel_initializer, name):
    """A 3 x 3 convolution to a quarter of the channels, dropout, and the convolution that classifies.

    Args:
        features: a Keras tensor `(B, H, W, C)`.
        num_classes: channels of the result.
        dropout: its rate.
        kernel_initializer: of the first convolution.
        name: the layers are named `<name>_0`, `<name>_3` and `<name>_4`, as torchvision counts them.

    Returns:
        float32 logits, a Keras tensor `(B, H, W, num_classes)`.
    """
    features = ConvNorm2D(
        max(1, features.shape[-1] // REDUCTION),
        3,
        kernel_initializer=fresh_initializer(kernel_initializer),
        name=f"{name}_0",
    )(features)
    features = keras.layers.Dropout(dropout, name=f"{name}_3")(features)
    return logits_layer(num_classes, 1, f"{name}_4")(features)

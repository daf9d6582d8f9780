"""The paths of U-Nets: contracting and expanding as published, and the decoder on a backbone."""

from __future__ import annotations

import keras

from kseg.layers import ConvBlock, ConvNorm2D, DownBlock, SkipUpBlock, UpBlock
from kseg.models.backbone_graph import level_number
from kseg.models.unet_geometry import skip_offset

DECODER_FILTERS = (256, 128, 64, 32, 16)


def published_paths(features, *, filters, depth, dropout, upsampling, padding, gate=None, **block):
    """The contracting and the expanding path of the U-Net.

    Args:
        features: the normalised images.
        filters: channels of the first level.
        depth: number of levels.
        dropout: rate at the two lowest levels.
        upsampling: as `UpBlock`.
        padding: `"same"` or `"valid"`.
        gate: called with the level, its skip and the features below; returns what is joined in place of the skip.
        **block: `norm`, `activation` and `kernel_initializer` of every block.
    """
    block["padding"] = padding
    skips = []
    for level in range(depth):
        rate = dropout if depth > 1 and level >= depth - 2 else 0.0
        kind = ConvBlock if level == 0 else DownBlock
        features = kind(filters * 2**level, dropout=rate, name=f"encoder_{level}", **block)(features)
        skips.append(features)
    for level in reversed(range(depth - 1)):
        skip = skips[level] if gate is None else gate(level, skips[level], features)
        offset = 0 if padding == "same" else skip_offset(level, depth)
        features = UpBlock(
            filters * 2**level, upsampling=upsampling, skip_offset=offset, name=f"decoder_{level}", **block
        )([features, skip])
    return features


def backbone_decoder(features, images, filters, *, center_block=False, gate=None, **block):
    """The decoder of the U-Net on a backbone, up to the size of the images.

    Args:
        features: the pyramid, by level.
        images: the model's input.
        filters: channels of each step, from the deepest level to the images; one step per level.
        center_block: whether two convolutions come first, as segmentation-models-pytorch has them on VGG.
        gate: as in `published_paths`; the level is a number.
        **block: `norm`, `activation` and `kernel_initializer` of every convolution.
    """
    top = check_decoder_filters(features, filters)
    x = features[f"P{top}"]
    if center_block:
        x = center_convolutions(x, **block)
    for index, step_filters in enumerate(filters):
        level = top - 1 - index
        # The last step has no skip, also where a backbone (VGG) has features of the image's size: as published.
        skip = features.get(f"P{level}") if level else None
        if skip is None:
            step = SkipUpBlock(step_filters, join=False, name=f"decoder_blocks_{index}", **block)
            x = step([x, images if level == 0 else _Halved(level, name=f"size_{level}")(images)])
        else:
            skip = skip if gate is None else gate(level, skip, x)
            x = SkipUpBlock(step_filters, name=f"decoder_blocks_{index}", **block)([x, skip])
    return x


def center_convolutions(features, **block):
    """Two 3 x 3 convolutions that keep the number of channels."""
    for index in range(2):
        features = ConvNorm2D(features.shape[-1], 3, name=f"decoder_center_{index}", **block)(features)
    return features


def check_decoder_filters(levels, filters):
    """The number of the deepest level, for which there must be as many filters.

    Raises:
        ValueError: another number of filters, or no positive ints.
    """
    top = max(level_number(level) for level in levels)
    is_list = isinstance(filters, (list, tuple))
    if not is_list or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in filters):
        raise ValueError(f"decoder_filters must be a list of positive ints; got {filters!r}")
    if len(filters) != top:
        raise ValueError(
            f"decoder_filters must be {top} numbers, one for every step from P{top} up to the image; got {filters!r}"
        )
    return top


@keras.saving.register_keras_serializable(package="kseg")
class _Halved(keras.layers.Layer):
    """One channel of images, every `2**level`-th pixel: a size for a step whose level the backbone lacks."""

    def __init__(self, level, **kwargs):
        super().__init__(**kwargs)
        self.level = level

    def call(self, inputs):
        step = 2**self.level
        return inputs[:, ::step, ::step, :1]

    def compute_output_shape(self, input_shape):
        batch, *sizes, _ = input_shape
        return (batch, *(None if size is None else -(-size // 2**self.level) for size in sizes), 1)

    def get_config(self):
        return {**super().get_config(), "level": self.level}

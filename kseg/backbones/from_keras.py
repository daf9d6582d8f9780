"""Backbones from other libraries' models."""

from __future__ import annotations

from kseg.backbones.keras_backbone import KerasBackbone


def from_keras(model, *, pixel_range=None, pixel_mean=None, pixel_std=None, name="backbone"):
    """A backbone from any functional Keras model: `keras.applications`, keras-hub, your own.

    Each level is the last tensor of its stride on the model's main path, that is among those that everything deeper
    depends on: inside a residual block, for example, no tensor is taken, because the block's input goes around it. What
    comes after the last feature map (global pooling, a classifier) is left out. A level may be missing (ConvNeXt has no
    P1), and tensors of the image's own size are not taken. The layers are the model's own, with their weights, and the
    images may have any height and width, whatever the model was built for.

    What the model expects of its pixels differs, and nothing in its graph says so. Tell it here, and kseg's models do
    it: `pixel_range=(0, 255)` for one that rescales inside (EfficientNetV2, MobileNetV3 and ConvNeXt of
    `keras.applications`), `pixel_range=(-1, 1)`, which is also what happens without any of these, for MobileNetV2,
    ResNetV2 and Xception, `pixel_mean` and `pixel_std` of ImageNet for DenseNet. VGG and ResNet want blue first: build
    them on a flipped input, as below.

    Args:
        model: functional, or Sequential with an Input; one input `(B, H, W, channels)`. Weights such as
            `weights="imagenet"` come with it.
        pixel_range: `(low, high)` of the pixels that the model expects.
        pixel_mean: per channel, what is to be subtracted from pixels scaled to 0..1.
        pixel_std: per channel, by what is then to be divided.
        name: of the backbone.

    Returns:
        A `kseg.backbones.Backbone`; it is saved and loaded inside a model of kseg like any other.

    Raises:
        TypeError: no functional model.
        ValueError: a model with several inputs, without feature maps, or with a layer on the way to them that takes
            images of one size only; a range together with statistics.

    Example:
        >>> network = keras.applications.EfficientNetV2B0(include_top=False, weights="imagenet")
        >>> model = kseg.UNet(2, backbone=from_keras(network, pixel_range=(0, 255)))

        Blue first, minus the means:

        >>> images = keras.Input((None, None, 3))
        >>> flipped = keras.ops.flip(images, axis=-1)
        >>> network = keras.applications.ResNet50(include_top=False, weights="imagenet", input_tensor=flipped)
        >>> mean = (123.68 / 255, 116.779 / 255, 103.939 / 255)
        >>> backbone = from_keras(network, pixel_mean=mean, pixel_std=(1 / 255,) * 3)
    """
    if pixel_range is not None:
        if pixel_mean is not None or pixel_std is not None:
            raise ValueError("pixel_range and pixel_mean with pixel_std exclude each other: give one of them")
        pixel_mean, pixel_std = _statistics(pixel_range, model)
    return KerasBackbone(model, pixel_mean, pixel_std, name=name)


def _statistics(pixel_range, model):
    """The mean and the standard deviation that bring 0..1 to a range."""
    try:
        low, high = pixel_range
        increasing = low < high
    except (TypeError, ValueError):
        increasing = False
    if not increasing:
        raise ValueError(
            f"pixel_range must be two increasing numbers (low, high), for example (0, 255); got {pixel_range!r}"
        )
    channels = model.input_shape[-1]
    return (-low / (high - low),) * channels, (1 / (high - low),) * channels

"""VGG."""

from __future__ import annotations

import keras

from kseg._dtype_scope import dtype_scope
from kseg._image_size import check_image_size
from kseg.backbones._imagenet import IMAGENET_MEAN, IMAGENET_STD
from kseg.backbones.backbone import Backbone
from kseg.layers import ConvNorm2D

# Convolutions before each of the five poolings.
_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@keras.saving.register_keras_serializable(package="kseg")
class VGG(Backbone):
    """VGG: five stages of 3 x 3 convolutions, each with a 2 x 2 max pooling after it.

    The `features` of torchvision's `vgg16` and its relatives: 14,714,688 parameters with `depth=16`, 20,024,384 with 19
    (8,448 and 11,008 more with batch normalisation, which follows convolutions with a bias).

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    https://arxiv.org/abs/1409.1556.

    Each level is the last tensor of its stride: P0 to P4 are what the five stages give before their pooling, P5 is what
    the last pooling gives. A network that wants a stage after its pooling (FCN) pools the level before.

    Args:
        depth: 11, 13, 16 or 19, the published number of layers; three of them are the classifier's, which is not here.
        batch_norm: whether batch normalisation follows each convolution.
        input_shape: `(height, width, channels)`; height and width may be None.
        filters: channels of the first stage; the following have 2, 4, 8 and 8 times as many. 64 is the published width.
        pool_padding: what the poolings do with an odd last row or column: `"valid"` drops it, as torchvision does
            (images then need 32 pixels on each side for P5 to have one, and smaller ones are an error); `"same"`
            keeps it, as the original framework, Caffe, does.
        kernel_initializer: as in Keras.
        name: of the model.
        dtype: precision policy; None takes the current one.
        **kwargs: `trainable`.

    Call arguments:
        images: `(B, H, W, channels)`, scaled to 0..1, `pixel_mean` subtracted and divided by `pixel_std`.

    Returns:
        `{"P0": features, ..., "P5": features}`, with strides 1, 2, 4, 8, 16 and 32.

    Raises:
        ValueError: a depth that was not published; with `pool_padding="valid"`, images below 32 pixels (if the size is
            unknown while a graph is traced: InvalidArgumentError when it runs).

    Example:
        >>> backbone = VGG(16, batch_norm=True)
        >>> backbone.channels
        {'P0': 64, 'P1': 128, 'P2': 256, 'P3': 512, 'P4': 512, 'P5': 512}
    """

    def __init__(
        self,
        depth=16,
        batch_norm=False,
        input_shape=(None, None, 3),
        filters=64,
        pool_padding="valid",
        kernel_initializer="he_normal",
        name="backbone",
        dtype=None,
        **kwargs,
    ):
        if depth not in _CONVOLUTIONS:
            raise ValueError(f"depth must be one of {', '.join(map(str, _CONVOLUTIONS))}; got {depth!r}")
        if pool_padding not in ("valid", "same"):
            raise ValueError(f'pool_padding must be "valid" or "same"; got {pool_padding!r}')
        kernel_initializer = keras.initializers.get(kernel_initializer)
        with dtype_scope(dtype):
            images = features = keras.Input(input_shape, name="images")
            if pool_padding == "valid":
                _check_size(images)
            outputs, index = {}, 0
            for stage, convolutions in enumerate(_CONVOLUTIONS[depth]):
                for _ in range(convolutions):
                    features = ConvNorm2D(
                        filters * min(2**stage, 8),
                        3,
                        norm="batch" if batch_norm else None,
                        use_bias=True,
                        kernel_initializer=kernel_initializer,
                        name=f"features_{index}",
                    )(features)
                    index += 3 if batch_norm else 2  # as torchvision counts: convolution, normalisation, activation
                outputs[f"P{stage}"] = features
                features = keras.layers.MaxPooling2D(2, padding=pool_padding, name=f"features_{index}")(features)
                index += 1
            outputs["P5"] = features
            colour = images.shape[-1] == len(IMAGENET_MEAN)
            super().__init__(
                images,
                outputs,
                strides={level: 2 ** int(level[1:]) for level in outputs},
                pixel_mean=IMAGENET_MEAN if colour else None,
                pixel_std=IMAGENET_STD if colour else None,
                name=name,
                **kwargs,
            )
        self._pool_padding = pool_padding
        self.keep_arguments(
            depth=depth,
            batch_norm=batch_norm,
            input_shape=input_shape,
            filters=filters,
            pool_padding=pool_padding,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
        )

    def call(self, inputs, training=None, mask=None):
        if self._pool_padding == "valid":
            _check_size(inputs)
        return super().call(inputs, training=training, mask=mask)


def _check_size(images):
    reason = 'for the five poolings of a VGG with pool_padding="valid"'
    check_image_size(images, 2**5, reason, 'Use larger images, or pool_padding="same"')

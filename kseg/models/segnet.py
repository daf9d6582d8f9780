"""SegNet."""

from __future__ import annotations

import keras

from kseg._dtype_scope import dtype_scope
from kseg.layers import ConvNorm2D, MaxPoolingWithIndices2D, MaxUnpooling2D, Normalize
from kseg.layers.conv_block import fresh_initializer
from kseg.models.segmentation_model import SegmentationModel, check_classes
from kseg.models.segnet_geometry import receptive_field_radius


@keras.saving.register_keras_serializable(package="kseg")
class SegNet(SegmentationModel):
    """SegNet: a VGG-16 encoder, and a decoder that puts values back to where each pooling found its maximum.

    Source: Badrinarayanan, Kendall, Cipolla 2015, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
    Segmentation", https://arxiv.org/abs/1511.00561. The published network is `SegNet(12)` with 29,449,932 trainable
    parameters: 26 convolutions of 3 x 3, all with a bias, all but the last with batch normalisation and ReLU. As in the
    original framework a pooling keeps an odd last row or column, so that images may have any size.

    The model comes compiled (Adam, cross-entropy, mean IoU, pixel accuracy): `model.fit(dataset)` trains.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: one logit per pixel, labels 0 and 1.
        input_shape: `(height, width, channels)`; height and width may be None, for images of any size.
        filters: channels of the first stage; the following have 2, 4, 8 and 8 times as many.
        convolutions: convolutions of each stage on the way down, and as many on the way up; one stage for each entry.
            The default is VGG-16's.
        input_range: `(low, high)` of the values in the images, which the model maps to -1..1; None if they come as the
            network should see them.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class, or None.
        kernel_initializer: as in Keras; the default is the paper's.
        name: of the model.
        dtype: precision policy, for example `"mixed_bfloat16"`; None takes the current one. The logits are always
            float32.
        **kwargs: `trainable`, and `frozen_batch_norm`: whether batch normalisation keeps what it has.

    Attributes:
        stride: `2**len(convolutions)`.
        receptive_field_radius: in pixels.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`.

    Returns:
        float32 logits `(B, H, W, num_classes)`.

    Raises:
        TypeError: an unknown keyword argument.
        ValueError: an argument outside its range.

    Example:
        >>> model = kseg.SegNet(num_classes=12, filters=16)
        >>> model.fit(images, masks, epochs=10)  # (N, H, W, 3) uint8 and (N, H, W) integers
    """

    def __init__(
        self,
        num_classes,
        input_shape=(None, None, 3),
        filters=64,
        convolutions=(2, 2, 3, 3, 3),
        input_range=(0, 255),
        ignore_index=255,
        class_names=None,
        kernel_initializer="he_normal",
        name="segnet",
        dtype=None,
        **kwargs,
    ):
        check_classes(num_classes, ignore_index, class_names)
        _check_convolutions(convolutions)
        kernel_initializer = keras.initializers.get(kernel_initializer)

        # Layers
        with dtype_scope(dtype):
            widths = [filters * min(2**stage, 8) for stage in range(len(convolutions))]
            head = keras.layers.Conv2D(
                num_classes,
                3,
                padding="same",
                kernel_initializer=fresh_initializer(kernel_initializer),
                dtype="float32",  # logits in full precision under every policy
                name="logits",
            )

            def convolution(channels, name):
                return ConvNorm2D(channels, use_bias=True, kernel_initializer=kernel_initializer, name=name)

            # Functional model
            images = keras.Input(input_shape, name="images")
            features = images if input_range is None else Normalize(input_range, name="normalize")(images)
            pooled = []
            for stage, (count, width) in enumerate(zip(convolutions, widths, strict=True), start=1):
                for number in range(1, count + 1):
                    features = convolution(width, f"conv{stage}_{number}")(features)
                whole = features
                features, indices = MaxPoolingWithIndices2D(2, padding="same", name=f"pool{stage}")(whole)
                pooled.append((indices, whole))
            for stage in range(len(convolutions), 0, -1):
                features = MaxUnpooling2D(2, padding="same", name=f"upsample{stage}")([features, *pooled.pop()])
                for number in range(convolutions[stage - 1], 0, -1):
                    # The last convolution of a stage narrows the features to the stage above.
                    width = widths[stage - 1] if number > 1 else widths[max(stage - 2, 0)]
                    if stage > 1 or number > 1:
                        features = convolution(width, f"conv{stage}_{number}_D")(features)
            logits = head(features)
            super().__init__(
                images,
                logits,
                num_classes=num_classes,
                ignore_index=ignore_index,
                class_names=class_names,
                input_range=input_range,
                stride=2 ** len(convolutions),
                receptive_field_radius=receptive_field_radius(convolutions),
                name=name,
                **kwargs,
            )

        # Configuration
        self.keep_arguments(
            num_classes=num_classes,
            input_shape=input_shape,
            filters=filters,
            convolutions=convolutions,
            input_range=input_range,
            ignore_index=ignore_index,
            class_names=class_names,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
        )
        self.compile_default()


def _check_convolutions(convolutions):
    counts = list(convolutions) if isinstance(convolutions, (list, tuple)) else []
    if not counts or not all(isinstance(count, int) and not isinstance(count, bool) and count > 0 for count in counts):
        raise ValueError(
            f"convolutions must hold one positive int for each stage, for example (2, 2, 3, 3, 3); got {convolutions!r}"
        )

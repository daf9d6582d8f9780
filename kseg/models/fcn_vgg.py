"""The fully convolutional networks on VGG, as published."""

from __future__ import annotations

import keras

from kseg.backbones import VGG
from kseg.layers import BilinearInitializer, CropTo
from kseg.layers.conv_block import fresh_initializer
from kseg.models.backbone_graph import logits_layer

# The first convolution of the published networks pads 100 pixels, and VGG's pads one of them.
_PADDING = 99
# By form: the fusions, each with the name of its enlargement, the name of the pooling that it fuses, the level that is
# pooled, and how many pixels of it lie before the first that is fused; then the name of the last enlargement, its
# factor, and how many of its pixels lie before the image's first.
FORMS = {
    "32s": ((), ("upscore", 32, 19)),
    "16s": ((("upscore2", "pool4", "P3", 5),), ("upscore16", 16, 27)),
    "8s": ((("upscore2", "pool4", "P3", 5), ("upscore_pool4", "pool3", "P2", 9)), ("upscore8", 8, 31)),
}

POOL_PADDING = "same"


def default_vgg(input_shape):
    """The backbone that the published networks have."""
    return VGG(16, input_shape=input_shape, pool_padding=POOL_PADDING)


def check_published(form, backbone, classifier_filters, auxiliary):
    """Check what the published forms cannot have.

    Raises:
        ValueError: naming the argument.
    """
    if form not in FORMS:
        raise ValueError(f'form must be None, "32s", "16s" or "8s"; got {form!r}')
    padding = backbone.get_config()["pool_padding"] if isinstance(backbone, VGG) else None
    if padding != POOL_PADDING:
        came = type(backbone).__name__ if padding is None else f'one with pool_padding="{padding}"'
        raise ValueError(
            f'backbone must be a kseg.backbones.VGG with pool_padding="{POOL_PADDING}" for form={form!r}, whose sizes '
            f"fit no other; got {came}"
        )
    if not isinstance(classifier_filters, int) or isinstance(classifier_filters, bool) or classifier_filters < 1:
        raise ValueError(f"classifier_filters must be a positive int; got {classifier_filters!r}")
    if auxiliary:
        raise ValueError(f"auxiliary needs form=None: the published form {form!r} has no such head")


def published_logits(
    images, normalized, backbone, *, num_classes, form, classifier_filters, dropout, kernel_initializer
):
    """The logits of FCN-32s, -16s and -8s, as large as the images.

    Args:
        images: the model's input.
        normalized: the images as the backbone should see them.
        backbone: a `VGG` whose poolings keep odd rows and columns.
        num_classes: number of classes.
        form: a key of `FORMS`.
        classifier_filters: channels of the two convolutions that were VGG's fully connected layers.
        dropout: rate after either of them.
        kernel_initializer: of these two and of the scores.
    """

    def convolution(filters, name, kernel_size=1, **options):
        initializer = fresh_initializer(kernel_initializer)
        return keras.layers.Conv2D(filters, kernel_size, kernel_initializer=initializer, name=name, **options)

    def score(name, features):
        return logits_layer(num_classes, 1, name, kernel_initializer)(features)

    fusions, (last, factor, offset) = FORMS[form]
    pyramid = backbone(keras.layers.ZeroPadding2D(_PADDING, name="pad")(normalized))
    features = pyramid["P5"]
    for name, size in (("fc6", 7), ("fc7", 1)):
        features = convolution(classifier_filters, name, size, activation="relu")(features)
        features = keras.layers.Dropout(dropout, name=f"{name}_dropout")(features)
    scores = score("score_fr", features)
    for name, pooling, level, start in fusions:
        scores = _enlarged(scores, 2, name)
        skip = score(f"score_{pooling}", keras.layers.MaxPooling2D(2, padding="same", name=pooling)(pyramid[level]))
        skip = CropTo(start, dtype="float32", name=f"score_{pooling}c")([skip, scores])
        scores = keras.layers.Add(dtype="float32", name=f"fuse_{pooling}")([scores, skip])
    return CropTo(offset, dtype="float32", name="score")([_enlarged(scores, factor, last), images])


def _enlarged(scores, factor, name):
    return keras.layers.Conv2DTranspose(
        scores.shape[-1],
        2 * factor,
        strides=factor,
        use_bias=False,
        kernel_initializer=BilinearInitializer(),
        dtype="float32",
        name=name,
    )(scores)

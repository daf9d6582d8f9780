"""Small segmentation models of plain Keras layers, with random weights: biases too, so that padding shows."""

from __future__ import annotations

import keras
import numpy as np


def convolution(filters, size=3, seed=0, **options):
    """A 'same' convolution whose weights and biases are all random."""
    kernel = keras.initializers.GlorotNormal(seed=seed)
    bias = keras.initializers.RandomNormal(stddev=0.5, seed=seed + 1)
    options = {"padding": "same", **options}
    return keras.layers.Conv2D(filters, size, kernel_initializer=kernel, bias_initializer=bias, **options)


def pointwise(channels=1, num_classes=4, input_size=(None, None)):
    """One 1x1 convolution: every pixel for itself, stride 1, receptive field radius 0."""
    image = keras.Input((*input_size, channels))
    model = keras.Model(image, convolution(num_classes, 1, seed=3)(image))
    model.stride, model.receptive_field_radius = 1, 0
    return model


def encoder_decoder(channels=3, num_classes=3, input_size=(None, None), global_context=False):
    """Two 2x2 poolings and a skip: stride 4, radius 13 (found by probing every phase). Sizes must be multiples of 4.

    Args:
        channels: of the input.
        num_classes: of the logits.
        input_size: height and width, `None` where free.
        global_context: adds the mean over the whole image, as group norm or pooling pyramids do.
    """
    image = keras.Input((*input_size, channels))
    scaled = keras.layers.Rescaling(1 / 127.5, -1.0)(image)
    fine = convolution(6, seed=1, activation="relu")(scaled)
    middle = convolution(8, seed=3, activation="relu")(keras.layers.MaxPooling2D(2)(fine))
    coarse = convolution(8, seed=5, activation="relu")(keras.layers.MaxPooling2D(2)(middle))
    if global_context:
        coarse = keras.layers.Add()([coarse, keras.layers.GlobalAveragePooling2D(keepdims=True)(coarse)])
    up = keras.layers.UpSampling2D(2)(coarse)
    up = convolution(8, seed=7, activation="relu")(keras.layers.Concatenate()([up, middle]))
    up = keras.layers.UpSampling2D(2)(up)
    up = convolution(8, seed=9, activation="relu")(keras.layers.Concatenate()([up, fine]))
    model = keras.Model(image, convolution(num_classes, 1, seed=11)(up))
    model.stride = 4
    model.receptive_field_radius = None if global_context else 14
    return model


def randomise(model, image=None, seed=0):
    """Draws all weights of a U-Net from a seed: a new model has unseeded ones, and zeros that hide zero padding.

    Args:
        model: to be changed, and returned.
        image: batch of images on which every class shall have logits of mean 0, so that none of them wins everywhere.
        seed: of the weights.
    """
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name == "kernel":
            weight.assign(rng.normal(0, np.sqrt(2 / np.prod(weight.shape[:3])), weight.shape))
        elif weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.3, weight.shape))
        elif weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    if image is not None:
        head = model.get_layer("logits")
        logits = model(image.astype("float32"), training=False).numpy()
        head.bias.assign(head.bias - logits.mean((0, 1, 2)))
    return model

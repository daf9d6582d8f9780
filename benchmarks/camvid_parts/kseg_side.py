"""kseg's models. Imports TensorFlow, and so must not share a process with PyTorch."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import kseg
from benchmarks.camvid_parts import data, loop
from benchmarks.camvid_parts.settings import EPSILON, Settings, Trained
from kseg.backbones import ResNet

_COMMON = {"num_classes": len(data.CLASS_NAMES), "ignore_index": data.VOID, "class_names": data.CLASS_NAMES}


def _matched() -> keras.Model:
    """The yardstick's network with weights from the yardstick's distributions."""
    fan_out = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return kseg.UNet(backbone=ResNet(18, kernel_initializer=fan_out), kernel_initializer="he_uniform", **_COMMON)


# The others have the initialisation that they come with, He's normal one.
NETWORKS = {
    "segnet": lambda: kseg.SegNet(**_COMMON),
    "unet": lambda: kseg.UNet(filters=32, **_COMMON),
    "unet_resnet18": _matched,
    "deeplabv3plus_resnet18": lambda: kseg.DeepLabV3Plus(backbone=ResNet(18, output_stride=16), **_COMMON),
}


def train(settings: Settings) -> Trained:
    """Trains and judges one of `NETWORKS` in this process."""
    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    return loop.run(settings, _build)


def _build(settings):
    keras.utils.set_random_seed(settings.seed)
    model = NETWORKS[settings.model]()
    optimizer = keras.optimizers.Adam(settings.rate, epsilon=EPSILON)
    model.compile(optimizer, kseg.losses.CrossEntropy(ignore_index=data.VOID), metrics=[], jit_compile=False)
    optimizer.build(model.trainable_variables)
    shape = (settings.batch, *settings.crop)
    signature = [(tf.TensorSpec((*shape, 3), tf.uint8), tf.TensorSpec(shape, tf.int64))]
    train_step = tf.function(model.train_step, input_signature=signature)
    classes = tf.function(model.classes)

    def step(images: np.ndarray, labels: np.ndarray, rate: float) -> float:
        optimizer.learning_rate.assign(rate)
        model.reset_metrics()  # the loss that a step returns is the mean since then
        return float(train_step((tf.constant(images), tf.constant(labels)))["loss"])

    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return step, lambda images: classes(tf.constant(images)).numpy(), parameters

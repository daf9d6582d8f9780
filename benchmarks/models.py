"""`python -m benchmarks.models [NAME ...]`: whole models against the libraries that have them, with random weights.

Inference is a `tf.function` of the model against the peer in `torch.inference_mode`, its own images already scaled; a
training step is forward, cross-entropy at full size, backward and a step of SGD. Both libraries use all the processors
that the process may use, in turn. The peer runs as it comes, and with its memory laid out as kseg's, channels last.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

# Before TensorFlow: the other way round, the two copies of LLVM in them end the process on some installations.
try:
    import segmentation_models_pytorch
    import torch
    import torchvision
except ImportError:
    torch = None

import keras
import numpy as np
import tensorflow as tf

import kseg
from benchmarks.harness import Row, Timer
from benchmarks.run import command
from kseg.backbones import MobileNetV3, ResNet
from kseg.losses import CrossEntropy

CLASSES = 21
INFERENCE, TRAINING = (1, 512, 512), (2, 256, 256)
TORCHVISION, SMP = "torchvision", "segmentation-models-pytorch"


@dataclass(frozen=True)
class Model:
    """A model and its peer.

    Attributes:
        ours: makes kseg's model.
        peer: makes the peer's.
        peer_name: the library that has the peer.
        inference_bar: the ratio that kseg promises at least, or None.
        training_bar: likewise for a training step; None if there is no such row.
    """

    ours: Callable[[], keras.Model]
    peer: Callable[[], object]
    peer_name: str
    inference_bar: float | None = None
    training_bar: float | None = None


def _torchvision(name: str) -> object:
    return getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None, num_classes=CLASSES)


def _smp(name: str, encoder: str) -> object:
    return getattr(segmentation_models_pytorch, name)(encoder, encoder_weights=None, classes=CLASSES)


MODELS = {
    "fcn_resnet50": Model(lambda: kseg.FCN(CLASSES), lambda: _torchvision("fcn_resnet50"), TORCHVISION, 1.2),
    "deeplabv3_resnet50": Model(
        lambda: kseg.DeepLabV3(CLASSES), lambda: _torchvision("deeplabv3_resnet50"), TORCHVISION, 1.5
    ),
    "deeplabv3_mobilenet_v3_large": Model(
        lambda: kseg.DeepLabV3(CLASSES, MobileNetV3(output_stride=16, levels="first")),
        lambda: _torchvision("deeplabv3_mobilenet_v3_large"),
        TORCHVISION,
    ),
    "deeplabv3plus_resnet50": Model(
        lambda: kseg.DeepLabV3Plus(CLASSES), lambda: _smp("DeepLabV3Plus", "resnet50"), SMP, 1.3, 1.1
    ),
    "unet_resnet34": Model(
        lambda: kseg.UNet(CLASSES, backbone=ResNet(34)), lambda: _smp("Unet", "resnet34"), SMP, 1.2, 1.1
    ),
}


def run(name: str, timer: Timer) -> list[Row]:
    """The rows of one model; the peer's columns are there only where it is installed."""
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    model = MODELS[name]
    rows = [
        timer.compare(
            f"{name}, inference {_size(INFERENCE)}",
            _inference(model.ours()),
            _peers(model, _peer_inference),
            bars=_bars(model, model.inference_bar),
        )
    ]
    if model.training_bar is not None:
        rows.append(
            timer.compare(
                f"{name}, training step {_size(TRAINING)}",
                _training(model.ours()),
                _peers(model, _peer_training),
                bars=_bars(model, model.training_bar),
            )
        )
    return rows


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _bars(model: Model, bar: float | None) -> dict[str, float]:
    return {} if bar is None or torch is None else {model.peer_name: bar}


def _images(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.float32)


def _labels(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, CLASSES, shape)


def _inference(model: keras.Model) -> Callable:
    images = tf.constant(_images(INFERENCE))
    call = tf.function(lambda images: model(images, training=False), input_signature=[tf.TensorSpec(images.shape)])
    return lambda: call(images).numpy()


def _training(model: keras.Model) -> Callable:
    model.compile(keras.optimizers.SGD(0.01), CrossEntropy(), metrics=[], jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    data = tf.constant(_images(TRAINING)), tf.constant(_labels(TRAINING))
    step = tf.function(model.train_step)
    return lambda: step(data)["loss"].numpy()


def _peers(model: Model, measured: Callable) -> dict[str, Callable]:
    if torch is None:
        return {}
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    layouts = {"": torch.contiguous_format, ", channels last": torch.channels_last}
    return {f"{model.peer_name}{name}": measured(model.peer(), layout) for name, layout in layouts.items()}


def _peer_images(shape: tuple[int, ...], layout: object) -> object:
    images = torch.from_numpy(_images(shape) / 255).permute(0, 3, 1, 2)
    return images.contiguous(memory_format=layout)


def _logits(outputs: object) -> object:
    return outputs["out"] if isinstance(outputs, dict) else outputs


def _peer_inference(peer: object, layout: object) -> Callable:
    peer = peer.eval().to(memory_format=layout)
    images = _peer_images(INFERENCE, layout)

    def call():
        with torch.inference_mode():
            return _logits(peer(images))

    return call


def _peer_training(peer: object, layout: object) -> Callable:
    peer = peer.train().to(memory_format=layout)
    images, labels = _peer_images(TRAINING, layout), torch.from_numpy(_labels(TRAINING))
    optimizer = torch.optim.SGD(peer.parameters(), 0.01)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(_logits(peer(images)), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(name: str, repeats: int) -> list[Row]:
    """Measures one model in this process."""
    return run(name, Timer(repeats=repeats))


def main(argv: list[str] | None = None) -> int:
    """Runs the chosen models, each in a process of its own; returns 1 if a promised ratio was missed."""
    return command("benchmarks.models", __doc__, "models", MODELS, measure, argv)


if __name__ == "__main__":
    sys.exit(main())

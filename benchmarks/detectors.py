"""`python -m benchmarks.detectors [NAME ...]`: Mask R-CNN against torchvision's, with the same random weights.

Inference is one image of 800 x 1216 pixels, 1000 regions and 100 detections, their masks pasted into the image: by
torchvision as floats, by kseg as bits of a threshold. A training step is a batch of two images of 512 x 512 pixels with
ten objects each: forward, all losses, backward and a step of SGD. Both libraries use all the processors that the
process may use, in turn.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# Before TensorFlow: the other way round, the two copies of LLVM in them end the process on some installations.
import torch
import torchvision

# isort: split

import keras
import numpy as np
import tensorflow as tf
from safetensors.torch import save_file

import kseg
import kseg_ops
from benchmarks.harness import Row, Timer
from benchmarks.run import command

CLASSES = 90
INFERENCE, TRAINING = (800, 1216), (512, 512)
OBJECTS = 10
INFERENCE_BAR, TRAINING_BAR = 2.0, 1.3
PEER = "torchvision"
# Standard deviations of logits and of box shifts: enough for a hundred detections with scores of all sizes.
SPREADS = {"objectness": 2.0, "shifts": 0.3, "classes": 4.0, "moves": 1.0}
BACKGROUND = 2.0  # by how much its logit is above the others


def _image(size: tuple[int, int], count: int = 1) -> np.ndarray:
    """Noise of many scales, in 0..255."""
    rng = np.random.default_rng(0)
    image = np.zeros((count, *size, 3))
    for block in (1, 4, 16, 64):
        rows, columns = (-(-side // block) for side in size)
        noise = rng.normal(size=(count, rows, columns, 3)).repeat(block, axis=1).repeat(block, axis=2)
        image += 32 * noise[:, : size[0], : size[1]]
    return np.clip(image + 128, 0, 255).astype(np.float32)


def _peer(size: tuple[int, int]) -> torch.nn.Module:
    """The network of torchvision for images of one size, which it then does not resize."""
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    network = torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, min_size=min(size), max_size=max(size)
    )
    with torch.no_grad():
        pictures = list(torch.from_numpy(_image(size) / 255).permute(0, 3, 1, 2))
        _spread(network, network.transform(pictures)[0].tensors)
    return network


def _spread(network: torch.nn.Module, images: torch.Tensor) -> None:
    """Gives batch normalisation the statistics of some images, and the last layers outputs of the spreads above."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # statistics of all that was seen
    network.backbone.train()(images)
    features = network.backbone.eval()(images)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    objectness, shifts = network.rpn.head(list(features.values()))
    _rescale(network.rpn.head.cls_logits, objectness[0], SPREADS["objectness"])
    _rescale(network.rpn.head.bbox_pred, shifts[0], SPREADS["shifts"])
    heads = network.roi_heads
    size = tuple(images.shape[2:])
    corners = np.sort(np.random.default_rng(0).uniform(0, 1, (100, 2, 2)), axis=1) * size[::-1]
    boxes = [torch.from_numpy(corners.reshape(100, 4).astype(np.float32))]
    hidden = heads.box_head(heads.box_roi_pool(features, boxes, [size]))
    logits, moves = heads.box_predictor(hidden)
    _rescale(heads.box_predictor.cls_score, logits, SPREADS["classes"])
    heads.box_predictor.cls_score.bias[0] += BACKGROUND
    _rescale(heads.box_predictor.bbox_pred, moves, SPREADS["moves"])


def _rescale(layer: torch.nn.Module, outputs: torch.Tensor, spread: float) -> None:
    """Gives each output of a last layer a mean of 0, and all of them together a spread, on an example."""
    means = outputs.transpose(0, 1).flatten(1).mean(1)
    outputs = outputs.transpose(0, 1).flatten(1) - means[:, None]
    scale = spread / outputs.std()
    layer.weight *= scale
    layer.bias.copy_((layer.bias - means) * scale)


def _ours(peer: torch.nn.Module) -> keras.Model:
    model = kseg.MaskRCNN(CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        save_file({name: value.contiguous() for name, value in peer.state_dict().items()}, path)
        kseg.weights.load(model, path)
    return model


def inference(timer: Timer) -> list[Row]:
    """One image, with its detections' masks."""
    peer = _peer(INFERENCE).eval()
    model = _ours(peer)
    images = tf.constant(_image(INFERENCE))
    theirs = [torch.from_numpy(_image(INFERENCE)[0] / 255).permute(2, 0, 1).contiguous()]

    @tf.function(input_signature=[tf.TensorSpec(images.shape)])
    def detect(images):
        found = model(images, training=False)
        masks = kseg_ops.paste_masks(found["masks"][0], found["boxes"][0], INFERENCE, mode="torchvision")
        return found["scores"], masks

    def ours():
        return [tensor.numpy() for tensor in detect(images)]

    def torchvisions():
        with torch.inference_mode():
            return peer(theirs)[0]

    found = int((ours()[0] > 0).sum()), len(torchvisions()["scores"])
    name = f"inference 1x{INFERENCE[0]}x{INFERENCE[1]}, {found[0]} and {found[1]} detections"
    return [timer.compare(name, ours, {PEER: torchvisions}, bars={PEER: INFERENCE_BAR})]


def training(timer: Timer) -> list[Row]:
    """A step on two images."""
    images = _image(TRAINING, 2)
    rng = np.random.default_rng(1)
    boxes, classes = np.zeros((2, OBJECTS, 4), np.float32), rng.integers(0, CLASSES, (2, OBJECTS))
    masks = np.zeros((2, OBJECTS, *TRAINING), np.uint8)
    for image, index in np.ndindex(2, OBJECTS):
        height, width = rng.integers(24, 200, 2)
        y, x = rng.integers(0, TRAINING[0] - height), rng.integers(0, TRAINING[1] - width)
        boxes[image, index] = x, y, x + width, y + height
        masks[image, index, y : y + height, x : x + width] = 1
    peer = _peer(TRAINING).train()
    model = _ours(peer)
    return [
        timer.compare(
            f"training step 2x{TRAINING[0]}x{TRAINING[1]}",
            _our_step(model, images, {"boxes": boxes, "classes": classes.astype(np.int32), "masks": masks}),
            {PEER: _peer_step(peer, images, boxes, classes, masks)},
            bars={PEER: TRAINING_BAR},
        )
    ]


def _our_step(model: keras.Model, images: np.ndarray, targets: dict[str, np.ndarray]) -> Callable:
    model.compile(keras.optimizers.SGD(1e-4), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    given = {name: tf.constant(value) for name, value in targets.items()}
    given["masks"] = kseg_ops.pack_masks(given["masks"])
    data = tf.constant(images), given
    step = tf.function(model.train_step)
    return lambda: step(data)["loss"].numpy()


def _peer_step(peer, images, boxes, classes, masks) -> Callable:
    pictures = list(torch.from_numpy(images / 255).permute(0, 3, 1, 2).contiguous())
    targets = [
        {
            "boxes": torch.from_numpy(boxes[image]),
            "labels": torch.from_numpy(classes[image] + 1),
            "masks": torch.from_numpy(masks[image]),
        }
        for image in range(2)
    ]
    optimizer = torch.optim.SGD(peer.parameters(), 1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = sum(peer(pictures, targets).values())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


CASES = {"inference": inference, "training": training}


def measure(name: str, repeats: int) -> list[Row]:
    """Measures one case in this process."""
    return CASES[name](Timer(repeats=repeats))


def main(argv: list[str] | None = None) -> int:
    """Runs the chosen cases, each in a process of its own; returns 1 if a promised ratio was missed."""
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    return command("benchmarks.detectors", __doc__, "cases", CASES, measure, argv)


if __name__ == "__main__":
    sys.exit(main())

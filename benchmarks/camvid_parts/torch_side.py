"""The yardstick, of segmentation-models-pytorch. Imports PyTorch, and so must not share a process with TensorFlow."""

from __future__ import annotations

import numpy as np
import segmentation_models_pytorch
import torch

from benchmarks.camvid_parts import data, loop
from benchmarks.camvid_parts.settings import EPSILON, Settings, Trained

# Of ImageNet, as kseg's models on a ResNet have them.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The quicker one of PyTorch's two for this network on CPUs: some 10 % more steps than with the usual one.
_LAYOUT = torch.channels_last

# Initialised as the library does: the encoder by He's normal distribution with the fan out, the decoder by his uniform
# one with the fan in, the head by Glorot's uniform one.
NETWORKS = {
    "smp_unet_resnet18": lambda: segmentation_models_pytorch.Unet(
        "resnet18", encoder_weights=None, classes=len(data.CLASS_NAMES)
    ),
}


def train(settings: Settings) -> Trained:
    """Trains and judges one of `NETWORKS` in this process."""
    torch.set_num_threads(settings.threads)
    return loop.run(settings, _build)


def _build(settings):
    torch.manual_seed(settings.seed)
    network = NETWORKS[settings.model]().to(memory_format=_LAYOUT)
    optimizer = torch.optim.Adam(network.parameters(), settings.rate, eps=EPSILON)
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (_MEAN, _STD))

    def normalised(images: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32, memory_format=_LAYOUT)
        return (pixels / 255 - mean) / std

    def step(images: np.ndarray, labels: np.ndarray, rate: float) -> float:
        network.train()
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        logits = network(normalised(images))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), ignore_index=data.VOID)
        loss.backward()
        optimizer.step()
        return loss.item()

    def predict(images: np.ndarray) -> np.ndarray:
        network.eval()
        with torch.inference_mode():
            return network(normalised(images)).argmax(1).numpy()

    return step, predict, sum(values.numel() for values in network.parameters())

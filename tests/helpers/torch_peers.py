"""Published networks in PyTorch with random weights, and their answers in float64 and float32."""

from __future__ import annotations

import copy

import numpy as np
import torch

from tests.helpers.seeded_weights import seeded_images, seeded_state

COUNTER = "num_batches_tracked"


def randomise(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Give a network random weights under which no layer's values vanish or explode.

    Tensors are drawn by name. The running statistics of batch normalisation are then those of random images times
    random factors, so that neither depth nor architecture decides how large the features are.
    """
    network.load_state_dict(torch_state(seeded_state(shapes_of(network), seed)), strict=False)
    channels = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d)).in_channels
    images = seeded_images(seed + 1, 96, 64, batch=4, channels=channels)
    return settle(network, seed, torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))


def settle(network: torch.nn.Module, seed: int, *inputs) -> torch.nn.Module:
    """Give batch normalisation the running statistics that some inputs have, times random factors."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    generator = np.random.default_rng(seed)
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(*inputs)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            variance = norm.running_var.numpy().astype(np.float64)
            # Of one pixel per image, some channels' variance is next to nothing.
            variance = np.maximum(variance, 0.1 * variance.mean()) + 1e-6
            mean = norm.running_mean.numpy() + np.sqrt(variance) * generator.normal(0, 0.3, variance.shape)
            norm.running_mean.copy_(torch.from_numpy(mean))
            norm.running_var.copy_(torch.from_numpy(variance * generator.uniform(0.5, 2, variance.shape)))
    return network.eval()


def rescale_logits(network, heads, images: np.ndarray, *, spread: float = 3.0) -> None:
    """Scale the last convolutions, to whose sum the logits are proportional, so that classes compete.

    Args:
        network: in evaluation mode.
        heads: the convolutions; the first has a bias.
        images: `(B, H, W, C)`.
        spread: the standard deviation of the logits.
    """
    with torch.no_grad():
        logits = answer(network, images)
        means = logits.mean((0, 1, 2))
        scale = spread / (logits - means).std()
        for head in heads:
            head.weight *= scale
            if head.bias is not None:
                head.bias *= scale
        heads[0].bias -= torch.from_numpy(means * scale).to(heads[0].bias)


def answer(network, images: np.ndarray, memory_format=torch.contiguous_format):
    """The network's output for images `(B, H, W, C)` as an array of the same layout; a dictionary's by name."""
    with torch.inference_mode():
        given = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        result = network(given.contiguous(memory_format=memory_format))
    return _channels_last(result)


def answers(network, images: np.ndarray) -> dict:
    """What a network answers in float64, and in float32 in both layouts that PyTorch has for images.

    Its convolutions add up in another order in each, and by far more accurately in the default one: blocks of 16
    channels on their own, then their sums. TensorFlow's have the other layout, and the other order.
    """
    last = torch.channels_last
    return {
        "truth": answer(copy.deepcopy(network).double(), images.astype(np.float64)),
        "peer": answer(network, images),
        "peer_channels_last": answer(copy.deepcopy(network).to(memory_format=last), images, last),
    }


def _channels_last(result):
    if isinstance(result, dict):
        return {name: _channels_last(value) for name, value in result.items()}
    return result.numpy().transpose(0, 2, 3, 1)


def shapes_of(network) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors, without counters."""
    return {name: tuple(t.shape) for name, t in network.state_dict().items() if not name.endswith(COUNTER)}


def state_of(network) -> dict[str, np.ndarray]:
    """The tensors as arrays, without counters."""
    return {name: t.numpy() for name, t in network.state_dict().items() if not name.endswith(COUNTER)}


def torch_state(state: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Arrays as tensors."""
    return {name: torch.from_numpy(value) for name, value in state.items()}

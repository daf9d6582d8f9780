"""Writes what the published networks answer to tests/weights/golden, where PyTorch is and TensorFlow is not.

    python -m tests.parity.make_golden

Of the weights, which tests/helpers/seeded_weights.py draws by name, only names, shapes and the rescaled last layer are
kept; of the logits every third row and column.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from tests.helpers.seeded_weights import seeded_images, seeded_state
from tests.helpers.torch_peers import answers, rescale_logits, shapes_of, state_of, torch_state
from tests.parity.peers import KINDS, Peer

FOLDER = Path(__file__).resolve().parents[1] / "weights" / "golden"
CLASSES = 4
STEP = 3
ODD, PADDED = (45, 38), (64, 32)


def segmentation_models(name, size=PADDED):
    """What a network of that library is made from."""
    return "segmentation_models", {"name": name, "encoder": "resnet18", "num_classes": CLASSES}, size


CASES = {
    "fcn": ("on_resnet18", {"head": "fcn", "num_classes": CLASSES}, ODD),
    "deeplabv3": ("on_resnet18", {"head": "deeplabv3", "num_classes": CLASSES}, ODD),
    "lraspp": ("torchvision", {"name": "lraspp_mobilenet_v3_large", "num_classes": CLASSES}, ODD),
    "unet": segmentation_models("Unet", ODD),
    "unetplusplus": segmentation_models("UnetPlusPlus"),
    "deeplabv3_align_corners": segmentation_models("DeepLabV3"),
    "deeplabv3plus": segmentation_models("DeepLabV3Plus"),
    "fpn": segmentation_models("FPN"),
    "pspnet": segmentation_models("PSPNet"),
    "vgg11_bn": ("vgg", {"depth": 11, "batch_norm": True}, ODD),
}


def seeded(peer: Peer) -> dict:
    """Gives a peer the weights of its names; returns names and shapes."""
    shapes = shapes_of(peer.network)
    peer.network.load_state_dict(torch_state(seeded_state(shapes)), strict=False)
    peer.network.eval()
    return shapes


def write(case: str) -> str:
    """Writes one file; returns a line on it."""
    kind, options, size = CASES[case]
    peer = KINDS[kind](**options)
    shapes = seeded(peer)
    images = seeded_images(1, *size)
    tensors = {}
    if peer.heads:
        before = {name: value.copy() for name, value in state_of(peer.network).items()}
        rescale_logits(peer.answering, peer.heads, images)
        changed = state_of(peer.network)
        tensors = {f"tensor {n}": changed[n] for n in before if not np.array_equal(changed[n], before[n])}
    given = answers(peer.answering, images)
    if isinstance(given["truth"], dict):
        given = {form: value["P5"] for form, value in given.items()}
    truth = given["truth"]
    facts = {
        "shapes": shapes,
        "size": size,
        "step": STEP,
        "spread": float(truth.std()),
        "classes": len(np.unique(truth.argmax(-1))),
        "peer_error": float(np.abs(given["peer"] - truth).max()),
    }
    tensors["logits"] = np.ascontiguousarray(truth[:, ::STEP, ::STEP].astype(np.float32))
    FOLDER.mkdir(exist_ok=True)
    save_file(tensors, FOLDER / f"{case}.safetensors", metadata={"facts": json.dumps(facts)})
    facts.pop("shapes")
    return f"{case}: {facts}"


def main() -> None:
    """Writes every file."""
    torch.set_num_threads(2)
    for case in CASES:
        sys.stdout.write(write(case) + "\n")


if __name__ == "__main__":
    main()

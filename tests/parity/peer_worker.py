"""Answers for published networks, in a process without TensorFlow. Run as a module.

Reads requests as lines of JSON from standard input, does what they ask and writes a line of JSON for each.

Both libraries in one process need not work: with the one imported after the other, the two copies of LLVM that they
bring along can end it.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from tests.helpers.seeded_weights import seeded_images
from tests.helpers.torch_peers import answers, randomise, rescale_logits, state_of
from tests.parity import detector_peer
from tests.parity.peers import KINDS


def respond(request: dict) -> dict:
    """Makes a peer with random weights, and writes its weights and answers to a folder."""
    folder = Path(request["folder"])
    peer = KINDS[request["kind"]](**request["options"])
    randomise(peer.network, request["seed"])
    images = seeded_images(request["seed"], *request["size"], channels=request["channels"])
    if peer.heads:
        rescale_logits(peer.answering, peer.heads, images)
    save_file(state_of(peer.network), folder / "state.safetensors")
    named = {}
    for kind, values in answers(peer.answering, images).items():
        levels = values if isinstance(values, dict) else {"logits": values}
        named.update({f"{kind} {level}": value for level, value in levels.items()})
    np.savez(folder / "answers.npz", images=images, **named)
    return {"parameters": sum(value.numel() for value in peer.network.parameters())}


RESPONDERS = {"network": respond, "detector": detector_peer.respond}


def main() -> None:
    """Responds until standard input ends."""
    torch.set_num_threads(2)
    responses, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    for line in sys.stdin:
        try:
            request = json.loads(line)
            response = RESPONDERS[request.get("responder", "network")](request)
        except Exception:
            response = {"error": traceback.format_exc()}
        responses.write(json.dumps(response) + "\n")
        responses.flush()


if __name__ == "__main__":
    main()

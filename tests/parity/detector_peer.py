"""torchvision's detectors stage by stage: what each stage makes of the same inputs in float64 and in float32.

Runs where PyTorch is and TensorFlow is not. Features are given and answered with the channels last.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.numpy import save_file
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

from tests.helpers.seeded_weights import seeded_images, seeded_state
from tests.helpers.torch_peers import randomise, settle, shapes_of, state_of, torch_state

BACKGROUND = 4.0  # by how much its logit is above the others
SPREADS = {"cls_logits": 2.0, "bbox_pred": 0.3, "cls_score": 4.0, "moves": 1.0, "mask": 3.0}
FORMS = ("truth", "peer", "peer_channels_last")


class Stages:
    """Runs functions of a network in three forms and keeps their inputs and answers by name.

    Args:
        network: in float32.
    """

    def __init__(self, network):
        self.networks = {
            "truth": copy.deepcopy(network).double(),
            "peer": network,
            "peer_channels_last": copy.deepcopy(network).to(memory_format=torch.channels_last),
        }
        self.arrays = {}

    def run(self, name, function, inputs):
        """Keeps what `function(network, inputs)` gives for float32 inputs by name, and returns the float32 answer."""
        self.arrays.update({f"{name}/input/{key}": _as_array(value) for key, value in inputs.items()})
        found = {}
        for form, network in self.networks.items():
            given = {key: _in_form(value, form) for key, value in inputs.items()}
            with torch.inference_mode():
                found[form] = function(network, given)
            self.arrays.update({f"{name}/{form}/{key}": _as_array(value) for key, value in found[form].items()})
        return found["peer"]


def _in_form(value, form):
    if form == "truth":
        return value.double()
    if form == "peer_channels_last" and value.ndim == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value


def _as_array(value):
    array = value.numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def respond(request: dict) -> dict:
    """Makes a detector with random weights, and writes its weights and the answers of its stages to a folder."""
    folder, seed, size = Path(request["folder"]), request["seed"], tuple(request["size"])
    proposals = dict.fromkeys(f"rpn_{when}_nms_top_n_{use}" for when in ("pre", "post") for use in ("train", "test"))
    limits = dict.fromkeys(proposals, request["proposals"])
    # So many samples that every anchor is one: nothing is left to chance.
    limits |= {"box_detections_per_img": 100, "rpn_batch_size_per_image": request["rpn_samples"]}
    builder = getattr(torchvision.models.detection, request["name"])
    network = builder(weights=None, weights_backbone=None, num_classes=request["num_classes"], **limits).eval()
    images = torch.from_numpy(seeded_images(seed, *size, batch=2).transpose(0, 3, 1, 2).copy())
    _randomise(network, seed, images)
    save_file({name: value.copy() for name, value in state_of(network).items()}, folder / "state.safetensors")
    stages = Stages(network)
    _run_stages(stages, images, size)
    _run_whole(stages, images, size)
    _run_losses(stages, images, size, seed)
    np.savez(folder / "answers.npz", **stages.arrays)
    return {"parameters": sum(value.numel() for value in network.parameters())}


def _randomise(network, seed, images):
    """Random weights under which objectness, classes and masks compete."""
    network.load_state_dict(torch_state(seeded_state(shapes_of(network), seed)), strict=False)
    randomise(network.backbone, seed)
    with torch.no_grad():
        features = network.backbone(images)
        objectness, deltas = network.rpn.head(list(features.values()))
        _rescale(network.rpn.head.cls_logits, objectness[0], SPREADS["cls_logits"])
        _rescale(network.rpn.head.bbox_pred, deltas[0], SPREADS["bbox_pred"])
        heads = network.roi_heads
        boxes = [_some_boxes(seed + index, images.shape[2:]) for index in range(len(images))]
        sizes = [tuple(images.shape[2:])] * len(images)
        pooled = heads.box_roi_pool(features, boxes, sizes)
        hidden = settle(heads.box_head, seed, pooled)(pooled)
        logits, moves = heads.box_predictor(hidden)
        _rescale(heads.box_predictor.cls_score, logits, SPREADS["cls_score"])
        heads.box_predictor.cls_score.bias[0] += BACKGROUND
        _rescale(heads.box_predictor.bbox_pred, moves, SPREADS["moves"])
        if heads.mask_head is not None:
            pooled = heads.mask_roi_pool(features, boxes, sizes)
            logits = heads.mask_predictor(settle(heads.mask_head, seed, pooled)(pooled))
            _rescale(heads.mask_predictor.mask_fcn_logits, logits, SPREADS["mask"])


def _some_boxes(seed, size):
    corners = np.random.default_rng(seed).uniform(0, 1, (2, 100, 2)) * np.asarray(size)[::-1]
    boxes = np.concatenate([corners.min(0), corners.max(0) + 4], axis=1)
    return torch.from_numpy(boxes.astype(np.float32))


def _rescale(layer, outputs, spread):
    """Scale a last layer so that its outputs, of which an example is given, have a mean of 0 and a spread."""
    axis = 1 if outputs.ndim > 1 else 0
    means = outputs.mean([index for index in range(outputs.ndim) if index != axis])
    scale = spread / outputs.std()
    layer.weight *= scale
    layer.bias.copy_((layer.bias - means) * scale)


def _run_stages(stages, images, size):
    levels = {f"P{level}": str(level - 2) for level in range(2, 6)}
    names = [*levels, "P6"]
    sizes = [size] * len(images)

    def backbone(network, given):
        found = network.backbone.body(given["images"])
        return {level: found[number] for level, number in levels.items()}

    def pyramid(network, given):
        found = network.backbone.fpn({number: given[level] for level, number in levels.items()})
        return dict(zip(names, found.values(), strict=True))

    def rpn_head(network, given):
        objectness, deltas = network.rpn.head([given[level] for level in names])
        answers = {f"objectness {level}": value for level, value in zip(names, objectness, strict=True)}
        return answers | {f"deltas {level}": value for level, value in zip(names, deltas, strict=True)}

    def pooled(pool):
        def run(network, given):
            boxes = [given[f"boxes {index}"] for index in range(len(images))]
            features = {number: given[level] for level, number in levels.items()}
            return {"features": getattr(network.roi_heads, pool)(features, boxes, sizes)}

        return run

    def box_head(network, given):
        logits, deltas = network.roi_heads.box_predictor(network.roi_heads.box_head(given["features"]))
        return {"logits": logits, "deltas": deltas}

    def mask_head(network, given):
        return {"logits": network.roi_heads.mask_predictor(network.roi_heads.mask_head(given["features"]))}

    features = stages.run("backbone", backbone, {"images": images})
    maps = stages.run("pyramid", pyramid, features)
    raw = stages.run("rpn_head", rpn_head, maps)
    boxes = stages.run("proposals", lambda network, given: _proposals(network, given, names, images), raw)
    boxes = {name: value for name, value in boxes.items() if name.startswith("boxes")}
    found = stages.run("box_pool", pooled("box_roi_pool"), {**maps, **boxes})
    logits = stages.run("box_head", box_head, found)
    found = stages.run("detections", lambda network, given: _detections(network, given, sizes), {**logits, **boxes})
    boxes = {name: value for name, value in found.items() if name.startswith("boxes")}
    if stages.networks["peer"].roi_heads.mask_head is not None:
        found = stages.run("mask_pool", pooled("mask_roi_pool"), {**maps, **boxes})
        stages.run("mask_head", mask_head, found)


def _proposals(network, given, names, images):
    objectness, deltas = ([given[f"{kind} {level}"] for level in names] for kind in ("objectness", "deltas"))
    size = tuple(images.shape[2:])
    listed = ImageList(images.to(objectness[0].dtype), [size] * len(images))
    anchors = network.rpn.anchor_generator(listed, objectness)
    counts = [level[0].numel() for level in objectness]
    flat, moves = concat_box_prediction_layers(objectness, deltas)
    boxes = network.rpn.box_coder.decode(moves, anchors).view(len(images), -1, 4)
    boxes, scores = network.rpn.filter_proposals(boxes, flat, listed.image_sizes, counts)
    answers = {"anchors": anchors[0]}
    for index in range(len(images)):
        answers |= {f"boxes {index}": boxes[index], f"scores {index}": scores[index]}
    return answers


def _detections(network, given, sizes):
    boxes = [given[f"boxes {index}"] for index in range(len(sizes))]
    parts = network.roi_heads.postprocess_detections(given["logits"], given["deltas"], boxes, sizes)
    answers = {}
    for kind, values in zip(("boxes", "scores", "classes"), parts, strict=True):
        answers |= {f"{kind} {index}": value for index, value in enumerate(values)}
    return answers


def _run_whole(stages, images, size):
    """The detections of the whole network, without resizing."""

    def whole(network, given):
        listed = ImageList(given["images"], [size] * len(images))
        features = network.backbone(given["images"])
        boxes, _ = network.rpn(listed, features)
        found, _ = network.roi_heads(features, boxes, listed.image_sizes)
        answers = {}
        for index, one in enumerate(found):
            answers |= {
                f"{name} {index}": value.flatten(1) if name == "masks" else value for name, value in one.items()
            }
        return answers

    stages.run("whole", whole, {"images": images})


def _run_losses(stages, images, size, seed):
    """The losses of the whole network, batch normalisation with the statistics that it has."""
    given = {"images": images}
    for index in range(len(images)):
        boxes = _some_boxes(seed + 10 + index, size)[:5]
        given[f"boxes {index}"] = torch.minimum(boxes, torch.tensor(size[::-1] * 2))
        given[f"classes {index}"] = torch.arange(len(boxes)) % 3 + 1
        given[f"masks {index}"] = _ellipses(given[f"boxes {index}"], size)

    def losses(network, given):
        targets = [
            {
                "boxes": given[f"boxes {index}"],
                "labels": given[f"classes {index}"].to(torch.int64),
                "masks": given[f"masks {index}"].to(torch.uint8),
            }
            for index in range(len(images))
        ]
        listed = ImageList(given["images"], [size] * len(images))
        features = network.backbone(given["images"])
        network.rpn.train()
        network.roi_heads.train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        boxes, first = network.rpn(listed, features, targets)
        _, second = network.roi_heads(features, boxes, listed.image_sizes, targets)
        network.eval()
        return {**first, **second}

    stages.run("losses", losses, given)


def _ellipses(boxes, size):
    """A mask in each box, `(N, H, W)`."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    masks = []
    for left, top, right, bottom in boxes.numpy():
        u, v = (2 * x - left - right) / (right - left), (2 * y - top - bottom) / (bottom - top)
        masks.append(u * u + v * v < 1)
    return torch.from_numpy(np.stack(masks).astype(np.uint8))

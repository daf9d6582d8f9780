"""Detectors with torchvision's weights against its networks, each stage on the inputs that torchvision's had."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

import kseg
import kseg_ops
from kseg.models.frozen_norms import freeze_batch_norms
from tests.helpers import parity

CLASSES = 8
SIZE = (96, 128)
IMAGES = 2
PROPOSALS = 100
RPN_SAMPLES = 8192  # more than there are anchors
LEVELS = ("P2", "P3", "P4", "P5")
# A box is about eight roundings of numbers of the size of the image away from the exact one, on either side; a
# probability as many of numbers up to 1.
BOX_ROUNDING = 16 * np.finfo("float32").eps * max(SIZE)
SCORE_ROUNDING = 16 * np.finfo("float32").eps
slow = pytest.mark.slow

PEERS = {
    "maskrcnn_resnet50_fpn": (kseg.MaskRCNN, "v1"),
    "maskrcnn_resnet50_fpn_v2": (kseg.MaskRCNN, "v2"),
    "fasterrcnn_resnet50_fpn": (kseg.FasterRCNN, "v1"),
}
SLOW = ("fasterrcnn_resnet50_fpn",)


class Pair:
    """A detector of kseg and the answers of torchvision's with the same weights."""

    def __init__(self, name, answers, parameters, checkpoint):
        kind, form = PEERS[name]
        self.name = name
        self.answers = answers
        self.parameters = parameters
        self.model = kind(
            CLASSES,
            form=form,
            input_range=None,
            num_proposals=PROPOSALS,
            training_proposals=PROPOSALS,
            rpn_samples=RPN_SAMPLES,
            frozen_batch_norm=form == "v1",
        )
        self.report = kseg.weights.load(self.model, checkpoint)

    def given(self, stage, form="input"):
        """What torchvision's stage was given, or answered, by name."""
        start = f"{stage}/{form}/"
        return {name[len(start) :]: value for name, value in self.answers.items() if name.startswith(start)}

    def regions(self, stage, form="input"):
        """Boxes of all images, padded."""
        found = self.given(stage, form)
        boxes = [found[f"boxes {index}"] for index in range(IMAGES)]
        padded = np.zeros((IMAGES, max(map(len, boxes)), 4), "float32")
        for index, one in enumerate(boxes):
            padded[index, : len(one)] = one
        return padded, [len(one) for one in boxes]

    def check(self, stage, function, *inputs):
        """The largest error of a stage's outputs is at most twice that of torchvision's float32."""
        forms = [self.given(stage, form) for form in ("truth", "peer", "peer_channels_last")]
        forms += both_forms(function, inputs)
        rows = []
        for name, truth in forms[0].items():
            others = [None if form is None else form[name] for form in forms[1:]]
            errors = [None if other is None else largest(other, truth) for other in others]
            rows.append(parity.Row(f"{self.name} {stage} {name}", float(truth.std()), None, *errors))
        worst = max(rows, key=lambda row: row.ratio)
        parity.ROWS.append(worst)
        worst.check()


def largest(values, truth):
    assert values.shape == truth.shape, f"{values.shape} against {truth.shape}"
    return float(np.abs(np.asarray(values, np.float64) - truth).max())


def both_forms(function, inputs):
    """What a stage answers inside a graph: with compiled ops, None where there are none, and with stock ones."""
    native = None
    if kseg_ops._library.native_op("batched_nms") is not None:
        native = in_graph(function, inputs)
    with kseg_ops.use_reference():
        return native, in_graph(function, inputs)


def in_graph(function, inputs):
    given = tf.nest.map_structure(tf.constant, inputs)
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), tf.function(function)(*given))


@pytest.fixture(scope="module", params=[pytest.param(name, marks=slow if name in SLOW else ()) for name in PEERS])
def pair(request, peer_process, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    asked = {"responder": "detector", "name": request.param, "num_classes": CLASSES + 1, "size": SIZE, "seed": 3}
    asked |= {"proposals": PROPOSALS, "rpn_samples": RPN_SAMPLES}
    peer_process.stdin.write(json.dumps({**asked, "folder": str(folder)}) + "\n")
    peer_process.stdin.flush()
    response = json.loads(peer_process.stdout.readline() or '{"error": "the process ended"}')
    assert "error" not in response, response["error"]
    with np.load(folder / "answers.npz") as arrays:
        answers = {name: arrays[name] for name in arrays.files}
    return Pair(request.param, answers, response["parameters"], folder / "state.safetensors")


def masks_of(pair):
    if not hasattr(pair.model, "mask_head"):
        pytest.skip("a detector without masks")
    return pair.model.mask_head


def test_weights(pair):
    assert pair.report.source == "torchvision detection"
    assert not pair.report.left_out
    pair.model.trainable = True
    trainable = sum(weight.shape.num_elements() for weight in pair.model.trainable_weights)
    affine = 2 * 26_560 if pair.model.frozen_batch_norm else 0
    assert trainable + affine == pair.parameters


def test_backbone(pair):
    def backbone(images):
        found = pair.model.backbone(images, training=False)
        return {level: found[level] for level in LEVELS}

    pair.check("backbone", backbone, pair.given("backbone")["images"])


def test_pyramid(pair):
    pair.check("pyramid", lambda maps: pair.model.pyramid(maps, training=False), pair.given("pyramid"))


def test_rpn_head(pair):
    def head(maps):
        found = zip(("objectness", "deltas"), pair.model.rpn_head(maps), strict=True)
        return {f"{kind} {level}": value for kind, levels in found for level, value in levels.items()}

    pair.check("rpn_head", head, pair.given("rpn_head"))


def proposals_of(pair, given):
    maps = {
        kind: {name[-2:]: given[name] for name in given if name.startswith(kind)} for kind in ("objectness", "deltas")
    }
    anchors = pair.model.anchor_generator((np.zeros((IMAGES, *SIZE, 3), "float32"), maps["objectness"]))
    sizes = np.array([SIZE] * IMAGES)
    return anchors, lambda: pair.model.proposal_layer({"anchors": anchors, **maps, "sizes": sizes}, training=False)


def test_proposals(pair):
    given, peer = pair.given("proposals"), pair.given("proposals", "peer")
    anchors, propose = proposals_of(pair, given)
    np.testing.assert_array_equal(np.concatenate([level.numpy() for level in anchors.values()]), peer["anchors"])
    for found in filter(None, both_forms(propose, ())):
        for index in range(IMAGES):
            boxes, scores = peer[f"boxes {index}"], peer[f"scores {index}"]
            count = len(boxes)
            assert count == found["num_valid"][index]
            assert count > PROPOSALS / 4
            np.testing.assert_allclose(found["boxes"][index, :count], boxes, rtol=0, atol=BOX_ROUNDING)
            np.testing.assert_allclose(found["scores"][index, :count], scores, rtol=0, atol=SCORE_ROUNDING)


def test_box_features(pair):
    boxes, counts = pair.regions("box_pool")

    def pool(maps, boxes):
        return {"features": joined(pair.model.box_pool((maps, boxes)), counts)}

    pair.check("box_pool", pool, {level: pair.given("box_pool")[level] for level in LEVELS}, boxes)


def joined(values, counts):
    """Those of all images in succession, without padding."""
    return tf.concat([values[index, :count] for index, count in enumerate(counts)], axis=0)


def test_box_head(pair):
    def head(features):
        logits, deltas = pair.model.box_head(features[None], training=False)
        return {"logits": logits[0], "deltas": tf.reshape(deltas[0], [-1, 4 * (CLASSES + 1)])}

    pair.check("box_head", head, pair.given("box_head")["features"])


def detect(pair):
    given = pair.given("detections")
    proposals, counts = pair.regions("detections")
    logits = np.zeros((*proposals.shape[:2], CLASSES + 1), "float32")
    deltas = np.zeros((*logits.shape, 4), "float32")
    start = 0
    for index, count in enumerate(counts):
        logits[index, :count] = given["logits"][start : start + count]
        deltas[index, :count] = given["deltas"][start : start + count].reshape(count, -1, 4)
        start += count
    inputs = {"logits": logits, "deltas": deltas, "proposals": proposals}
    inputs |= {"num_valid": np.array(counts), "sizes": np.array([SIZE] * IMAGES)}
    return both_forms(lambda: pair.model.postprocess(inputs), ())


def test_detections(pair):
    peer = pair.given("detections", "peer")
    every_score = np.concatenate([peer[f"scores {index}"] for index in range(IMAGES)])
    assert len(every_score) >= 20
    assert every_score.min() < 0.1
    assert every_score.max() > 0.9
    for found in filter(None, detect(pair)):
        for index in range(IMAGES):
            count = len(peer[f"boxes {index}"])
            assert count == np.sum(found["classes"][index] >= 0)
            np.testing.assert_array_equal(found["classes"][index, :count], peer[f"classes {index}"] - 1)
            for kind, rounding in (("boxes", BOX_ROUNDING), ("scores", SCORE_ROUNDING)):
                np.testing.assert_allclose(found[kind][index, :count], peer[f"{kind} {index}"], rtol=0, atol=rounding)


def test_mask_features(pair):
    masks_of(pair)
    boxes, counts = pair.regions("mask_pool")

    def pool(maps, boxes):
        return {"features": joined(pair.model.mask_pool((maps, boxes)), counts)}

    pair.check("mask_pool", pool, {level: pair.given("mask_pool")[level] for level in LEVELS}, boxes)


def test_mask_head(pair):
    head = masks_of(pair)

    features = pair.given("mask_head")["features"]
    classes = np.arange(len(features)) % CLASSES
    for form in ("truth", "peer", "peer_channels_last"):
        name = f"mask_head/{form}/logits"
        pair.answers[name] = pair.answers[name][np.arange(len(features)), ..., classes + 1]

    def masks(features):
        return {"logits": head(features[None], classes[None], training=False)[0]}

    pair.check("mask_head", masks, features)


def test_whole(pair):
    """End to end, kseg's detections agree with torchvision's exact ones as those of its float32 do."""
    truth, peer = pair.given("whole", "truth"), pair.given("whole", "peer")
    ours = in_graph(lambda images: pair.model(images, training=False), [pair.given("whole")["images"]])
    for index in range(IMAGES):
        exact, theirs = ([form[f"{kind} {index}"] for kind in ("boxes", "labels", "scores")] for form in (truth, peer))
        count = int(np.sum(ours["classes"][index] >= 0))
        found = [ours["boxes"][index, :count], ours["classes"][index, :count] + 1, ours["scores"][index, :count]]
        assert len(exact[0]) >= 20
        assert agreement(found, exact) >= agreement(theirs, exact)
        assert agreement(found, theirs) >= agreement(theirs, exact)


LOSSES = {
    "loss_objectness": "rpn_objectness_loss",
    "loss_rpn_box_reg": "rpn_box_loss",
    "loss_classifier": "class_loss",
    "loss_box_reg": "box_loss",
    "loss_mask": "mask_loss",
}


@pytest.fixture
def frozen(pair):
    """The pair while batch normalisation, which the heads of the second form have, keeps its statistics."""
    freeze_batch_norms(pair.model)
    yield pair
    pair.model.trainable = True


def test_losses(frozen):
    """With so many samples that none is left out, the losses of one batch are torchvision's."""
    pair = frozen
    given, truth = pair.given("losses"), pair.given("losses", "truth")
    targets = {
        "boxes": np.stack([given[f"boxes {index}"] for index in range(IMAGES)]),
        "classes": np.stack([given[f"classes {index}"] for index in range(IMAGES)]).astype("int32") - 1,
    }
    masks = np.stack([given[f"masks {index}"] for index in range(IMAGES)])
    targets["masks"] = kseg_ops.pack_masks(tf.constant(masks.astype("uint8"))).numpy()

    def losses(images, targets):
        stage = pair.model.first_stage(images, None, training=True)
        return pair.model.losses_of(stage, targets, training=True)

    for found in filter(None, both_forms(losses, (given["images"], targets))):
        assert len(found) == len(truth)
        for theirs, ours in LOSSES.items():
            if theirs in truth:
                # Of sums over thousands of samples whose features are 1e-4 off.
                assert found[ours] == pytest.approx(float(truth[theirs]), rel=2e-4), ours
                assert float(truth[theirs]) > 0.01


def agreement(found, exact):
    """The share of detections that have one of the same class, nearly the same box and score, among the others."""
    boxes, labels, scores = found
    near = np.abs(boxes[:, None] - exact[0]).max(-1) < 0.5
    near &= labels[:, None] == exact[1]
    near &= np.abs(scores[:, None] - exact[2]) < 0.01
    return near.any(1).sum() / max(len(boxes), len(exact[0]))

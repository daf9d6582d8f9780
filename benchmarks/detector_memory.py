"""`python -m benchmarks.detector_memory [NAME ...]`: how much memory detectors take, and for how long.

Each figure is of a process of its own: the peak of its resident memory during one call, above what it had before.

- `inference`: Mask R-CNN on ResNet-50 with a pyramid, one image of 3000 x 4000 pixels, 1000 regions, 300 detections of
  all sizes with masks as run lengths; once all of it, and once the network alone: the heads get zeros in place of what
  would be cut out of the pyramid, and nothing is chosen, suppressed or pasted. The promise is about the difference.
- `masks`: the run lengths of 300 masks, all of them as large as such an image.
- `pooling`: 1000 boxes out of a pyramid of 800 x 1216 pixels in stock TensorFlow, and the gradient of that.
- `matching`: the targets of the region proposal network, two images of 800 x 1344 pixels with 100 objects each.
- `export`: one request of 800 x 1216 pixels, 1000 regions, to an exported Mask R-CNN of stock ops.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import kseg
import kseg_ops
from benchmarks import harness
from kseg.inference import Detections

LARGE, REQUEST, TRAINING = (3000, 4000), (800, 1216), (800, 1344)
DETECTIONS, REGIONS, OBJECTS = 300, 1000, 100
BAR = 2000  # MB of inference above the network
# In pixels, on levels P2 to P6: so that regions of random weights have all sizes up to that of the image.
ANCHORS = (64, 256, 1024, 2048, 4096)


def peak(call: Callable[[], object], repeats: int = 0) -> dict[str, float]:
    """The largest resident memory during a call above that before it, in MB of a million bytes, and seconds.

    With `repeats`, the seconds are the median of as many calls more: the first one makes TensorFlow optimise a graph.
    """
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    seconds = [_seconds(call)]
    megabytes = (_status("VmHWM") - before) * 1.024e-3
    seconds += [_seconds(call) for _ in range(repeats)]
    return {"seconds": statistics.median(seconds[1:] or seconds), "megabytes": megabytes}


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _status(name: str) -> int:
    """A line of the kernel's account of this process, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


class _Network(kseg.MaskRCNN):
    """The convolutions and products only."""

    def detect(self, stage):
        channels = self.pyramid.filters
        logits, deltas = self.box_head(tf.zeros([1, REGIONS, 7, 7, channels]), training=False)
        masks = self.mask_head(
            tf.zeros([1, DETECTIONS, 14, 14, channels]), tf.zeros([1, DETECTIONS], tf.int32), training=False
        )
        return {"logits": logits, "deltas": deltas, "masks": masks, **stage["objectness"]}


def _large_image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*LARGE, 3)).astype(np.uint8)


def _options() -> dict:
    keras.utils.set_random_seed(0)
    return {"score_threshold": 0.0, "max_detections": DETECTIONS, "num_proposals": REGIONS, "anchor_sizes": ANCHORS}


def _spread(model: kseg.MaskRCNN) -> None:
    """Gives random weights outputs of a spread that makes many detections, with noise as the image."""
    image = np.random.default_rng(1).integers(0, 256, (1, 256, 256, 3)).astype(np.float32)
    stage = model.first_stage(image, None, False)
    _rescale(model.rpn_head.objectness, stage["objectness"]["P4"], 2.0)
    _rescale(model.rpn_head.deltas, stage["deltas"]["P4"], 0.3)
    boxes = tf.constant([[[0.0, 0.0, 200.0, 250.0], [50.0, 50.0, 100.0, 80.0], [100.0, 20.0, 110.0, 50.0]]])
    levels = {level: stage["pyramid"][level] for level in model.levels}
    logits, deltas = model.box_head(model.box_pool((levels, boxes)))
    _rescale(model.box_head.logits, logits, 1.0)
    _rescale(model.box_head.deltas, deltas, 1.0)
    masks = model.mask_head(model.mask_pool((levels, boxes)), tf.zeros([1, 3], tf.int32))
    _rescale(model.mask_head.logits, masks, 1.0)


def _rescale(layer, outputs: tf.Tensor, spread: float) -> None:
    layer.kernel.assign(layer.kernel * spread / tf.math.reduce_std(outputs))


def inference_network() -> dict[str, float]:
    model, image = _Network(90, **_options()), _large_image()
    return peak(lambda: model.predict_on_batch(image[None]))


def inference() -> dict[str, float]:
    model, image = kseg.MaskRCNN(90, **_options()), _large_image()
    _spread(model)
    found, masks = None, None

    def call():
        nonlocal found, masks
        found = kseg.predict_instances(model, image, score_threshold=0.0)
        masks = found.rle()

    figures = peak(call)
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    areas = sides.prod(axis=1) / np.prod(LARGE)
    return {**figures, "detections": len(masks), "largest_box": float(areas.max()), "mean_box": float(areas.mean())}


def masks() -> dict[str, float]:
    rng = np.random.default_rng(0)
    boxes = np.tile(np.array([0, 0, LARGE[1], LARGE[0]], np.float32), (DETECTIONS, 1))
    crops = rng.uniform(0, 1, (DETECTIONS, 28, 28)).astype(np.float32)
    numbers = np.zeros(DETECTIONS)
    found = Detections(boxes, numbers.astype(np.int32), numbers.astype(np.float32), crops, _large_image())
    return peak(found.rle)


def _pyramid(size: tuple[int, int]) -> dict[str, tf.Tensor]:
    return {
        f"P{level}": tf.random.stateless_normal([1, size[0] >> level, size[1] >> level, 256], [0, level])
        for level in (2, 3, 4, 5)
    }


def _regions() -> tf.Tensor:
    """Boxes of all levels."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (1, REGIONS, 2)) * REQUEST[::-1]
    boxes = np.concatenate([corners, corners + np.exp(rng.uniform(np.log(8), np.log(800), (1, REGIONS, 2)))], axis=-1)
    return tf.constant(np.minimum(boxes, np.tile(REQUEST[::-1], 2)), tf.float32)


def _pooling(backward: bool, bins: int = 7) -> dict[str, float]:
    @tf.function
    def pool(pyramid, boxes):
        with tf.GradientTape() as tape, kseg_ops.use_reference():
            tape.watch(pyramid)
            pooled = kseg_ops.multilevel_roi_align(pyramid, boxes, bins, 2, False)
            return tape.gradient(pooled, pyramid) if backward else pooled

    pyramid, boxes = _pyramid(REQUEST), _regions()
    pool.get_concrete_function(pyramid, boxes)
    return peak(lambda: pool(pyramid, boxes), repeats=5)


def pooling() -> dict[str, float]:
    return _pooling(backward=False)


def pooling_gradient() -> dict[str, float]:
    return _pooling(backward=True)


def matching() -> dict[str, float]:
    rng = np.random.default_rng(0)
    sampler = kseg.layers.TargetSampler(256, low_quality_matches=True, seed=0)
    pyramid = {f"P{level}": tf.zeros([2, TRAINING[0] >> level, TRAINING[1] >> level, 1]) for level in range(2, 7)}
    anchors = kseg.layers.AnchorGenerator((32, 64, 128, 256, 512))((tf.zeros([2, *TRAINING, 3]), pyramid))
    anchors = tf.concat(list(anchors.values()), axis=0)
    corners = rng.uniform(0, 0.8, (2, OBJECTS, 2)) * TRAINING[::-1]
    boxes = np.concatenate([corners, corners + rng.uniform(16, 256, (2, OBJECTS, 2))], axis=-1).astype(np.float32)
    targets = {"boxes": tf.constant(boxes), "classes": tf.zeros([2, OBJECTS], tf.int32)}
    draw = tf.function(lambda anchors, targets: sampler(anchors, targets)["indices"])
    draw.get_concrete_function(anchors, targets)
    return peak(lambda: draw(anchors, targets), repeats=5)


def _export(folder: str) -> None:
    kseg.export(kseg.MaskRCNN(90, score_threshold=0.0), folder)


def export() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        _alone(_export, f"{folder}/model")
        served = tf.saved_model.load(f"{folder}/model")
        detect = served.signatures["detections_uint8"]
        image = tf.constant(np.random.default_rng(0).integers(0, 256, (1, *REQUEST, 3)).astype(np.uint8))
        return peak(lambda: detect(images=image), repeats=3)


CASES = {
    "inference": [inference_network, inference],
    "masks": [masks],
    "pooling": [pooling, pooling_gradient],
    "matching": [matching],
    "export": [export],
}


def _alone(call: Callable, *args) -> object:
    """What a call gives in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(call, *args).result()


def main(argv: list[str] | None = None) -> int:
    """Measures the chosen cases; returns 1 if the promise was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detector_memory", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which cases (default: all): {', '.join(CASES)}")
    parser.add_argument("--output", type=Path, default=None, help="also write the figures to this JSON file")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.names) - set(CASES))
    if unknown:
        parser.error(f"NAME must be one of {', '.join(CASES)}; got {', '.join(unknown)}")
    rows: dict[str, dict[str, float]] = {}
    for call in (call for name in args.names or CASES for call in CASES[name]):
        rows[call.__name__] = {key: round(value, 3) for key, value in _alone(call).items()}
        sys.stdout.write(f"{call.__name__}: {json.dumps(rows[call.__name__])}\n")
        sys.stdout.flush()
    above = None
    if "inference" in rows:
        above = rows["inference"]["megabytes"] - rows["inference_network"]["megabytes"]
        kept = "kept" if above < BAR else "MISSED"
        sys.stdout.write(f"inference above its network: {above:.0f} MB, promised below {BAR} MB: {kept}\n")
    if args.output is not None:
        native = os.environ.get("KSEG_NATIVE") != "0"
        record = {"commit": harness.commit(), "machine": harness.machine(), "native": native, "rows": rows}
        if above is not None:
            record["inference_above_network_megabytes"] = round(above, 1)
        args.output.write_text(json.dumps(record, indent=1) + "\n")
    return int(above is not None and above >= BAR)


if __name__ == "__main__":
    sys.exit(main())

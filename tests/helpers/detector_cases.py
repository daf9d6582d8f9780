"""Small detectors and pictures of rectangles for them to find."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import kseg
import kseg_ops
from tests.helpers.tiny_backbone import TinyBackbone

SIZE = (64, 72)
CLASSES = 2


def tiny_detector(kind=kseg.MaskRCNN, levels=(1, 2, 3, 4), **options):
    """A detector of a few thousand parameters, with a pyramid of P2 to P4 and one level more."""
    small = {
        "backbone": TinyBackbone(levels=levels),
        "pyramid_filters": 8,
        "head_units": 16,
        "anchor_sizes": (12, 18, 27, 40),
        "num_proposals": 40,
        "training_proposals": 60,
        "rpn_samples": 64,
        "box_samples": 32,
        "max_detections": 10,
        "score_threshold": 0.0,
    }
    return kind(options.pop("num_classes", CLASSES), **{**small, **options})


def rectangles(count, seed=0, objects=3, size=SIZE):
    """Images `(count, H, W, 3)` of bright upright and dark flat rectangles, and their targets.

    The last of `objects + 1` places is padding, and the last image has no objects if there are several.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    images = rng.integers(90, 130, (count, height, width, 3)).astype("uint8")
    boxes = np.zeros((count, objects + 1, 4), "float32")
    classes = np.full((count, objects + 1), -1, "int32")
    masks = np.zeros((count, objects + 1, height, width), "uint8")
    for image in range(count if count == 1 else count - 1):
        for index in range(objects):
            kind = index % CLASSES
            w, h = ((10, 20), (20, 10))[kind]
            x, y = rng.integers(0, (width - w, height - h))
            images[image, y : y + h, x : x + w] = 250 - 230 * kind
            masks[image, :, y : y + h, x : x + w] = 0  # what is painted over, is hidden
            masks[image, index, y : y + h, x : x + w] = 1
            boxes[image, index] = x, y, x + w, y + h
            classes[image, index] = kind
    packed = kseg_ops.pack_masks(tf.constant(masks)).numpy()
    return images, {"boxes": boxes, "classes": classes, "masks": packed}


def as_dataset(images, targets, batch=2):
    """Batches of images and targets."""
    return tf.data.Dataset.from_tensor_slices((images, targets)).batch(batch)

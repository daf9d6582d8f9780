"""The confusion matrix."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import FLOATS, Case, Draw, floats, integers, shape

_INTEGERS = (np.uint8, np.int8, np.uint16, np.int32, np.int64)
_FLOATS = (*FLOATS, np.float64)


def _draw(rng: np.random.Generator) -> Draw:
    pixels = shape(rng, 4, 20, 20)[: rng.integers(1, 4)]
    classes = int(rng.choice([1, 2, 3, 16, 17, 65, 100]))
    if rng.random() < 0.003:  # more logits than are widened at a time
        classes, pixels = int(rng.integers(300, 900)), pixels[:1]
    labels = integers(rng, pixels, 0, classes, _INTEGERS[rng.integers(5)], hard=0.1)
    if rng.random() < 0.5:
        channels = 1 if classes == 2 and rng.random() < 0.5 else classes
        predictions = floats(rng, (*pixels, channels), _FLOATS[rng.integers(4)])
    else:
        predictions = integers(rng, pixels, 0, classes, _INTEGERS[rng.integers(5)], hard=0.1)
    return Draw(
        {"labels": labels, "predictions": predictions},
        {
            "num_classes": classes,
            "ignore_index": int(rng.choice([255, 0, -1, 2**40])),
            "has_ignore_index": bool(rng.integers(2)),
        },
    )


def _numpy(draw: Draw) -> dict:
    return {
        "labels": draw.arrays["labels"],
        "logits_or_labels": draw.arrays["predictions"],
        "num_classes": draw.attributes["num_classes"],
        "ignore_index": draw.attributes["ignore_index"] if draw.attributes["has_ignore_index"] else None,
    }


CASES = [Case("confusion_matrix", _draw, numpy=_numpy, words=("label", "logits", "prediction"))]

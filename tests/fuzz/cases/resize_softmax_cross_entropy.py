"""Cross-entropy of resized logits, alone and with the Dice sums, and the gradients of both."""

from __future__ import annotations

import zlib

import numpy as np

from tests.fuzz.draws import Case, Draw, extent, floats, shape

_INTEGERS = (np.uint8, np.int8, np.uint16, np.int32, np.int64)


def _labels(rng: np.random.Generator, size: tuple[int, ...], classes: int, attributes: dict) -> np.ndarray:
    """One class per patch, per row or per pixel; with some void pixels, seldom with a value that is nothing."""
    dtype = _INTEGERS[rng.integers(5)]
    limits = np.iinfo(dtype)
    patch = int(rng.choice([1, 1, 4, 16]))
    values = rng.integers(0, min(classes, limits.max), (size[0], -(-size[1] // patch), -(-size[2] // patch)))
    values = np.repeat(np.repeat(values, patch, axis=1), patch, axis=2)[:, : size[1], : size[2]].astype(dtype)
    ignored = attributes["ignore_index"]
    if attributes["has_ignore_index"] and limits.min <= ignored <= limits.max and rng.random() < 0.6:
        values[rng.random(size) < rng.choice([0.02, 0.5, 1.0])] = ignored
        values[:, : int(rng.integers(0, size[1] + 1))] = ignored if rng.random() < 0.3 else values[:, :1]
    if rng.random() < 0.03 and values.size:
        values.flat[rng.integers(values.size)] = rng.choice([limits.min, limits.max])
    return values


def _inputs(rng: np.random.Generator) -> tuple[dict, dict, int]:
    """Labels and logits, attributes, and the number of classes."""
    batch, height, width, _ = shape(rng, 3, 9, 9, 1)
    channels = int(
        rng.choice([0, 1, 2, 3, 15, 16, 17, 21, 33, 64, 150, 300], p=[0.01, 0.12, *[0.1] * 7, 0.1, 0.05, 0.02])
    )
    if channels > 40:
        height, width = min(height, 5), min(width, 5)
    classes = 2 if channels == 1 else max(channels, 1)
    if rng.random() < 0.6:
        scale = rng.choice([1, 2, 3, 4, 5, 8], 2)
        output = (height * int(scale[0]), width * int(scale[1]))
    else:
        output = (extent(rng, 40), extent(rng, 40))
    output = (min(output[0], 4000 // (channels + 40)), min(output[1], 80))
    weights = rng.choice([0.0, 1.0, 0.3, 1e-30, 1e20, 3e38], classes, p=[0.1, 0.5, 0.3, 0.04, 0.04, 0.02])
    attributes = {
        "has_ignore_index": bool(rng.random() < 0.7),
        "ignore_index": int(rng.choice([255, 255, 0, 1, -1, 2**40])),
        "class_weights": [float(np.float32(weight)) for weight in weights] if rng.random() < 0.4 else [],
        "label_smoothing": float(np.float32(rng.choice([0.0, 0.0, 0.1, 0.999, 1e-8]))),
        "align_corners": bool(rng.integers(2)),
    }
    labels = _labels(rng, (batch, *output), classes, attributes)
    logits = floats(rng, (batch, height, width, channels), scale=float(rng.choice([0.1, 3.0, 60.0, 1000.0])))
    return {"labels": labels, "logits": logits}, attributes, classes


def _pixel_weights(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    size = tuple(1 if rng.random() < 0.2 else extent for extent in labels.shape)
    weights = floats(rng, size, np.float32)
    return np.abs(weights) if rng.random() < 0.7 else weights


def _upstream(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return floats(rng, size, np.float32, scale=float(rng.choice([1e-6, 1.0, 1e7, 1e13])))


def _sums_shape(arrays: dict) -> tuple[int, int, int]:
    channels = arrays["logits"].shape[3]
    return (len(arrays["logits"]), 3, 2 if channels == 1 else channels)


def _forward(rng: np.random.Generator) -> Draw:
    return Draw(*_inputs(rng)[:2])


def _backward(rng: np.random.Generator) -> Draw:
    arrays, attributes, _ = _inputs(rng)
    arrays["loss_gradient"] = _upstream(rng, arrays["labels"].shape)
    return Draw(arrays, attributes)


def _training(rng: np.random.Generator) -> Draw:
    draw = _forward(rng)
    draw.arrays["logits"] = draw.arrays["logits"].astype(np.float32)
    return draw


def _training_backward(rng: np.random.Generator) -> Draw:
    """Half of the upstream gradients are one number for each image, some of these at all pixels but one."""
    draw = _training(rng)
    labels, logits = draw.arrays["labels"], draw.arrays["logits"]
    draw.arrays["unit_gradient"] = floats(rng, logits.shape, np.float32)
    given = _upstream(rng, labels.shape)
    if given.size and rng.random() < 0.5:
        given[:] = given[:, :1, :1]
        if rng.random() < 0.3:
            given.flat[rng.integers(given.size)] += 1
    draw.arrays["loss_gradient"] = given
    return draw


def _forward_with_dice(rng: np.random.Generator) -> Draw:
    arrays, attributes, _ = _inputs(rng)
    arrays["pixel_weights"] = _pixel_weights(rng, arrays["labels"])
    return Draw(arrays, attributes)


def _backward_with_dice(rng: np.random.Generator) -> Draw:
    draw = _forward_with_dice(rng)
    draw.arrays["loss_gradient"] = _upstream(rng, draw.arrays["labels"].shape)
    draw.arrays["sums_gradient"] = _upstream(rng, _sums_shape(draw.arrays))
    return draw


def _numpy(draw: Draw) -> dict:
    """The NumPy functions do both losses: half of the calls get what the Dice sums take, sometimes of wrong shape."""
    arguments = {**draw.arrays, **draw.attributes}
    if not arguments.pop("has_ignore_index"):
        arguments["ignore_index"] = None
    if not arguments["class_weights"]:
        arguments["class_weights"] = None
    labels, logits = draw.arrays["labels"], draw.arrays["logits"]
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(logits).tobytes()))
    if labels.ndim == 3 and logits.ndim == 4 and rng.random() < 0.5:
        arguments["pixel_weights"] = _pixel_weights(rng, labels)
        if "loss_gradient" in arguments:
            arguments["sums_gradient"] = _upstream(rng, _sums_shape(draw.arrays))
        if rng.random() < 0.1:
            name = str(rng.choice([name for name in ("pixel_weights", "sums_gradient") if name in arguments]))
            kind = rng.integers(4)
            array = arguments.pop(name)
            if kind == 1:
                arguments[name] = array.astype(np.float64)
            elif kind == 2:
                arguments[name] = array[None]
            elif kind == 3:
                arguments[name] = np.concatenate([array, array], axis=rng.integers(3))
    return arguments


def _scratch(rng: np.random.Generator) -> Draw:
    small = rng.integers(0, 40, 7)
    return Draw(
        {"labels_shape": small[[0, 1, 2]], "logits_shape": small[[0, 3, 4, 5]] + [0, 1, 1, 1]},
        {"gradient": bool(rng.integers(2)), "dice": bool(rng.integers(2)), "threads": int(rng.integers(1, 100))},
    )


def _scratch_numpy(draw: Draw) -> dict:
    return {name: [int(size) for size in np.ravel(value)] for name, value in draw.arrays.items()} | draw.attributes


CASES = [
    Case("resize_softmax_cross_entropy", _forward, numpy=_numpy, words=("pixel_weights",)),
    Case("resize_softmax_cross_entropy_grad", _backward, numpy=_numpy, words=("pixel_weights", "sums_gradient")),
    Case("resize_softmax_cross_entropy_training", _training),
    Case("resize_softmax_cross_entropy_training_grad", _training_backward),
    Case("resize_softmax_cross_entropy_and_dice", _forward_with_dice),
    Case("resize_softmax_cross_entropy_and_dice_grad", _backward_with_dice),
    Case("resize_softmax_scratch_bytes", _scratch, tensorflow=False, numpy=_scratch_numpy, words=("labels", "logits")),
]

"""Class weights from how often classes occur."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kseg._class_arguments import check_ignore_index, check_num_classes, is_finite_number

ABSENT = ("error", "zero", "one")
# The paper's constant, which bounds the weights by 1 / log(1.02), about 50.
_ENET_CONSTANT = 1.02


def class_weights_from_data(
    data, num_classes, method="inverse_frequency", ignore_index=255, beta=0.9999, absent="error"
):
    """Weights for the `class_weights` of losses, larger for rarer classes, from the labels of a training set.

    With n pixels of a class, N valid pixels of all classes and K classes that occur:

    - `"inverse_frequency"`: `N / (K * n)`; on average over pixels the weight is 1 (scikit-learn's "balanced").
    - `"median_frequency"`: `median(f) / f` with f = n / (valid pixels of the images in which the class occurs), the
      median over the classes that occur. Eigen, Fergus 2015, https://arxiv.org/abs/1411.4734.
    - `"effective_number"`: `(1 - beta) / (1 - beta**n)`, scaled to a sum of K. Cui, Jia, Lin, Song, Belongie 2019,
      https://arxiv.org/abs/1901.05555. From about `10 / (1 - beta)` pixels on, all classes weigh the same: for counts
      of pixels, beta has to be far closer to 1 than for counts of images.
    - `"enet"`: `1 / log(1.02 + n / N)`, between 1.4 and 50. Paszke, Chaurasia, Kim, Culurciello 2016,
      https://arxiv.org/abs/1606.02147.

    Counts are exact integers; void pixels are not among them.

    Args:
        data: integer labels: an array of one image `(H, W)` or of several `(B, H, W)`, each optionally with a last axis
            of 1 (of three axes, a last one of 1 is taken for that); or something to iterate over, such as a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a list or a generator, of such labels or of tuples
            `(images, labels)` or `(images, labels, sample_weight)`. It is gone through once and has to end.
        num_classes: the number of classes; 1 (the sigmoid case) gives two weights, of background and foreground.
        method: one of the above.
        ignore_index: the label of void pixels, or None.
        beta: of `"effective_number"`, in [0, 1).
        absent: the weight of classes that do not occur. `"error"`: raise; `"zero"`: 0; `"one"`: 1.

    Returns:
        A tuple of floats, one per class.

    Raises:
        ValueError: an argument outside its range; a label that is neither a class nor `ignore_index`, or no whole
            number; labels of another rank; no valid pixel; a class that does not occur, with `absent="error"`; a
            dataset without end.

    Example:
        >>> class_weights_from_data(np.array([[0, 0, 0, 1, 255]]), num_classes=2)
        (0.6666666666666666, 2.0)
    """
    classes = max(check_num_classes(num_classes), 2)
    ignore_index = check_ignore_index(ignore_index)
    if method not in _METHODS:
        raise ValueError(f"method must be one of {tuple(_METHODS)}; got {method!r}")
    if not is_finite_number(beta) or not 0 <= beta < 1:
        raise ValueError(f"beta must be in [0, 1); got {beta!r}")
    if absent not in ABSENT:
        raise ValueError(f"absent must be one of {ABSENT}; got {absent!r}")

    counts = np.zeros(classes, np.int64)
    pixels_with = np.zeros(classes, np.int64)  # valid pixels of the images in which the class occurs
    for labels in _label_arrays(data):
        for image in _images(labels):
            of_image = _count(image, classes, ignore_index)
            counts += of_image
            pixels_with += np.where(of_image > 0, of_image.sum(), 0)
    occurs = counts > 0
    if not occurs.any():
        raise ValueError("the data hold no valid pixel: nothing was given, or all labels are ignore_index")
    if absent == "error" and not occurs.all():
        raise ValueError(
            f"classes {np.flatnonzero(~occurs).tolist()} do not occur in the data, so that there is no frequency to "
            'weight them by. Pass absent="zero" or absent="one" for the weight that they are to have'
        )
    weights = np.full(classes, 1.0 if absent == "one" else 0.0)
    weights[occurs] = _METHODS[method](counts[occurs].astype(np.float64), pixels_with[occurs], beta)
    return tuple(weights.tolist())


def _inverse_frequency(counts, pixels_with, beta):
    del pixels_with, beta
    return counts.sum() / (len(counts) * counts)


def _median_frequency(counts, pixels_with, beta):
    del beta
    frequencies = counts / pixels_with
    return np.median(frequencies) / frequencies


def _effective_number(counts, pixels_with, beta):
    del pixels_with
    if beta == 0:
        return np.ones_like(counts)
    # 1 - beta**n without the cancellation that small n and a beta near 1 bring.
    weights = (1 - beta) / -np.expm1(counts * np.log(beta))
    return weights * len(counts) / weights.sum()


def _enet(counts, pixels_with, beta):
    del pixels_with, beta
    return 1 / np.log(_ENET_CONSTANT + counts / counts.sum())


_METHODS = {
    "inverse_frequency": _inverse_frequency,
    "median_frequency": _median_frequency,
    "effective_number": _effective_number,
    "enet": _enet,
}


def _label_arrays(data):
    if isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("the dataset has no end: pass dataset.take(n) or one without repeat()")
    if isinstance(data, tuple) and len(data) in (2, 3) and all(hasattr(part, "shape") for part in data):
        raise ValueError("data is one tuple of arrays: pass its labels alone, or a list of (images, labels) batches")
    if hasattr(data, "shape"):
        yield np.asarray(data)
        return
    try:
        if hasattr(data, "__getitem__") and hasattr(data, "__len__"):  # a PyDataset cannot be iterated over by itself
            elements = (data[index] for index in range(len(data)))
        else:
            elements = iter(data)
    except TypeError:
        raise ValueError(
            "data must be an array of labels, or something to iterate over that gives labels or (images, labels); got "
            f"{type(data).__name__}"
        ) from None
    for element in elements:
        if isinstance(element, (tuple, list)):
            if len(element) not in (2, 3):
                raise ValueError(
                    "the elements of data must be labels, (images, labels) or (images, labels, sample_weight); got "
                    f"{type(element).__name__} of {len(element)}"
                )
            element = element[1]
        yield np.asarray(element)


def _images(labels):
    """The images `(H, W)` that labels consist of."""
    if labels.ndim in (3, 4) and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.ndim not in (2, 3):
        raise ValueError(
            f"labels must have shape (H, W) or (B, H, W), or these with a last axis of 1; got {labels.shape}"
        )
    return labels if labels.ndim == 3 else labels[np.newaxis]


def _count(image, classes, ignore_index):
    """How many pixels each class has, int64."""
    if np.issubdtype(image.dtype, np.floating):
        whole = np.floor(image)
        if not np.array_equal(whole, image):
            raise ValueError(f"labels must be whole numbers; got {float(image[whole != image].flat[0])!r}")
        image = whole.astype(np.int64)
    elif not np.issubdtype(image.dtype, np.integer):
        raise ValueError(f"labels must be integers; got dtype {image.dtype}")
    is_class = (image >= 0) & (image < classes)
    bad = ~is_class if ignore_index is None else ~is_class & (image != ignore_index)
    if bad.any():
        found = np.unique(image[bad])[:8].tolist()
        raise ValueError(f"labels must be 0..{classes - 1} or ignore_index={ignore_index}; found {found}")
    counted = is_class if ignore_index is None else is_class & (image != ignore_index)
    return np.bincount(image[counted].astype(np.int64), minlength=classes)

"""The losses once more, slowly and plainly, in NumPy float64: one image or pixel at a time, straight from the papers.

Each takes labels `(B, H, W)` with void 255 and logits `(B, H, W, C)`, of which C = 1 is the sigmoid case.
"""

from __future__ import annotations

import numpy as np

VOID = 255


def probabilities(logits):
    logits = np.asarray(logits, np.float64)
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], -1)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def cross_entropies(y, logits, smoothing=0.0):
    """Of the valid pixels, in a row."""
    p, valid = np.log(probabilities(logits)), y != VOID
    p, truth = p[valid], y[valid]
    return -(1 - smoothing) * p[np.arange(len(p)), truth] - smoothing * p.mean(-1)


def focal(y, logits, gamma=2.0):
    entropy = cross_entropies(y, logits)
    return ((1 - np.exp(-entropy)) ** gamma * entropy).mean()


def mean_over_classes(y, classes, of_class, absent="skip"):
    """`of_class` is called with each class that counts."""
    losses = []
    for c in range(classes):
        present = np.any(y == c)
        if present or absent == "count":
            losses.append(of_class(c))
        elif absent == "one":
            losses.append(0.0)
    return np.mean(losses) if losses else 0.0


def region(y, logits, of_sums, absent="skip", per_image=False):
    """`of_sums(overlap, predicted, labelled)` is the loss of a class."""
    if per_image:
        return np.mean([region(y[i : i + 1], logits[i : i + 1], of_sums, absent) for i in range(len(y))])
    p, valid = probabilities(logits), y != VOID
    p, y = p[valid], y[valid]
    return mean_over_classes(
        y, p.shape[-1], lambda c: of_sums(p[y == c, c].sum(), p[:, c].sum(), float((y == c).sum())), absent
    )


def dice(overlap, predicted, labelled, smooth=1.0):
    return 1 - (2 * overlap + smooth) / (predicted + labelled + smooth)


def jaccard(overlap, predicted, labelled, smooth=1.0):
    return 1 - (overlap + smooth) / (predicted + labelled - overlap + smooth)


def tversky(overlap, predicted, labelled, alpha=0.3, beta=0.7, smooth=1.0):
    false_positives, false_negatives = predicted - overlap, labelled - overlap
    return 1 - (overlap + smooth) / (overlap + alpha * false_positives + beta * false_negatives + smooth)


def focal_tversky(overlap, predicted, labelled, gamma=0.75):
    return tversky(overlap, predicted, labelled) ** gamma


def jaccard_of_set(wrong, truth, weight):
    """The Jaccard loss of a set of wrong pixels, with sizes that are sums of weights."""
    union = weight[wrong | truth].sum()
    return 1 - weight[truth & ~wrong].sum() / union if union > 0 else 0.0


def extension(errors, truth, weight=None):
    """Of the Jaccard loss, by its definition: one set after the other, each with one more wrong pixel."""
    weight = np.ones(len(errors)) if weight is None else weight
    total, before, wrong = 0.0, 0.0, np.zeros(len(errors), bool)
    for pixel in np.argsort(-errors, kind="stable"):
        wrong[pixel] = True
        after = jaccard_of_set(wrong, truth, weight)
        total += errors[pixel] * (after - before)
        before = after
    return total


def lovasz_softmax(y, logits, absent="skip", per_image=False, weight=None):
    if per_image:
        return np.mean([lovasz_softmax(y[i : i + 1], logits[i : i + 1], absent) for i in range(len(y))])
    p, valid = probabilities(logits), y != VOID
    weight = None if weight is None else weight[valid]
    p, y = p[valid], y[valid]
    return mean_over_classes(
        y, p.shape[-1], lambda c: extension(np.where(y == c, 1 - p[:, c], p[:, c]), y == c, weight), absent
    )


def lovasz_hinge(y, logits, weight=None):
    valid = y != VOID
    z = logits[..., 0] if logits.shape[-1] == 1 else logits[..., 1] - logits[..., 0]
    errors = np.maximum(1 - np.where(y == 1, z, -z), 0)
    return extension(errors[valid], y[valid] == 1, None if weight is None else weight[valid])


def distances(region, spacing=(1.0, 1.0)):
    """From each pixel to the nearest of a region, by looking at all of them; infinite if there is none."""
    rows, columns = np.indices(region.shape)
    result = np.full(region.shape, np.inf)
    for row, column in zip(*np.nonzero(region), strict=True):
        result = np.minimum(result, np.hypot((rows - row) * spacing[0], (columns - column) * spacing[1]))
    return result


def signed_distances(classes, valid, c, spacing):
    """Of one image: outside of class c to its nearest pixel, inside minus that to the nearest other valid pixel."""
    inside = valid & (classes == c)
    return np.where(inside, -distances(valid & ~inside, spacing), distances(inside, spacing))


def distance_loss(y, logits, cost, absent="skip", spacing=(1.0, 1.0), class_weights=None):
    """`cost(probability, truth, phi, phi of the prediction)` is what pixels of one image and class cost."""
    p, valid = probabilities(logits), y != VOID
    predicted = p.argmax(-1)
    classes = p.shape[-1]
    weights = np.ones(classes) if class_weights is None else np.asarray(class_weights, float)
    total = 0.0
    for i in range(len(y)):
        costs, weight_sum = np.zeros(y.shape[1:]), 0.0
        for c in range(classes):
            present = np.any(y[i] == c)
            if absent == "skip" and not present:
                continue
            weight_sum += weights[c]
            if absent == "one" and not present:
                continue
            phi, phi_predicted = (signed_distances(k[i], valid[i], c, spacing) for k in (y, predicted))
            costs += weights[c] * cost(p[i, ..., c], y[i] == c, phi, phi_predicted)
        if weight_sum:
            total += costs[valid[i]].sum() / weight_sum
    return total / valid.sum()


def boundary(y, logits, spacing=(1.0, 1.0), **options):
    diagonal = np.hypot(y.shape[1] * spacing[0], y.shape[2] * spacing[1])

    def cost(p, truth, phi, phi_predicted):
        return p * np.where(phi == np.inf, diagonal, np.where(phi == -np.inf, 0, phi))

    return distance_loss(y, logits, cost, spacing=spacing, **options)


def hausdorff(y, logits, alpha=2.0, **options):
    def power(phi):
        return np.where(np.isfinite(phi), np.abs(np.where(np.isfinite(phi), phi, 0)) ** alpha, 0)

    def cost(p, truth, phi, phi_predicted):
        return (p - truth) ** 2 * (power(phi) + power(phi_predicted))

    return distance_loss(y, logits, cost, **options)


def hardest(y, logits, threshold=None, min_kept=1, fraction=None, smoothing=0.0):
    entropy = cross_entropies(y, logits)
    order = np.argsort(-entropy, kind="stable")
    if fraction is not None:
        kept = order[: int(np.ceil(fraction * len(order) - 1e-9))]
    else:
        kept = order[: max(min_kept, (np.exp(-entropy) < threshold).sum())]
    return cross_entropies(y, logits, smoothing)[kept].mean()

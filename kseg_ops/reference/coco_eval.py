"""The specification of `kseg_ops.coco_eval`, in NumPy: slow and plain, and what runs without the compiled library.

The functions have the names and arguments of those in the compiled module. What each rule is for stands with the public
functions; where rounding is at stake, the operations are COCO's, in COCO's order.
"""

from __future__ import annotations

import numpy as np

# An IoU that rounding has left a little below 1 meets a threshold of 1.
_MOST_THRESHOLD = 1 - 1e-10


def coco_eval_box_iou(detections, truths, detection_splits, truth_splits, is_crowd) -> np.ndarray:
    """The IoU of the pairs of each group, group after group and row after row."""
    _check_boxes(detections, truths)
    _check_groups(detection_splits, truth_splits, len(detections), len(truths))
    _check_length("is_crowd", is_crowd, "ground truth", len(truths))
    values = [np.zeros(0)]
    for group in range(len(detection_splits) - 1):
        a = detections[detection_splits[group] : detection_splits[group + 1], None]
        b = truths[None, truth_splits[group] : truth_splits[group + 1]]
        crowd = is_crowd[None, truth_splits[group] : truth_splits[group + 1]] != 0
        overlaps = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
        common = np.where((overlaps > 0).all(-1), overlaps[..., 0] * overlaps[..., 1], 0)
        area_a, area_b = a[..., 2] * a[..., 3], b[..., 2] * b[..., 3]
        whole = np.where(crowd, area_a, area_a + area_b - common)
        values.append(np.divide(common, whole, out=np.zeros_like(common), where=common != 0).ravel())
    return np.concatenate(values)


def coco_eval_match(
    ious, detection_splits, truth_splits, detection_areas, truth_areas, is_crowd, area_ranges, thresholds
) -> tuple[np.ndarray, np.ndarray]:
    """Matches int32 `[A, T, D]`, the number of a ground truth or -1, and whether each detection is ignored, uint8."""
    pairs = _check_groups(detection_splits, truth_splits, len(detection_areas), len(truth_areas))
    _check_length("is_crowd", is_crowd, "ground truth", len(truth_areas))
    _check_length("ious", ious, "pair", pairs)
    if area_ranges.shape[1] != 2:
        raise ValueError(f"area_ranges must have shape [A, 2], got {list(area_ranges.shape)}")
    shape = (len(area_ranges), len(thresholds), len(detection_areas))
    matches, ignored = np.full(shape, -1, np.int32), np.zeros(shape, np.uint8)
    for a, (low, high) in enumerate(area_ranges):
        outside = (detection_areas < low) | (detection_areas > high)
        truth_ignored = (is_crowd != 0) | (truth_areas < low) | (truth_areas > high)
        offset = 0
        for group in range(len(detection_splits) - 1):
            rows = slice(detection_splits[group], detection_splits[group + 1])
            columns = np.arange(truth_splits[group], truth_splits[group + 1])
            count = (rows.stop - rows.start) * len(columns)
            values = ious[offset : offset + count].reshape(rows.stop - rows.start, len(columns))
            offset += count
            for t, threshold in enumerate(thresholds):
                found = _match(values, columns, truth_ignored, is_crowd, min(threshold, _MOST_THRESHOLD))
                matches[a, t, rows] = found
                ignored[a, t, rows] = np.where(found < 0, outside[rows], np.append(truth_ignored, False)[found])
    return matches, ignored


def _match(values, columns, truth_ignored, is_crowd, threshold) -> np.ndarray:
    """What each detection of one group is given; -1 for nothing."""
    found = np.full(len(values), -1, np.int32)
    taken = set()
    for row, of_detection in enumerate(values):
        for among_ignored in (False, True):
            best, bar = -1, threshold
            for truth, value in zip(columns, of_detection, strict=True):
                free = truth not in taken or is_crowd[truth]
                if bool(truth_ignored[truth]) == among_ignored and free and not value < bar:
                    best, bar = truth, value
            if best >= 0:
                found[row] = best
                taken.add(best)
                break
    return found


def coco_eval_accumulate(
    scores, ranks, class_splits, matches, ignored, positives, most_detections, recalls
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision `[T, R, K, A, M]`, recall `[T, K, A, M]` and scores `[T, R, K, A, M]`; -1 without ground truth."""
    areas, thresholds, _ = _check_accumulate(scores, ranks, class_splits, matches, ignored, positives, recalls)
    classes = len(class_splits) - 1
    shape = (thresholds, len(recalls), classes, areas, len(most_detections))
    precision, at_score = np.full(shape, -1.0), np.full(shape, -1.0)
    recall = np.full(shape[:1] + shape[2:], -1.0)
    for k in range(classes):
        members = np.arange(class_splits[k], class_splits[k + 1])
        members = members[np.argsort(-scores[members], kind="stable")]
        for m, most in enumerate(most_detections):
            order = members[ranks[members] < most]
            for a in np.flatnonzero(positives[k] > 0):
                for t in range(thresholds):
                    counted = ignored[a, t, order] == 0
                    hit = matches[a, t, order] >= 0
                    hits = np.cumsum(counted & hit).astype(np.float64)
                    misses = np.cumsum(counted & ~hit).astype(np.float64)
                    heights = hits / (misses + hits + np.spacing(1))
                    heights = np.maximum.accumulate(heights[::-1])[::-1]
                    reached = hits / positives[k, a]
                    recall[t, k, a, m] = reached[-1] if len(order) else 0
                    places = np.searchsorted(reached, recalls, side="left")
                    inside = places < len(order)
                    precision[t, :, k, a, m] = at_score[t, :, k, a, m] = 0
                    precision[t, inside, k, a, m] = heights[places[inside]]
                    at_score[t, inside, k, a, m] = scores[order[places[inside]]]
    return precision, recall, at_score


def _check_boxes(detections, truths) -> None:
    if detections.shape[1] != 4 or truths.shape[1] != 4:
        raise ValueError(
            f"detections and truths must be boxes [N, 4], got {list(detections.shape)} and {list(truths.shape)}"
        )


def _check_length(name, array, of, expected) -> None:
    if len(array) != expected:
        raise ValueError(f"{name} must have one entry per {of}, {expected}, got {len(array)}")


def _check_splits(name, splits, total) -> None:
    if len(splits) == 0:
        raise ValueError(f"{name} must have at least one entry")
    if splits[0] != 0 or splits[-1] != total or (np.diff(splits) < 0).any():
        raise ValueError(f"{name} must rise from 0 to the number of entries, {total}")


def _check_groups(detection_splits, truth_splits, detections, truths) -> int:
    _check_splits("detection_splits", detection_splits, detections)
    _check_splits("truth_splits", truth_splits, truths)
    if len(detection_splits) != len(truth_splits):
        raise ValueError(
            "detection_splits and truth_splits must have equally many entries, got "
            f"{len(detection_splits)} and {len(truth_splits)}"
        )
    return int((np.diff(detection_splits) * np.diff(truth_splits)).sum())


def _check_accumulate(scores, ranks, class_splits, matches, ignored, positives, recalls) -> tuple[int, int, int]:
    _check_splits("class_splits", class_splits, len(scores))
    _check_length("ranks", ranks, "detection", len(scores))
    if matches.shape != ignored.shape or matches.shape[2] != len(scores):
        raise ValueError(
            f"matches and ignored must have shape [A, T, {len(scores)}], got {list(matches.shape)} and "
            f"{list(ignored.shape)}"
        )
    expected = [len(class_splits) - 1, len(matches)]
    if list(positives.shape) != expected:
        raise ValueError(f"positives must have shape [K, A] = {expected}, got {list(positives.shape)}")
    rising = np.greater_equal(recalls, np.concatenate([[-np.inf], recalls[:-1]]))
    if not rising.all():
        position = int(np.argmin(rising))
        raise ValueError(f"recalls must rise, got {recalls[position]:g} at position {position}")
    if np.isnan(scores).any():
        raise ValueError(f"scores must not be NaN, got NaN at position {int(np.isnan(scores).argmax())}")
    return matches.shape

"""Results per class under the names of the classes."""

from __future__ import annotations


def check_class_names(class_names, count):
    """Class names as a list, or None.

    Raises:
        ValueError: another number of names than of classes, or a name twice.
    """
    if class_names is None:
        return None
    if len(set(class_names)) != count or len(class_names) != count:
        raise ValueError(f"class_names must be {count} different names; got {class_names!r}")
    return list(class_names)


def named_scores(prefix, class_names, scores, classes=None):
    """Scores per class as a dictionary `{"<prefix>_<class>": scalar}`.

    Args:
        prefix: name of the metric.
        class_names: one name per class, or None for the numbers.
        scores: `(C,)`.
        classes: the numbers of the classes that are named; None for all.
    """
    classes = range(scores.shape[0]) if classes is None else classes
    return {f"{prefix}_{index if class_names is None else class_names[index]}": scores[index] for index in classes}

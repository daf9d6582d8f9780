"""Many metrics from one confusion matrix."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.metrics.confusion_matrix_metric import ConfusionMatrixMetric


@keras.saving.register_keras_serializable(package="kseg")
class ConfusionMatrixReport(ConfusionMatrixMetric):
    """Several metrics that are all read off one confusion matrix, counted once per batch.

    Ten metrics given to `compile` one by one count the pixels ten times; given to a report, once.

    Args:
        metrics: metrics that are made of a confusion matrix (`MeanIoU`, `PerClassDice`, `PixelAccuracy`,
            `ConfusionMatrix` ...), all with the same `num_classes` and `ignore_index`, each with a name of its own.
            They only say what is reported and how; what they have counted themselves plays no part.
        name, dtype: as in Keras. Keras shows the results under the metrics' names, not under the report's.

    `update_state`, range checks and errors: see `ConfusionMatrixMetric`.

    Returns:
        `result()` is a dictionary of all results: `{"<metric>": scalar}`, and `{"<metric>_<class>": scalar}` of the
        metrics per class.

    Raises:
        ValueError: no metric, one that is not made of a confusion matrix, metrics that count other classes or have
            another void label than the first, or two results of one name.

    Example:
        >>> report = ConfusionMatrixReport([MeanIoU(2), PerClassIoU(2), PixelAccuracy(2)])
        >>> report.update_state(np.array([[[0, 0, 1, 255]]]), np.array([[[0, 1, 1, 0]]]))
        >>> {name: round(float(value), 3) for name, value in report.result().items()}
        {'mean_iou': 0.5, 'iou_0': 0.5, 'iou_1': 0.5, 'pixel_accuracy': 0.667}
    """

    def __init__(self, metrics, name="report", dtype=None):
        first = _check_metrics(metrics)
        super().__init__(first.num_classes, first.ignore_index, name=name, dtype=dtype)
        # Not an attribute that Keras tracks: matrices that nothing is counted in are no state of the report.
        self.parts = _Parts(metrics)
        _check_names(self.result_of(tf.zeros((self.matrix_size, self.matrix_size), tf.int64), every=True))

    def result_of(self, matrix, every=False):
        """All results of a confusion matrix.

        Args:
            matrix: int64 `(C, C)`, rows truth, columns prediction.
            every: a list of `(name, result)` instead of a dictionary, which holds each name once.
        """
        pairs = []
        for metric in self.parts.metrics:
            result = metric.result_of(matrix)
            pairs += result.items() if isinstance(result, dict) else [(metric.name, result)]
        return pairs if every else dict(pairs)

    def get_config(self):
        parts = [keras.saving.serialize_keras_object(metric) for metric in self.parts.metrics]
        return {"name": self.name, "dtype": super().get_config()["dtype"], "metrics": parts}

    @classmethod
    def from_config(cls, config):
        parts = [keras.saving.deserialize_keras_object(metric) for metric in config["metrics"]]
        return cls(**{**config, "metrics": parts})


class _Parts:
    """Holds the metrics without Keras taking their variables for the report's."""

    def __init__(self, metrics):
        self.metrics = tuple(metrics)


def _check_metrics(metrics):
    metrics = list(metrics) if isinstance(metrics, (list, tuple)) else []
    if not metrics:
        raise ValueError("metrics must be a list of at least one metric that is made of a confusion matrix")
    first = metrics[0]
    for metric in metrics:
        if not isinstance(metric, ConfusionMatrixMetric):
            raise ValueError(
                f"metrics must be made of a confusion matrix, as kseg.metrics.MeanIoU is; got {metric!r}, which counts "
                "for itself: list it beside the report"
            )
        if (metric.num_classes, metric.ignore_index) != (first.num_classes, first.ignore_index):
            raise ValueError(
                f"metrics must have one num_classes and one ignore_index; {metric.name} has {metric.num_classes} and "
                f"{metric.ignore_index}, {first.name} has {first.num_classes} and {first.ignore_index}"
            )
    return first


def _check_names(results):
    names = [name for name, _ in results]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"metrics must have results of different names; {', '.join(twice)} comes twice. Set `name`")

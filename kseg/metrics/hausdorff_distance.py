"""Hausdorff distance."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.metrics.surface_metric import SurfaceMetric


@keras.saving.register_keras_serializable(package="kseg")
class HausdorffDistance(SurfaceMetric):
    """The Hausdorff distance between predicted and true contour of each class, the mean over images; HD95 by default.

    The greater one of two numbers: the distance from the true contour within which `percentile` percent of the
    predicted contour's length lie, and the same the other way round.

    Source: the robust Hausdorff distance of github.com/google-deepmind/surface-distance; Huttenlocher et al.,
    "Comparing images using the Hausdorff distance", 1993. (MONAI takes the percentile over border pixels, not over the
    contour's length, and interpolates between two of them.)

    Args:
        num_classes: number of classes; 1 is the sigmoid case, of which the foreground is measured.
        ignore_index: the label of void pixels, or None.
        percentile: from 0 to 100; 100 is the Hausdorff distance itself.
        spacing: the distance of rows and that of columns in the unit of the result, such as millimetres; one number
            for both.
        classes: the numbers of the classes that are measured; None: all (in the sigmoid case the foreground).
        class_names: one name per class, used in the result's keys; by default the numbers.
        per_class: whether the result is a dictionary with the value of each class too.
        absent: an image counts for a class that is in neither its labels nor its prediction: `"skip"` nothing, `"zero"`
            a distance of 0.
        unmatched: an image counts for a class that is in one of them only: `"diagonal"` the length of the image's
            diagonal, `"inf"` infinity, `"skip"` nothing.
        name, dtype: as in Keras.

    What a contour is, speed, void pixels and errors: see `SurfaceMetric`. `update_state` and result: `ClassMapMetric`.

    Raises:
        ValueError: a percentile out of range; what `SurfaceMetric` raises.

    Example:
        >>> y = np.zeros((1, 16, 16), int)
        >>> y[:, 4:8, 4:8] = 1
        >>> metric = HausdorffDistance(2, classes=[1], spacing=(1.0, 0.5))
        >>> metric.update_state(y, np.roll(y, 3, axis=2))  # three columns of half a unit
        >>> float(metric.result())
        1.5
    """

    def __init__(
        self,
        num_classes,
        ignore_index=255,
        percentile=95,
        spacing=1.0,
        classes=None,
        class_names=None,
        per_class=False,
        absent="skip",
        unmatched="diagonal",
        name="hausdorff_distance",
        dtype=None,
    ):
        super().__init__(
            num_classes,
            ignore_index,
            spacing,
            classes,
            class_names,
            per_class,
            absent,
            unmatched,
            name=name,
            dtype=dtype,
        )
        if not is_finite_number(percentile) or not 0 <= percentile <= 100:
            raise ValueError(f"percentile must be a number from 0 to 100; got {percentile!r}")
        self.percentile = percentile

    def distance(self, predicted, labelled):
        return tf.maximum(predicted.percentile(self.percentile), labelled.percentile(self.percentile))

    def get_config(self):
        return {**super().get_config(), "percentile": self.percentile}

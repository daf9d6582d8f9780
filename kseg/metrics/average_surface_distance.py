"""Average surface distance."""

from __future__ import annotations

import keras

from kseg.metrics.surface_metric import SurfaceMetric


@keras.saving.register_keras_serializable(package="kseg")
class AverageSurfaceDistance(SurfaceMetric):
    """The average distance between predicted and true contour of each class, the mean over images.

    Symmetric (ASSD): the mean over the length of both contours together of the distance to the other one. Not
    symmetric (ASD): the mean over the length of the predicted contour of the distance to the true one.

    Source: Heimann et al., "Comparison and Evaluation of Methods for Liver Segmentation From CT Datasets", 2009, with
    the contours of github.com/google-deepmind/surface-distance.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, of which the foreground is measured.
        ignore_index: the label of void pixels, or None.
        symmetric: whether the true contour's distance from the predicted one counts too.
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
        ValueError: what `SurfaceMetric` raises.

    Example:
        >>> y = np.zeros((1, 16, 16), int)
        >>> y[:, 4:8, 4:8] = 1
        >>> metric = AverageSurfaceDistance(2, classes=[1])
        >>> metric.update_state(y, y)
        >>> float(metric.result())
        0.0
    """

    def __init__(
        self,
        num_classes,
        ignore_index=255,
        symmetric=True,
        spacing=1.0,
        classes=None,
        class_names=None,
        per_class=False,
        absent="skip",
        unmatched="diagonal",
        name="average_surface_distance",
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
        if not isinstance(symmetric, bool):
            raise ValueError(f"symmetric must be True or False; got {symmetric!r}")
        self.symmetric = symmetric

    def distance(self, predicted, labelled):
        total, length = predicted.total_distance(), predicted.total_length()
        if self.symmetric:
            total, length = total + labelled.total_distance(), length + labelled.total_length()
        return total / length

    def get_config(self):
        return {**super().get_config(), "symmetric": self.symmetric}

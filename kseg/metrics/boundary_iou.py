"""Boundary intersection over union."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

import kseg_ops
from kseg._class_arguments import is_finite_number
from kseg.metrics import class_ratios
from kseg.metrics.class_map_metric import ClassMapMetric
from kseg.metrics.confusion_matrix_metric import check_absent, mean_over_classes, ratio_per_class
from kseg.metrics.mask_boundaries import mask_boundaries
from kseg.metrics.replicas import add_over_replicas


@keras.saving.register_keras_serializable(package="kseg")
class BoundaryIoU(ClassMapMetric):
    """Intersection over union of the classes' inner boundaries, counted over all pixels since the last reset.

    The boundary of a class is what its mask loses when it is eroded `d` times by 3 x 3 pixels: its pixels within `d`
    rows and columns (a square, not a circle) of a pixel that is not of the class, or of the outside of the image. `d`
    is `dilation_ratio` times the image's diagonal, rounded to a whole number, at least 1. That is the definition of the
    authors' code; their paper speaks of the distance to the contour, without saying which. Where that code scores one
    object at a time, this metric adds up the counts of a class over all images, as mean IoU does.

    Unlike IoU it does not favour large objects, whose insides are easy and many.

    Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", 2021.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, of which the foreground is measured.
        ignore_index: the label of void pixels, or None. They belong to no class, true or predicted: a mask ends there.
        dilation_ratio: the boundary's width as a part of the image's diagonal. The paper takes 0.02 for COCO's images
            and 0.005 for those of Cityscapes.
        classes: the numbers of the classes that are measured; None: all (in the sigmoid case the foreground).
        class_names: one name per class, used in the result's keys; by default the numbers.
        per_class: whether the result is a dictionary with the value of each class too.
        absent: what a class does that is absent from both labels and predictions: `"skip"` leaves it out of the mean
            (NaN of its own), `"one"` counts it as 1, `"zero"` as 0.
        name, dtype: as in Keras.

    `update_state`, result and errors: see `ClassMapMetric`. Counts are int64 and exact. The mean of no class is 0.

    Raises:
        ValueError: a `dilation_ratio` that is not a number above 0.

    Example:
        >>> y = np.zeros((1, 8, 8), int)
        >>> y[:, 2:6, 2:6] = 1
        >>> metric = BoundaryIoU(2, classes=[1])
        >>> metric.update_state(y, np.roll(y, 1, axis=2))  # rings of 12 pixels, 6 of them in common
        >>> round(float(metric.result()), 3)  # 6 / (12 + 12 - 6)
        0.333
    """

    def __init__(
        self,
        num_classes,
        ignore_index=255,
        dilation_ratio=0.02,
        classes=None,
        class_names=None,
        per_class=False,
        absent="skip",
        name="boundary_iou",
        dtype=None,
    ):
        super().__init__(num_classes, ignore_index, classes, class_names, per_class, name=name, dtype=dtype)
        if not is_finite_number(dilation_ratio) or dilation_ratio <= 0:
            raise ValueError(f"dilation_ratio must be a number above 0; got {dilation_ratio!r}")
        self.dilation_ratio = dilation_ratio
        self.absent = check_absent(absent)
        self.boundary_counts = self.add_variable(
            shape=(3, self.num_labels), initializer="zeros", dtype="int64", aggregation="sum", name="boundary_counts"
        )

    def add_maps(self, labels, predictions):
        reach = self._reach(labels)
        # A class of its own for what is no boundary: then one confusion matrix holds all counts.
        inside = self.num_labels
        labels, predictions = (
            tf.where(mask_boundaries(maps, reach) & (maps >= 0), maps, inside) for maps in (labels, predictions)
        )
        matrix = kseg_ops.confusion_matrix(labels, predictions, inside + 1, ignore_index=None)
        counts = tf.linalg.diag_part(matrix), tf.reduce_sum(matrix, 1), tf.reduce_sum(matrix, 0)
        add_over_replicas(self.boundary_counts, tf.stack(counts)[:, :inside])

    def _reach(self, maps):
        """The width of boundaries in pixels: a Python int where the size of the images is known."""
        height, width = maps.shape[1:]
        if height is not None and width is not None:
            return max(1, round(self.dilation_ratio * math.sqrt(height**2 + width**2)))
        sides = tf.cast(tf.shape(maps)[1:], tf.float64)
        diagonal = tf.sqrt(tf.reduce_sum(sides * sides))
        return tf.maximum(1, tf.cast(tf.round(tf.constant(self.dilation_ratio, tf.float64) * diagonal), tf.int32))

    def values(self):
        counts = tf.unstack(tf.cast(tf.convert_to_tensor(self.boundary_counts), tf.float64))
        return ratio_per_class(*class_ratios.iou(*counts), self.absent)

    def mean(self, values):
        return mean_over_classes(values)

    def merge_state(self, metrics):
        """Add the counts of other metrics of the same classes."""
        for other in metrics:
            if not isinstance(other, BoundaryIoU) or other.num_labels != self.num_labels:
                raise ValueError(f"merge_state takes BoundaryIoU metrics over {self.num_labels} classes; got {other!r}")
            self.boundary_counts.assign_add(tf.convert_to_tensor(other.boundary_counts))

    def get_config(self):
        return {**super().get_config(), "dilation_ratio": self.dilation_ratio, "absent": self.absent}

"""What the metrics of distances between contours have in common."""

from __future__ import annotations

import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.metrics.class_map_metric import ClassMapMetric
from kseg.metrics.contours import contour_distances
from kseg.metrics.native_steps import may_compile, metric_ops
from kseg.metrics.replicas import add_over_replicas

ABSENT = ("skip", "zero")
UNMATCHED = ("diagonal", "inf", "skip")


class SurfaceMetric(ClassMapMetric):
    """Base class: a distance of each class in each image, of which the mean over images is the class's value.

    For contours, their elements and lengths see `kseg.metrics.contours.contour_distances`: the definition of
    DeepMind's `surface-distance`. An object that reaches the border of the image has a contour there too.

    In eager mode and in the steps of kseg's models that XLA does not compile, the compiled distance transform works
    on the part of the image that holds the class. In other graphs, which XLA may be about to compile, the reference
    works on whole images; that takes seconds for large ones.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, of which the foreground is measured.
        ignore_index: the label of void pixels, or None. They belong to no class, true or predicted; a contour along
            void that both have is at distance 0.
        spacing: the distance of rows and that of columns in the unit that the results are to have, such as
            millimetres; one number for both.
        classes: the numbers of the classes that are measured; None: all (in the sigmoid case the foreground).
        class_names: one name per class, used in the result's keys; by default the numbers.
        per_class: whether the result is a dictionary with the value of each class too.
        absent: what an image counts for a class that is in neither its labels nor its prediction: `"skip"` nothing,
            `"zero"` a distance of 0.
        unmatched: what an image counts for a class that is in one of them only: `"diagonal"` the length of the image's
            diagonal, the most that a distance can be; `"inf"` infinity (what DeepMind's code says, and with it every
            mean that it is part of); `"skip"` nothing.
        name, dtype: as in Keras.

    `update_state`, result and errors: see `ClassMapMetric`. Before the first image that counts, the mean is NaN.

    Raises:
        ValueError: a spacing that is not one or two numbers above 0, an unknown policy.
    """

    def __init__(
        self,
        num_classes,
        ignore_index=255,
        spacing=1.0,
        classes=None,
        class_names=None,
        per_class=False,
        absent="skip",
        unmatched="diagonal",
        name=None,
        dtype=None,
    ):
        super().__init__(num_classes, ignore_index, classes, class_names, per_class, name=name, dtype=dtype)
        self.spacing = spacing
        self.row_spacing, self.column_spacing = _check_spacing(spacing)
        if absent not in ABSENT:
            raise ValueError(f"absent must be one of {ABSENT}; got {absent!r}")
        if unmatched not in UNMATCHED:
            raise ValueError(f"unmatched must be one of {UNMATCHED}; got {unmatched!r}")
        self.absent = absent
        self.unmatched = unmatched
        shape = (self.num_labels,)
        self.distance_sums = self.add_variable(
            shape=shape, initializer="zeros", dtype="float64", aggregation="sum", name="distance_sums"
        )
        self.image_counts = self.add_variable(
            shape=shape, initializer="zeros", dtype="int64", aggregation="sum", name="image_counts"
        )

    def distance(self, predicted, labelled):
        """The distance of a class in an image that has it in both maps.

        Args:
            predicted: `ContourDistances` of the prediction's contour from the labels'.
            labelled: `ContourDistances` of the labels' contour from the prediction's.

        Returns:
            float64 scalar.
        """
        raise NotImplementedError

    def add_maps(self, labels, predictions):
        self._add_maps_to([self], labels, predictions)

    @tf.autograph.experimental.do_not_convert
    def update_together(self, others, y_true, y_pred):
        """Take in one batch, and have others take it in, with the distances computed once.

        Args:
            others: surface metrics, of other distances between the contours of the same classes.
            y_true: as for `update_state`.
            y_pred: as for `update_state`.

        Raises:
            ValueError: others of another number of classes, ignore index, spacing or choice of classes; what
                `update_state` raises.
        """
        shared = ("num_classes", "ignore_index", "row_spacing", "column_spacing", "measured")
        for other in others:
            different = [name for name in shared if getattr(other, name) != getattr(self, name)]
            if different:
                name = different[0]
                raise ValueError(
                    f"others must have {name}={getattr(self, name)!r} as this metric; got {getattr(other, name)!r}"
                )
        with metric_ops():
            self._add_maps_to([self, *others], *self.class_maps(y_true, y_pred))

    def _add_maps_to(self, metrics, labels, predictions):
        classes = tf.constant(self.measured, tf.int32)
        rows, columns = (
            [_presence(maps, classes, self.num_labels, axis) for maps in (labels, predictions)] for axis in (1, 2)
        )
        present = in_labels, in_predictions = [tf.reduce_any(maps, 2) for maps in rows]  # (B, K)
        both = in_labels & in_predictions

        def of_contours(contours):
            return tf.stack([metric.distance(*contours) for metric in metrics])

        if may_compile():
            distances = self._of_all_pairs(of_contours, len(metrics), labels, predictions, classes, both)
        else:
            distances = self._of_present_pairs(
                of_contours, len(metrics), labels, predictions, classes, both, rows, columns
            )
        for metric, of_metric in zip(metrics, tf.unstack(distances, axis=-1), strict=True):
            metric._add_distances(of_metric, *present, metric._unmatched_distance(labels))

    def _add_distances(self, distances, in_labels, in_predictions, unmatched):
        """Counts the distances `(B, K)` of pairs of image and class that are in both maps, and the other pairs."""
        one = in_labels ^ in_predictions
        neither = ~(in_labels | in_predictions)
        counted = in_labels & in_predictions
        if self.unmatched != "skip":
            distances = tf.where(one, unmatched, distances)
            counted |= one
        if self.absent == "zero":
            counted |= neither
        sums = tf.reduce_sum(tf.where(counted, distances, tf.zeros_like(distances)), 0)
        images = tf.reduce_sum(tf.cast(counted, tf.int64), 0)
        places = tf.constant(self.measured, tf.int32)[:, None]
        add_over_replicas(self.distance_sums, tf.scatter_nd(places, sums, [self.num_labels]))
        add_over_replicas(self.image_counts, tf.scatter_nd(places, images, [self.num_labels]))

    def _unmatched_distance(self, maps):
        if self.unmatched == "inf":
            return tf.constant(float("inf"), tf.float64)
        sides = tf.cast(tf.shape(maps)[1:], tf.float64)
        return tf.norm(sides * tf.constant([self.row_spacing, self.column_spacing], tf.float64))

    def _of_present_pairs(self, of_contours, count, labels, predictions, classes, both, rows, columns):
        """The `count` distances of the pairs of image and class that are in both maps, `(B, K, count)`, 0 elsewhere."""
        pairs = tf.cast(tf.where(both), tf.int32)
        # Both contours lie within the box around both masks, so that nothing outside has a say.
        boxes = [_extent(tf.gather_nd(first | second, pairs)) for first, second in (rows, columns)]

        @tf.autograph.experimental.do_not_convert
        def of_pair(pair):
            (image, index), (top, bottom), (left, right) = (tf.unstack(part) for part in pair)
            masks = [tf.equal(maps[image, top:bottom, left:right], classes[index]) for maps in (predictions, labels)]
            return of_contours(contour_distances(*masks, (self.row_spacing, self.column_spacing)))

        of_pairs = tf.map_fn(of_pair, (pairs, *boxes), fn_output_signature=tf.TensorSpec([count], tf.float64))
        return tf.scatter_nd(pairs, of_pairs, tf.concat([tf.shape(both), [count]], 0))

    def _of_all_pairs(self, of_contours, count, labels, predictions, classes, both):
        """The same with shapes that do not depend on values, as XLA wants them."""
        images, measured = tf.shape(both)[0], len(self.measured)

        @tf.autograph.experimental.do_not_convert
        def of_pair(number):
            image, index = number // measured, number % measured

            def distance():
                masks = [tf.equal(maps[image], classes[index]) for maps in (predictions, labels)]
                spacing = self.row_spacing, self.column_spacing
                return of_contours(contour_distances(*masks, spacing, everywhere=True))

            return tf.cond(both[image, index], distance, lambda: tf.zeros([count], tf.float64))

        signature = tf.TensorSpec([count], tf.float64)
        of_pairs = tf.map_fn(of_pair, tf.range(images * measured), fn_output_signature=signature)
        return tf.reshape(of_pairs, [images, measured, count])

    def values(self):
        images = tf.cast(tf.convert_to_tensor(self.image_counts), tf.float64)
        return tf.convert_to_tensor(self.distance_sums) / images  # 0 / 0 is NaN

    def mean(self, values):
        counted = ~tf.math.is_nan(values)
        total = tf.reduce_sum(tf.where(counted, values, tf.zeros_like(values)))
        return total / tf.reduce_sum(tf.cast(counted, tf.float64))

    def merge_state(self, metrics):
        """Add what other metrics of the same kind and classes have seen."""
        for other in metrics:
            if type(other) is not type(self) or other.num_labels != self.num_labels:
                raise ValueError(
                    f"merge_state takes {type(self).__name__} metrics over {self.num_labels} classes; got {other!r}"
                )
            self.distance_sums.assign_add(tf.convert_to_tensor(other.distance_sums))
            self.image_counts.assign_add(tf.convert_to_tensor(other.image_counts))

    def get_config(self):
        return {
            **super().get_config(),
            "spacing": self.spacing,
            "absent": self.absent,
            "unmatched": self.unmatched,
        }


def _check_spacing(spacing):
    pair = tuple(spacing) if isinstance(spacing, (list, tuple)) else (spacing, spacing)
    if len(pair) != 2 or not all(is_finite_number(number) and number > 0 for number in pair):
        raise ValueError(f"spacing must be a number above 0 or two, of rows and of columns; got {spacing!r}")
    return tuple(float(number) for number in pair)


def _presence(maps, classes, num_labels, axis):
    """Whether each row (`axis` 1) or column (`axis` 2) of each map has a pixel of each class, `(B, K, rows)`."""
    size = tf.shape(maps)
    images, places, bins = size[0], size[axis], num_labels + 1
    # Void has a bin of its own, the last one.
    numbers = tf.range(images)[:, None, None] * bins + tf.where(maps < 0, num_labels, maps)
    place = tf.range(places)[None, :, None] if axis == 1 else tf.range(places)[None, None, :]
    counts = tf.math.unsorted_segment_sum(tf.ones_like(maps), numbers * places + place, images * bins * places)
    return tf.gather(tf.reshape(counts > 0, [images, bins, places]), classes, axis=1)


def _extent(present):
    """The first and one past the last place that is set in each line of `(N, places)`: int32 `(N, 2)`."""
    numbers = tf.cast(present, tf.int32)
    first = tf.argmax(numbers, 1, output_type=tf.int32)
    last = tf.shape(present)[1] - tf.argmax(numbers[:, ::-1], 1, output_type=tf.int32)
    return tf.stack([first, last], 1)

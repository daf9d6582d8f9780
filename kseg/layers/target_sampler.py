"""Which boxes a detector learns from, and what it learns of each."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers import _boxes


@keras.saving.register_keras_serializable(package="kseg")
class TargetSampler(keras.layers.Layer):
    """Matches boxes with the objects of their images and draws a fixed number of them, positive and negative.

    A box whose largest IoU with an object is at least `positive_iou` belongs to that object; one with a largest IoU
    below `negative_iou` is background; those between are not used. Of the positive ones at most
    `positive_fraction * num_samples` are drawn at random, the rest is filled with negative ones.

    Crowd regions are no objects. A negative box of which more than `crowd_overlap` lies in one is not used.

    Source: Ren et al. 2015, "Faster R-CNN", https://arxiv.org/abs/1506.01497; numbers and ties as in torchvision.

    Args:
        num_samples: `S`, how many boxes are drawn from each image: 256 anchors or 512 proposals in the published
            network.
        positive_fraction: 0 to 1; 0.5 and 0.25.
        positive_iou: 0.7 and 0.5.
        negative_iou: 0.3 and 0.5.
        low_quality_matches: whether the boxes that overlap an object most, ties included, are positive though their IoU
            be below `positive_iou`, if they overlap it at all. Each belongs to the object that it overlaps most. True
            for anchors.
        add_objects: whether the objects are boxes to draw from, too. True for proposals.
        crowd_overlap: share of a box's area, 0 to 1.
        box_weights: by what `deltas` are multiplied: of x, y, w and h. (1, 1, 1, 1) and (10, 10, 5, 5).
        seed: int, or None for Keras's global seed.
        **kwargs: `name`, `dtype`. Boxes are float32 under every policy.

    Call arguments:
        boxes: float32 `(B, P, 4)`, or `(P, 4)` if they are those of every image.
        targets: a dict of `boxes`, float32 `(B, N, 4)`, `classes`, int `(B, N)`, of which -1 marks padding, and, where
            some are crowd regions, `crowd`, bool `(B, N)`.
        num_valid: int `(B,)`: how many boxes at the front are not padding; None for all.

    Returns:
        A dict of what was drawn, positive ones first, then negative ones, then padding where there were too few:

        - `indices`, int32 `(B, S)`: into the boxes, or beyond their number for an object; 0 for padding;
        - `boxes`, float32 `(B, S, 4)`: those that `indices` names;
        - `positive` and `valid`, bool `(B, S)`: whether it belongs to an object; whether it is no padding;
        - `matches`, int32 `(B, S)`: the object, 0 where there is none;
        - `classes`, int32 `(B, S)`: of the object, -1 where there is none;
        - `deltas`, float32 `(B, S, 4)`: what brings the box to the object, zeros where there is none.

    Raises:
        ValueError: an argument outside its range; targets without boxes or classes.

    Example:
        >>> sampler = TargetSampler(4, positive_fraction=0.5, positive_iou=0.5, negative_iou=0.5)
        >>> boxes = np.array([[[0, 0, 10, 10], [20, 0, 30, 10]]], "float32")
        >>> drawn = sampler(boxes, {"boxes": np.array([[[0, 0, 10, 8]]], "float32"), "classes": np.array([[2]])})
        >>> drawn["classes"].numpy().tolist(), drawn["valid"].numpy().tolist()
        ([[2, -1, -1, -1]], [[True, True, False, False]])
    """

    def __init__(
        self,
        num_samples,
        positive_fraction=0.5,
        positive_iou=0.7,
        negative_iou=0.3,
        low_quality_matches=False,
        add_objects=False,
        crowd_overlap=0.0,
        box_weights=(1.0, 1.0, 1.0, 1.0),
        seed=None,
        **kwargs,
    ):
        super().__init__(**{**kwargs, "autocast": False})
        _boxes.check_count("num_samples", num_samples)
        shares = {
            "positive_fraction": positive_fraction,
            "positive_iou": positive_iou,
            "negative_iou": negative_iou,
            "crowd_overlap": crowd_overlap,
        }
        for name, value in shares.items():
            _boxes.check_share(name, value)
        if negative_iou > positive_iou:
            raise ValueError(f"negative_iou must not be above positive_iou, {positive_iou}; got {negative_iou}")
        _boxes.check_weights(box_weights)
        self.num_samples = num_samples
        self.positive_fraction = positive_fraction
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou
        self.low_quality_matches = low_quality_matches
        self.add_objects = add_objects
        self.crowd_overlap = crowd_overlap
        self.box_weights = box_weights
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def max_positives(self):
        """How many of the samples can be positive."""
        return int(self.num_samples * self.positive_fraction)

    def call(self, boxes, targets, num_valid=None):
        boxes = tf.stop_gradient(_boxes.as_float32(boxes))
        objects, classes, crowd = _parts(targets)
        images = tf.shape(objects)[0]
        if boxes.shape.rank == 2:
            boxes = boxes[None]
        count = tf.shape(boxes)[1]
        usable = tf.ones([1, count], tf.bool)
        if num_valid is not None:
            usable = tf.range(count) < tf.cast(num_valid, tf.int32)[:, None]
        is_object = (classes >= 0) & ~crowd
        if self.add_objects:
            boxes = tf.concat([tf.broadcast_to(boxes, [images, count, 4]), objects], axis=1)
            usable = tf.concat([tf.broadcast_to(usable, [images, count]), is_object], axis=1)
        positive, negative, matches = self._match(boxes, objects, is_object, crowd & (classes >= 0))
        drawn = self._draw(positive & usable, negative & usable)
        return self._samples(*drawn, boxes, matches, objects, classes)

    def _match(self, boxes, objects, is_object, is_crowd):
        """Which boxes `(B or 1, P, 4)` are positive and which negative, `(B, P)`, and the object of each.

        One object after the other: all pairs of a hundred objects and the anchors of a large image are a tensor of
        100 MB.
        """
        sides, area = tf.unstack(boxes, num=4, axis=-1), _boxes.areas(boxes)
        areas = _boxes.areas(objects)

        def match(index, best, matches, of_low_quality, in_crowd):
            sides_of_object = [side[:, None] for side in tf.unstack(objects[:, index], num=4, axis=-1)]
            common = _boxes.common_areas(sides_of_object, sides)
            iou = tf.math.divide_no_nan(common, areas[:, index, None] + area - common)
            iou = tf.where(is_object[:, index, None], iou, -1.0)
            if self.low_quality_matches:
                most = tf.reduce_max(iou, axis=1, keepdims=True)
                of_low_quality |= (iou == most) & (most > 0)
            in_crowd |= is_crowd[:, index, None] & (tf.math.divide_no_nan(common, area) > self.crowd_overlap)
            # Of equals the first.
            return index + 1, tf.maximum(best, iou), tf.where(iou > best, index, matches), of_low_quality, in_crowd

        shape = [tf.shape(objects)[0], tf.shape(boxes)[1]]
        nowhere = tf.zeros(shape, tf.bool)
        _, best, matches, of_low_quality, in_crowd = tf.while_loop(
            lambda index, *_: index < tf.shape(objects)[1],
            match,
            (0, tf.fill(shape, -1.0), tf.zeros(shape, tf.int32), nowhere, nowhere),
        )
        positive = (best >= max(self.positive_iou, 1e-9)) | of_low_quality
        return positive, (best < self.negative_iou) & ~positive & ~in_crowd, matches

    def _draw(self, positive, negative):
        """The indices of what is drawn, `(B, S)`, and how many of them are positive and how many valid, `(B, 1)`."""
        # One box more, which cannot be drawn, so that there are enough; a random order is that of random numbers.
        shape = tf.shape(positive)
        order = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)

        def best(allowed, most):
            keys = tf.pad(tf.where(allowed, order, -1.0), [[0, 0], [0, most]], constant_values=-1.0)
            keys, indices = tf.math.top_k(keys, most)
            return tf.minimum(indices, shape[1] - 1), tf.reduce_sum(tf.cast(keys >= 0, tf.int32), axis=1, keepdims=True)

        first, positives = best(positive, max(self.max_positives, 1))
        positives = tf.minimum(positives, self.max_positives)
        second, negatives = best(negative, self.num_samples)
        places = tf.range(self.num_samples)[None]
        first = tf.gather(first, tf.minimum(places, tf.shape(first)[1] - 1) + tf.zeros_like(positives), batch_dims=1)
        second = tf.gather(second, tf.maximum(places - positives, 0), batch_dims=1)
        valid = tf.minimum(positives + negatives, self.num_samples)
        indices = tf.where(places < positives, first, second)
        return tf.where(places < valid, indices, 0), places < positives, places < valid

    def _samples(self, indices, positive, valid, boxes, matches, objects, classes):
        images = tf.shape(indices)[0]
        boxes = tf.broadcast_to(boxes, [images, tf.shape(boxes)[1], 4])
        found = tf.where(positive, tf.gather(matches, indices, batch_dims=1), 0)
        drawn = tf.gather(boxes, indices, batch_dims=1)
        # One object more, so that there is one to gather.
        own = tf.gather(tf.pad(objects, [[0, 0], [0, 1], [0, 0]]), found, batch_dims=1)
        unit = tf.constant([0.0, 0.0, 1.0, 1.0])  # in the place of what has no logarithm
        sound = positive & _boxes.large_enough(own, 1e-6) & _boxes.large_enough(drawn, 1e-6)
        safe = [tf.where(sound[..., None], value, unit) for value in (own, drawn)]
        return {
            "indices": indices,
            "boxes": tf.where(valid[..., None], drawn, 0.0),
            "positive": positive,
            "valid": valid,
            "matches": found,
            "classes": tf.where(
                positive, tf.gather(tf.pad(classes, [[0, 0], [0, 1]], constant_values=-1), found, batch_dims=1), -1
            ),
            "deltas": _boxes.encode(*safe, _boxes.check_weights(self.box_weights)),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "num_samples": self.num_samples,
            "positive_fraction": self.positive_fraction,
            "positive_iou": self.positive_iou,
            "negative_iou": self.negative_iou,
            "low_quality_matches": self.low_quality_matches,
            "add_objects": self.add_objects,
            "crowd_overlap": self.crowd_overlap,
            "box_weights": self.box_weights,
            "seed": self.seed,
        }


def _parts(targets):
    """Boxes, classes and which are crowd regions."""
    missing = [name for name in ("boxes", "classes") if name not in targets]
    if missing:
        raise ValueError(
            f"targets must have boxes and classes; {' and '.join(missing)} missing, it has {list(targets)}"
        )
    boxes = _boxes.as_float32(targets["boxes"])
    classes = tf.cast(targets["classes"], tf.int32)
    if targets.get("crowd") is None:
        return boxes, classes, tf.zeros_like(classes, tf.bool)
    return boxes, classes, tf.cast(targets["crowd"], tf.bool)

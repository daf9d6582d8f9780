"""From the outputs of a region proposal network to a fixed number of boxes."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg.layers import _boxes
from kseg.layers.native_layer import NativeLayer
from kseg_ops._pyramid import as_pyramid

BOX_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


@keras.saving.register_keras_serializable(package="kseg")
class ProposalLayer(NativeLayer):
    """The best regions of each image: where the second stage of a detector looks.

    On each level, the `pre_nms` anchors with the highest objectness are moved by their deltas and cut to the image.
    Boxes with a side below `min_size` are left out; of those of one level that overlap by an IoU above
    `iou_threshold`, the best remains; the best of all levels are the proposals.

    Source: Ren et al. 2015, "Faster R-CNN", https://arxiv.org/abs/1506.01497, by level as in torchvision.

    Args:
        pre_nms: how many anchors of a level take part, at inference.
        post_nms: how many proposals an image has, at inference.
        training_pre_nms: likewise in training.
        training_post_nms: likewise in training.
        iou_threshold: 0 to 1.
        min_size: in pixels.
        score_threshold: probabilities below it do not take part.
        **kwargs: `name`, `dtype`. Boxes and scores are float32 under every policy.

    Call arguments:
        inputs: a dict of `anchors` (what `AnchorGenerator` gives, `{"P2": (h * w * A, 4), ...}`), `objectness` and
            `deltas` (what `RPNHead` gives) and `sizes`, int `(B, 2)`: heights and widths of the images.
        training: which of the numbers count.

    Returns:
        A dict of `boxes`, float32 `(B, post_nms, 4)`, `scores`, float32 `(B, post_nms)`, probabilities in falling
        order, and `num_valid`, int32 `(B,)`: how many there are; the rest are zeros. No gradient passes through.

    Raises:
        ValueError: an argument outside its range; levels that differ.

    Example:
        >>> proposals = ProposalLayer(post_nms=300)(
        ...     {"anchors": anchors, "objectness": objectness, "deltas": deltas, "sizes": np.array([[480, 640]])}
        ... )
    """

    native_ops = ("batched_nms",)

    def __init__(
        self,
        pre_nms=1000,
        post_nms=1000,
        training_pre_nms=2000,
        training_post_nms=2000,
        iou_threshold=0.7,
        min_size=1e-3,
        score_threshold=0.0,
        **kwargs,
    ):
        super().__init__(**{**kwargs, "autocast": False})
        counts = {
            "pre_nms": pre_nms,
            "post_nms": post_nms,
            "training_pre_nms": training_pre_nms,
            "training_post_nms": training_post_nms,
        }
        for name, count in counts.items():
            _boxes.check_count(name, count)
        _boxes.check_share("iou_threshold", iou_threshold)
        _boxes.check_share("score_threshold", score_threshold)
        self.pre_nms = pre_nms
        self.post_nms = post_nms
        self.training_pre_nms = training_pre_nms
        self.training_post_nms = training_post_nms
        self.iou_threshold = iou_threshold
        self.min_size = min_size
        self.score_threshold = score_threshold

    def call(self, inputs, training=None):
        anchors, objectness, deltas = (as_pyramid(inputs[name]) for name in ("anchors", "objectness", "deltas"))
        if not list(anchors) == list(objectness) == list(deltas):
            raise ValueError(
                "anchors, objectness and deltas must have the same levels; got "
                f"{list(inputs['anchors'])}, {list(inputs['objectness'])} and {list(inputs['deltas'])}"
            )
        most = self.training_pre_nms if training else self.pre_nms
        boxes, scores, levels = [], [], []
        for number in anchors:
            best, logits = _best(anchors[number], objectness[number], deltas[number], most)
            boxes.append(best)
            scores.append(logits)
            levels.append(tf.fill(tf.shape(logits), number))
        boxes = _boxes.clip(tf.concat(boxes, axis=1), tf.convert_to_tensor(inputs["sizes"]))
        scores = tf.sigmoid(tf.concat(scores, axis=1))
        usable = _boxes.large_enough(boxes, self.min_size) & (scores >= self.score_threshold)
        found = kseg_ops.batched_nms(
            boxes,
            scores,
            self.iou_threshold,
            max_output_size=self.training_post_nms if training else self.post_nms,
            class_ids=tf.where(usable, tf.concat(levels, axis=1), -1),
        )
        return {"boxes": found.boxes, "scores": found.scores, "num_valid": found.num_valid}

    def get_config(self):
        return {
            **super().get_config(),
            "pre_nms": self.pre_nms,
            "post_nms": self.post_nms,
            "training_pre_nms": self.training_pre_nms,
            "training_post_nms": self.training_post_nms,
            "iou_threshold": self.iou_threshold,
            "min_size": self.min_size,
            "score_threshold": self.score_threshold,
        }


def _best(anchors, objectness, deltas, most):
    """The decoded boxes `(B, K, 4)` of a level with the highest logits, and these."""
    anchors = _boxes.as_float32(anchors)
    count = tf.shape(anchors)[0] if anchors.shape[0] is None else int(anchors.shape[0])
    images = tf.shape(objectness)[0]
    logits = tf.stop_gradient(tf.reshape(tf.cast(objectness, tf.float32), [images, count]))
    deltas = tf.stop_gradient(tf.reshape(tf.cast(deltas, tf.float32), [images, count, 4]))
    kept = min(most, count) if isinstance(count, int) else tf.minimum(most, count)
    logits, indices = tf.math.top_k(logits, kept)
    deltas = tf.gather(deltas, indices, batch_dims=1)
    return _boxes.decode(deltas, tf.gather(anchors, indices), BOX_WEIGHTS), logits

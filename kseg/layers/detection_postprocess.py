"""From the outputs of a box head to detections."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

import kseg_ops
from kseg.layers import _boxes
from kseg.layers.native_layer import NativeLayer


@keras.saving.register_keras_serializable(package="kseg")
class DetectionPostprocess(NativeLayer):
    """The objects of each image, as tensors of a fixed size.

    Every pair of a proposal and a class is a candidate: the proposal, moved by the deltas of the class and cut to the
    image, with the softmax probability of the class. Candidates need a probability above `score_threshold` and sides
    of at least `min_size`; of those of one class that overlap by an IoU above `iou_threshold` the best remains, and of
    all classes the best `max_detections`.

    Source: Girshick 2015, "Fast R-CNN", https://arxiv.org/abs/1504.08083, in torchvision's form.

    Args:
        score_threshold: 0 to 1.
        iou_threshold: 0 to 1.
        max_detections: `D`, how many places an image has.
        min_size: in pixels.
        box_weights: by what the deltas are multiplied in training: of x, y, w and h.
        **kwargs: `name`, `dtype`. Everything is float32 under every policy.

    Call arguments:
        inputs: a dict of `logits`, `(B, P, 1 + classes)`, the background first, `deltas`, `(B, P, 1 + classes, 4)`,
            `proposals`, float32 `(B, P, 4)`, `sizes`, int `(B, 2)`, heights and widths of the images, and, where some
            proposals are padding, `num_valid`, int `(B,)`: how many at the front are not.

    Returns:
        A dict of `boxes`, float32 `(B, D, 4)`, `scores`, float32 `(B, D)`, in falling order, and `classes`, int32
        `(B, D)`, the first one after the background being 0. Free places hold zeros, and -1 for the class. No gradient
        passes through.

    Raises:
        ValueError: an argument outside its range; inputs that do not fit together.

    Example:
        >>> regions = {
        ...     "logits": np.array([[[0.0, 3.0]]]),
        ...     "deltas": np.zeros((1, 1, 2, 4)),
        ...     "proposals": np.array([[[1.0, 1.0, 5.0, 9.0]]], "float32"),
        ...     "sizes": np.array([[8, 8]]),
        ... }
        >>> found = DetectionPostprocess(max_detections=2)(regions)
        >>> found["boxes"].numpy().tolist(), found["classes"].numpy().tolist()
        ([[[1.0, 1.0, 5.0, 8.0], [0.0, 0.0, 0.0, 0.0]]], [[0, -1]])
    """

    native_ops = ("batched_nms",)

    def __init__(
        self,
        score_threshold=0.05,
        iou_threshold=0.5,
        max_detections=100,
        min_size=1e-2,
        box_weights=(10.0, 10.0, 5.0, 5.0),
        **kwargs,
    ):
        super().__init__(**{**kwargs, "autocast": False})
        _boxes.check_share("score_threshold", score_threshold)
        _boxes.check_share("iou_threshold", iou_threshold)
        _boxes.check_count("max_detections", max_detections)
        _boxes.check_weights(box_weights)
        self.score_threshold = score_threshold
        self.iou_threshold = iou_threshold
        self.max_detections = max_detections
        self.min_size = min_size
        self.box_weights = box_weights

    def call(self, inputs):
        logits, deltas = (tf.cast(inputs[name], tf.float32) for name in ("logits", "deltas"))
        proposals = _boxes.as_float32(inputs["proposals"])
        if logits.shape.rank != 3 or not deltas.shape.is_compatible_with([*logits.shape, 4]):
            raise ValueError(
                "logits must be (B, P, 1 + classes) and deltas (B, P, 1 + classes, 4); got "
                f"{logits.shape} and {deltas.shape}"
            )
        boxes = _boxes.decode(deltas[:, :, 1:], proposals[:, :, None], _boxes.check_weights(self.box_weights))
        boxes = _boxes.clip(boxes, tf.convert_to_tensor(inputs["sizes"]))
        scores = tf.nn.softmax(logits)[:, :, 1:]
        usable = _boxes.large_enough(boxes, self.min_size)
        if inputs.get("num_valid") is not None:
            places = tf.range(tf.shape(logits)[1])
            usable &= (places < tf.cast(inputs["num_valid"], tf.int32)[:, None])[:, :, None]
        found = kseg_ops.batched_nms(
            boxes,
            tf.where(usable, scores, -math.inf),
            self.iou_threshold,
            self.score_threshold,
            max_output_size=self.max_detections,
        )
        return {"boxes": found.boxes, "scores": found.scores, "classes": found.classes}

    def get_config(self):
        return {
            **super().get_config(),
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
            "max_detections": self.max_detections,
            "min_size": self.min_size,
            "box_weights": self.box_weights,
        }

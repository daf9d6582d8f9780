"""Suppression of overlapping boxes, as the last step of a detector."""

from __future__ import annotations

import keras

from kseg.layers.native_layer import NativeLayer
from kseg_ops import batched_nms
from kseg_ops._nms_arguments import as_batched_options


@keras.saving.register_keras_serializable(package="kseg")
class NonMaxSuppression(NativeLayer):
    """Keeps the best boxes of each image: `kseg_ops.batched_nms` as a layer, whose docstring has the semantics in full.

    Args:
        iou_threshold: 0 to 1. With `"hard"` boxes whose IoU with a better one of their class is above it are dropped,
            with `"linear"` their scores are lowered.
        score_threshold: what scores must be above; None for no threshold.
        max_output_size: `M`, how many places each image has.
        max_per_class: how many of one class are kept at most; None for any number.
        kind: `"hard"`, `"linear"` or `"gaussian"` (Soft-NMS, Bodla et al. 2017) or `"matrix"` (Wang et al. 2020).
        sigma: of the Gaussian functions.
        matrix_kernel: `"gaussian"` or `"linear"`.
        class_agnostic: whether boxes of different classes suppress each other.
        **kwargs: `name`, `dtype`. Whatever the precision policy, boxes and scores are taken as they come and the
            result is float32: bfloat16 would round a coordinate of 1003.3 to 1004.

    Call arguments:
        inputs: a list `[boxes, scores]` or `[boxes, scores, class_ids]`: boxes `[B, N, 4]` (`x1, y1, x2, y2` in
            pixels) or `[B, N, C, 4]`, scores `[B, N, C]` or `[B, N]`, the latter with integer `class_ids` `[B, N]`, of
            which -1 marks padding, or without, for one class.

    Returns:
        A dictionary of `boxes` float32 `[B, M, 4]`, `scores` float32 `[B, M]`, `classes` and `indices` int32 `[B, M]`
        and `num_valid` int32 `[B]`, best first. Free places hold zeros, and -1 in `classes` and `indices`.

    No gradient passes through the layer.

    Raises:
        TypeError: 16-bit boxes, or an argument that is not a number of its kind.
        ValueError: inputs that are not two or three tensors of fitting shapes, or an argument out of range.

    Example:
        >>> boxes = np.array([[[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]]], "float32")
        >>> found = NonMaxSuppression(max_output_size=2)([boxes, np.array([[0.8, 0.9, 0.1]], "float32")])
        >>> found["indices"].numpy().tolist()
        [[1, 2]]
    """

    native_ops = ("batched_nms",)

    def __init__(
        self,
        iou_threshold=0.5,
        score_threshold=None,
        max_output_size=100,
        max_per_class=None,
        kind="hard",
        sigma=0.5,
        matrix_kernel="gaussian",
        class_agnostic=False,
        **kwargs,
    ):
        super().__init__(**{**kwargs, "autocast": False})
        self.iou_threshold = iou_threshold
        self.score_threshold = score_threshold
        self.max_output_size = max_output_size
        self.max_per_class = max_per_class
        self.kind = kind
        self.sigma = sigma
        self.matrix_kernel = matrix_kernel
        self.class_agnostic = class_agnostic
        as_batched_options(**self._options())

    def call(self, inputs):
        boxes, scores, class_ids = _split(inputs)
        found = batched_nms(boxes, scores, class_ids=class_ids, **self._options())
        return found._asdict()

    def compute_output_shape(self, input_shape):
        boxes, _, _ = _split(input_shape)
        images = boxes[0]
        places = (images, self.max_output_size)
        return {
            "boxes": (*places, 4),
            "scores": places,
            "classes": places,
            "indices": places,
            "num_valid": (images,),
        }

    def compute_output_spec(self, inputs):
        shapes = self.compute_output_shape([tuple(tensor.shape) for tensor in inputs])
        floats = ("boxes", "scores")
        return {
            name: keras.KerasTensor(shape, "float32" if name in floats else "int32") for name, shape in shapes.items()
        }

    def get_config(self):
        return {**super().get_config(), **self._options()}

    def _options(self):
        return {
            "iou_threshold": self.iou_threshold,
            "score_threshold": self.score_threshold,
            "max_output_size": self.max_output_size,
            "max_per_class": self.max_per_class,
            "kind": self.kind,
            "sigma": self.sigma,
            "matrix_kernel": self.matrix_kernel,
            "class_agnostic": self.class_agnostic,
        }


def _split(inputs):
    if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
        raise ValueError(
            f"inputs must be [boxes, scores] or [boxes, scores, class_ids], got {type(inputs).__name__} of "
            f"{len(inputs) if isinstance(inputs, (list, tuple)) else 'something else'}"
        )
    return (*inputs, None) if len(inputs) == 2 else tuple(inputs)

"""A small call of every compiled op: for comparing what XLA makes of it with the ordinary graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from kseg_ops import _library

FLOATS = ("float32", "float16", "bfloat16")
ALL_FLOATS = (*FLOATS, "float64")
LABELS = ("uint8", "int8", "uint16", "int32", "int64")
MASKS = ("bool", "uint8", "int8")


def op_type(op: str) -> str:
    """`"RoiAlign"` of `"roi_align"`."""
    return "".join(word.capitalize() for word in op.split("_"))


@dataclass(frozen=True)
class Call:
    """One op on inputs of one type.

    Attributes:
        op: In snake case, as `_library.native_op` takes it.
        dtypes: What the op's type attribute may be.
        inputs: From a random generator and the dtype to the inputs in order; a list is one input of several tensors.
        fixed: Names of inputs that are constants of the graph, because shapes depend on their values.
        attributes: The op's.
        bad: Changes to the inputs that the op refuses: name to value.
        message: Part of what it says then.
    """

    op: str
    dtypes: tuple[str, ...]
    inputs: Callable[[np.random.Generator, tf.DType], dict[str, Any]]
    fixed: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    bad: dict[str, Any] = field(default_factory=dict)
    message: str = ""

    def tensors(self, dtype: str, seed: int = 0) -> dict[str, Any]:
        return self.inputs(np.random.default_rng(seed), tf.as_dtype(dtype))

    @property
    def op_type(self) -> str:
        return op_type(self.op)

    def results(self, tensors: dict[str, Any], jit: bool) -> list[np.ndarray]:
        """What a graph gives that XLA compiles, or not."""
        fixed = {name: tensors[name] for name in self.fixed}

        @tf.function(jit_compile=jit, autograph=False)
        def graph(given):
            flat = tf.nest.flatten(_library.native_op(self.op)(**given, **fixed, **self.attributes))
            return [tf.identity(one) for one in flat]

        return [one.numpy() for one in graph({name: value for name, value in tensors.items() if name not in fixed})]


def _normal(rng, dtype, *shape):
    return tf.cast(tf.constant(rng.standard_normal(shape)), dtype)


def _floats(rng, *shape):
    return tf.constant(rng.standard_normal(shape), tf.float32)


def _integers(rng, dtype, end, *shape):
    return tf.cast(tf.constant(rng.integers(0, end, shape)), dtype)


def _boxes(rng, size, *shape):
    corners = rng.uniform(0, size, (*shape, 2, 2))
    return tf.constant(np.sort(corners, axis=-2).reshape(*shape, 4), tf.float32)


def _roi_inputs(rng, dtype):
    return {
        "features": _normal(rng, dtype, 2, 7, 9, 5),
        "boxes": _boxes(rng, 40, 6),
        "box_indices": _integers(rng, tf.int32, 2, 6),
    }


def _roi_grad_inputs(rng, dtype):
    inputs = _roi_inputs(rng, dtype)
    inputs["output_gradient"] = _normal(rng, dtype, 6, 3, 2, 5)
    del inputs["features"]
    return inputs | {"features_shape": tf.constant([2, 7, 9, 5])}


NO_IMAGE = {"box_indices": tf.constant([0, 1, 9, 0, 0, 0])}
ROI = {"output_size": [3, 2], "spatial_scale": 0.25, "sampling_ratio": 0, "aligned": True}
LEVELS = {
    "output_size": [3, 2],
    "spatial_scales": [0.25, 0.125],
    "level_areas": [400.0],
    "sampling_ratio": 2,
    "aligned": False,
}


def _level_inputs(rng, dtype):
    return {
        "features": [_normal(rng, dtype, 2, 10, 12, 5), _normal(rng, dtype, 2, 5, 6, 5)],
        "boxes": _boxes(rng, 40, 2, 6),
    }


def _level_grad_inputs(rng, dtype):
    return {
        "output_gradient": _normal(rng, dtype, 2, 6, 3, 2, 5),
        "boxes": _boxes(rng, 40, 2, 6),
        "features_shapes": [tf.constant([2, 10, 12, 5]), tf.constant([2, 5, 6, 5])],
    }


def _resize_inputs(labels, *more):
    def inputs(rng, dtype):
        logits = tf.float32 if labels is None else dtype
        kind = dtype if labels is None else labels
        tensors = {"labels": _integers(rng, kind, 3, 2, 12, 16), "logits": _normal(rng, logits, 2, 3, 4, 3)}
        for name in more:
            shape = {"sums_gradient": (2, 3, 3), "unit_gradient": (2, 3, 4, 3)}.get(name, (2, 12, 16))
            tensors[name] = tf.abs(_floats(rng, *shape))
        return tensors

    return inputs


SOFTMAX = {"class_weights": [1.0, 0.5, 2.0], "label_smoothing": 0.1, "ignore_index": 255}
NO_CLASS = tf.fill([2, 12, 16], 77)


def _softmax(name, *more, dtypes=FLOATS):
    return Call(
        f"resize_softmax_cross_entropy{name}",
        dtypes,
        _resize_inputs(tf.int32, *more),
        attributes=SOFTMAX,
        bad={"labels": NO_CLASS},
        message="77",
    )


def _separable_inputs(rng, dtype):
    return {
        "x": _normal(rng, dtype, 2, 8, 9, 6),
        "depthwise": _normal(rng, dtype, 3, 3, 6, 1),
        "pointwise": _normal(rng, dtype, 1, 1, 6, 8),
        "depthwise_scale": _floats(rng, 6),
        "depthwise_offset": _floats(rng, 6),
        "scale": _floats(rng, 8),
        "offset": _floats(rng, 0),
    }


def _depthwise_inputs(rng, dtype, gradient=False):
    tensors = {"x": _normal(rng, dtype, 2, 8, 9, 6), "filters": _normal(rng, dtype, 3, 3, 6, 2)}
    return tensors | ({"output_gradient": _normal(rng, dtype, 2, 8, 9, 12)} if gradient else {})


SAME = {"rate": [2, 3], "padding": "same"}


def _depthwise_grad_inputs(rng, dtype):
    return _depthwise_inputs(rng, dtype, gradient=True)


def _aspp_inputs(rng, dtype):
    vectors = [_floats(rng, 4), _floats(rng, 4)]
    return {
        "x": _normal(rng, dtype, 2, 6, 7, 8),
        "branch_filters": [_normal(rng, dtype, 1, 1, 8, 4), _normal(rng, dtype, 1, 1, 8, 4)],
        "branch_scales": vectors,
        "branch_offsets": vectors,
        "depthwise": [_normal(rng, dtype, 3, 3, 8, 1)],
        "depthwise_scales": [_floats(rng, 8)],
        "depthwise_offsets": [_floats(rng, 8)],
        "pooling_filters": [_normal(rng, dtype, 1, 1, 8, 4)],
        "pooling_scales": vectors[:1],
        "pooling_offsets": vectors[1:],
        "projection": _normal(rng, dtype, 1, 1, 12, 5),
        "projection_scale": _floats(rng, 5),
        "projection_offset": _floats(rng, 5),
    }


ASPP = {
    "rates": [1, 1, 2, 3],
    "separable": [False, True],
    "activations": ["relu", "relu"],
    "depthwise_activations": ["relu"],
    "pooling_activation": "relu",
    "projection_activation": "relu",
}


def _pool_inputs(rng, dtype):
    return {"x": _normal(rng, dtype, 2, 8, 10, 5)}


def _pool_indices(rng):
    x = _normal(rng, tf.float32, 2, 8, 10, 5)
    return _library.native_op("max_pool_with_indices")(x=x, pool_size=[2, 2], strides=[2, 2], padding="valid")[1]


def _pool_grad_inputs(rng, dtype):
    return {
        "y_gradient": _normal(rng, dtype, 2, 4, 5, 5),
        "indices": _pool_indices(rng),
        "x_shape": tf.constant([2, 8, 10, 5], tf.int64),
    }


NO_PLACE = {"indices": tf.fill([2, 4, 5, 5], 99)}
POOL = {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}


def _unpool_inputs(rng, dtype):
    return {
        "y": _normal(rng, dtype, 2, 4, 5, 5),
        "indices": _pool_indices(rng),
        "output_size": tf.constant([8, 10]),
    }


def _unpool_grad_inputs(rng, dtype):
    return {"x_gradient": _normal(rng, dtype, 2, 8, 10, 5), "indices": _pool_indices(rng)}


def _nms_inputs(rng, dtype):
    del dtype
    return {
        "boxes": _boxes(rng, 20, 2, 30, 3),
        "scores": tf.constant(rng.uniform(size=(2, 30, 3)), tf.float32),
        "class_ids": tf.zeros([0, 0], tf.int32),
    }


NMS = {"iou_threshold": 0.4, "score_threshold": float("-inf"), "max_output_size": 10}


def _binary(rng, dtype, *shape):
    return tf.cast(tf.constant(rng.integers(0, 2, shape)), dtype)


def _mask_iou_inputs(rng, dtype):
    return {
        "a": _binary(rng, dtype, 3, 9, 11),
        "b": _binary(rng, dtype, 4, 9, 11),
        "is_crowd": tf.constant([False, True, False, False]),
        "boxes_a": tf.zeros([0, 4]),
        "boxes_b": tf.zeros([0, 4]),
    }


def _mask_nms_inputs(rng, dtype):
    return {
        "masks": _binary(rng, dtype, 2, 5, 9, 11),
        "scores": tf.constant(rng.uniform(size=(2, 5)), tf.float32),
        "class_ids": _integers(rng, tf.int32, 2, 2, 5),
        "boxes": tf.zeros([0, 0, 4]),
    }


def _paste_inputs(rng, dtype):
    return {
        "masks": tf.cast(tf.constant(rng.uniform(size=(3, 7, 7))), dtype),
        "boxes": _boxes(rng, 20, 3),
        "image_size": tf.constant([19, 21]),
    }


def _crop_boxes(rng):
    return {
        "boxes": _boxes(rng, 20, 5),
        "mask_indices": tf.constant([0, 1, -1, 1, 0]),
        "image_size": tf.constant([19, 21]),
    }


def _crop_inputs(rng, dtype):
    return {"masks": _binary(rng, dtype, 2, 19, 21), **_crop_boxes(rng)}


def _crop_rle_inputs(rng, dtype):
    return {
        "counts": tf.constant([5, 30, 19 * 21 - 35, 100, 19 * 21 - 100], dtype),
        "mask_splits": tf.constant([0, 3, 5], tf.int64),
        **_crop_boxes(rng),
    }


def _crop_polygon_inputs(rng, dtype):
    return {
        "coordinates": tf.cast(tf.constant(rng.uniform(0, 19, 20)), dtype),
        "polygon_splits": tf.constant([0, 8, 20], tf.int64),
        "mask_splits": tf.constant([0, 1, 2], tf.int64),
        **_crop_boxes(rng),
    }


CROP = {"size": [4, 5], "sampling_ratio": 0, "aligned": False}
NO_MASK = tf.constant([0, 1, 9, 1, 0])


def _confusion_inputs(rng, dtype):
    shape = (2, 5, 6, 4) if dtype.is_floating else (2, 5, 6)
    predictions = _normal(rng, dtype, *shape) if dtype.is_floating else _integers(rng, dtype, 4, *shape)
    return {"labels": _integers(rng, tf.int32, 4, 2, 5, 6), "predictions": predictions}


CALLS = [
    Call("roi_align", ALL_FLOATS, _roi_inputs, (), ROI, NO_IMAGE, "9"),
    Call("roi_align_grad", ALL_FLOATS, _roi_grad_inputs, ("features_shape",), ROI, NO_IMAGE, "9"),
    Call("multilevel_roi_align", ALL_FLOATS, _level_inputs, (), LEVELS),
    Call("multilevel_roi_align_grad", ALL_FLOATS, _level_grad_inputs, ("features_shapes",), LEVELS),
    _softmax(""),
    _softmax("_grad", "loss_gradient"),
    _softmax("_training", dtypes=("float32",)),
    _softmax("_training_grad", "unit_gradient", "loss_gradient", dtypes=("float32",)),
    _softmax("_and_dice", "pixel_weights"),
    _softmax("_and_dice_grad", "pixel_weights", "loss_gradient", "sums_gradient"),
    Call("resize_softmax_cross_entropy", LABELS, _resize_inputs(None), attributes={"align_corners": True}),
    Call(
        "resize_argmax",
        ALL_FLOATS,
        lambda rng, dtype: {"logits": _normal(rng, dtype, 2, 4, 5, 6), "size": tf.constant([13, 17])},
        ("size",),
        {"align_corners": True},
    ),
    Call(
        "confusion_matrix",
        (*ALL_FLOATS, *LABELS),
        _confusion_inputs,
        attributes={"num_classes": 4},
        bad={"labels": tf.fill([2, 5, 6], 77)},
        message="77",
    ),
    Call(
        "atrous_separable_conv2d",
        FLOATS,
        _separable_inputs,
        attributes={"rate": [2, 3], "padding": "same", "depthwise_activation": "relu", "activation": ""},
    ),
    Call("depthwise_atrous_conv2d", FLOATS, _depthwise_inputs, attributes=SAME),
    Call("depthwise_atrous_conv2d_input_grad", FLOATS, _depthwise_grad_inputs, attributes=SAME),
    Call("depthwise_atrous_conv2d_filter_grad", FLOATS, _depthwise_grad_inputs, attributes=SAME),
    Call(
        "atrous_conv2d",
        FLOATS,
        lambda rng, dtype: {
            "x": _normal(rng, dtype, 2, 8, 9, 6),
            "filters": _normal(rng, dtype, 3, 3, 6, 5),
            "scale": _floats(rng, 5),
            "offset": _floats(rng, 5),
        },
        attributes={"rate": [2, 3], "padding": "valid", "activation": "relu"},
    ),
    Call("aspp", FLOATS, _aspp_inputs, attributes=ASPP),
    Call("max_pool_with_indices", ALL_FLOATS, _pool_inputs, attributes=POOL),
    Call("max_pool_with_indices_grad", ALL_FLOATS, _pool_grad_inputs, ("x_shape",), POOL),
    Call("max_unpool2d", ALL_FLOATS, _unpool_inputs, ("output_size",), {}, NO_PLACE, "99"),
    Call("max_unpool2d_grad", ALL_FLOATS, _unpool_grad_inputs, (), {}, NO_PLACE, "99"),
    Call("batched_nms", ("float32",), _nms_inputs, attributes=NMS),
    Call(
        "connected_components",
        MASKS,
        lambda rng, dtype: {"masks": _binary(rng, dtype, 2, 9, 11)},
        attributes={"connectivity": 4},
    ),
    Call(
        "distance_transform",
        MASKS,
        lambda rng, dtype: {"masks": _binary(rng, dtype, 2, 9, 11), "sampling": tf.constant([1.0, 2.5], tf.float64)},
        attributes={"signed": True, "return_indices": True},
        bad={"sampling": tf.constant([1.0, -2.5], tf.float64)},
        message="-2.5",
    ),
    Call("mask_iou", ("bool", "uint8"), _mask_iou_inputs),
    Call("mask_nms", ("bool", "uint8"), _mask_nms_inputs, attributes={"max_output_size": 3, "kind": "matrix"}),
    Call("paste_masks", FLOATS, _paste_inputs, ("image_size",), {"packed": True}),
    Call("crop_masks", ("uint8",), _crop_inputs, (), CROP, {"mask_indices": NO_MASK}, "9"),
    Call("crop_masks_rle", ("int32",), _crop_rle_inputs, (), CROP, {"mask_indices": NO_MASK}, "9"),
    Call("crop_masks_polygon", ("float32", "float64"), _crop_polygon_inputs, (), CROP, {"mask_indices": NO_MASK}, "9"),
]
# The numbers of their results depend on values, for which XLA has no place.
WITHOUT = ("nms", "paste_masks_rle")

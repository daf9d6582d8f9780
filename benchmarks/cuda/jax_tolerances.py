"""How far a GPU's result of a call of `tests.helpers.xla_cases` may be from the CPU's: by the bounds of the op's cases.

Those bounds are for inputs within -1..1. Where an op is linear in an input, they grow with the largest magnitude in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cuda.ops import (
    aspp,
    atrous_conv2d,
    atrous_separable_conv2d,
    crop_masks,
    depthwise_atrous_conv2d,
    max_pool_with_indices,
    roi_align,
)
from benchmarks.cuda.ops import resize_softmax_cross_entropy as softmax

Bound = float | np.ndarray
Inputs = dict[str, Any]


def tolerances(call: Any, dtype: str, inputs: Inputs, results: list[np.ndarray]) -> list[Bound]:
    """One bound for each result; 0 asks for equality.

    Args:
        call: of `tests.helpers.xla_cases`.
        dtype: what its type attribute is.
        inputs: as `call.tensors` gives them, with halves as float32.
        results: what comes of them.
    """
    if call.op not in _BOUNDS:
        return [0.0] * len(results)
    bounds = _BOUNDS[call.op](call, dtype, inputs)
    if len(bounds) != len(results):
        raise ValueError(f"{call.op} has {len(results)} results, but bounds for {len(bounds)}")
    return bounds


def _largest(*tensors: Any) -> float:
    return max(float(np.abs(np.asarray(one)).max(initial=0)) for one in tensors)


def _arrays(inputs: Inputs, *names: str) -> list[np.ndarray]:
    return [np.asarray(inputs[name]) for name in names]


def _roi_align(call: Any, dtype: str, inputs: Inputs) -> list[Bound]:
    del dtype
    maps = inputs["features"] if isinstance(inputs["features"], list) else [inputs["features"]]
    pixels = max(one.shape[1] * one.shape[2] for one in maps)
    return [roi_align.rounding(call.attributes["sampling_ratio"], pixels) * _largest(*maps)]


def _roi_align_grad(call: Any, dtype: str, inputs: Inputs) -> list[Bound]:
    import tensorflow as tf

    del dtype
    upstream = inputs["output_gradient"]
    units = call.results(inputs | {"output_gradient": tf.ones_like(upstream)}, jit=False)
    bins = int(np.prod(inputs["boxes"].shape[:-1])) * upstream.shape[-3] * upstream.shape[-2]
    return [roi_align.grad_rounding(bins, unit) * _largest(upstream) for unit in units]


def _aspp(call: Any, dtype: str, inputs: Inputs) -> list[Bound]:
    def layers(filters: str, scales: str, offsets: str, rates: list[tuple[int, int]]) -> list[aspp.Layer]:
        parts = [[np.asarray(one) for one in inputs[name]] for name in (filters, scales, offsets)]
        return [aspp.Layer(*arrays, aspp.LINEAR, rate) for *arrays, rate in zip(*parts, rates, strict=True)]

    rows, columns = call.attributes["rates"][::2], call.attributes["rates"][1::2]
    rates = list(zip(rows, columns, strict=True))
    separable = call.attributes["separable"]
    wide = [rate for rate, two in zip(rates, separable, strict=True) if two]
    first = iter(layers("depthwise", "depthwise_scales", "depthwise_offsets", wide))
    last = layers("branch_filters", "branch_scales", "branch_offsets", rates)
    branches = [
        [next(first), dataclasses.replace(layer, rate=(1, 1))] if two else [layer]
        for layer, two in zip(last, separable, strict=True)
    ]
    pooling = layers("pooling_filters", "pooling_scales", "pooling_offsets", [(1, 1)])
    projection = aspp.Layer(*_arrays(inputs, "projection", "projection_scale", "projection_offset"), aspp.LINEAR)
    return [aspp.rounding(np.asarray(inputs["x"]), aspp.Block(branches, pooling, projection), dtype)]


def _atrous(call: Any, dtype: str, inputs: Inputs) -> list[Bound]:
    del dtype
    arrays = _arrays(inputs, "x", "filters", "scale", "offset")
    return [atrous_conv2d.rounding(*arrays, call.attributes["rate"], call.attributes["padding"])]


def _separable(call: Any, dtype: str, inputs: Inputs) -> list[Bound]:
    *arrays, pointwise = _arrays(inputs, "x", "depthwise", "pointwise")
    maps = _arrays(inputs, "depthwise_scale", "depthwise_offset", "scale", "offset")
    maps = [one if one.size else np.float32(i % 2 == 0) for i, one in enumerate(maps)]  # none: times 1, plus 0
    rate, padding = call.attributes["rate"], call.attributes["padding"]
    return [atrous_separable_conv2d.rounding(dtype, *arrays, pointwise, maps, rate, padding)]


def _depthwise(call: Any, dtype: str, inputs: Inputs) -> list[Bound]:
    del dtype
    suffix = call.op.removeprefix("depthwise_atrous_conv2d")
    factors = [
        inputs[name]
        for name in {"": ("x", "filters"), "_input_grad": ("output_gradient", "filters")}.get(
            suffix, ("x", "output_gradient")
        )
    ]
    kernel = inputs["filters"].shape
    output = (*inputs["x"].shape[:3], kernel[2] * kernel[3])  # padding is "same" in these calls
    bound = depthwise_atrous_conv2d.rounding((kernel[0], kernel[1], kernel[3]), output)[suffix]
    return [bound * _largest(factors[0]) * _largest(factors[1])]


def _max_pool_grad(call: Any, dtype: str, inputs: Inputs) -> list[Bound]:
    del dtype
    bound = max_pool_with_indices.grad_rounding(call.attributes["pool_size"], call.attributes["strides"])
    return [bound * _largest(inputs["y_gradient"])]


def _crop(call: Any, dtype: str, inputs: Inputs) -> list[Bound]:
    del call, dtype, inputs
    return [crop_masks.ROUNDING]


def _softmax(case: Callable[[softmax.Problem], Any], scale: Callable[[Inputs], list[float]]) -> Callable:
    """The bounds of a case of the loss, each times a number from `scale`."""

    def bounds(call: Any, dtype: str, inputs: Inputs) -> list[Bound]:
        labels, logits = _arrays(inputs, "labels", "logits")
        none = np.zeros((len(labels), 3, logits.shape[-1]), np.float32)
        problem = softmax.Problem(
            call.op,
            dtype,
            labels,
            logits,
            none,
            none,
            none,
            smoothing=call.attributes.get("label_smoothing", 0.0),
            align_corners=call.attributes.get("align_corners", False),
            class_weights=tuple(call.attributes.get("class_weights", ())),
        )
        return [bound * factor for bound, factor in zip(case(problem).tolerance, scale(inputs), strict=False)]

    return bounds


def _upstream(inputs: Inputs) -> list[float]:
    return [_largest(inputs["loss_gradient"]) / 2]  # the cases' are within -2..2


def _dice_upstream(inputs: Inputs) -> list[float]:
    sums = _largest(inputs["sums_gradient"]) * max(_largest(inputs["pixel_weights"]), 1.0)  # theirs within -1..1
    return [max(_largest(inputs["loss_gradient"]) / 2, sums)]


_BOUNDS: dict[str, Callable[[Any, str, Inputs], list[Bound]]] = {
    "roi_align": _roi_align,
    "roi_align_grad": _roi_align_grad,
    "multilevel_roi_align": _roi_align,
    "multilevel_roi_align_grad": _roi_align_grad,
    "aspp": _aspp,
    "atrous_conv2d": _atrous,
    "atrous_separable_conv2d": _separable,
    "depthwise_atrous_conv2d": _depthwise,
    "depthwise_atrous_conv2d_input_grad": _depthwise,
    "depthwise_atrous_conv2d_filter_grad": _depthwise,
    "max_pool_with_indices_grad": _max_pool_grad,
    "crop_masks": _crop,
    "crop_masks_rle": _crop,
    "crop_masks_polygon": _crop,
    "resize_softmax_cross_entropy": _softmax(softmax.loss_and_unit_gradient, lambda inputs: [1.0]),
    "resize_softmax_cross_entropy_grad": _softmax(softmax.gradient, _upstream),
    "resize_softmax_cross_entropy_training": _softmax(softmax.loss_and_unit_gradient, lambda inputs: [1.0, 1.0]),
    "resize_softmax_cross_entropy_training_grad": _softmax(softmax.gradient, _upstream),
    "resize_softmax_cross_entropy_and_dice": _softmax(
        softmax.dice, lambda inputs: [1.0, max(_largest(inputs["pixel_weights"]), 1.0)]
    ),
    "resize_softmax_cross_entropy_and_dice_grad": _softmax(softmax.dice_gradient, _dice_upstream),
}

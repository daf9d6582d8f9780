"""RoIAlign over a feature pyramid: each box on the level that fits its size."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import MAX_SAMPLING_RATIO, as_flag, as_int, as_output_size, reject_keras_tensors
from kseg_ops._pyramid import as_canonical_level, as_canonical_size, as_pyramid, level_areas, spatial_scales
from kseg_ops._tensors import to_boxes
from kseg_ops.reference.multilevel_roi_align import multilevel_roi_align as _reference

_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)


@tf.autograph.experimental.do_not_convert
def multilevel_roi_align(
    features,
    boxes,
    output_size: int | tuple[int, int],
    sampling_ratio: int = 2,
    aligned: bool = True,
    canonical_size: float = 224,
    canonical_level: int = 4,
) -> tf.Tensor:
    """Pools each box to `output_size` bins on the pyramid level that fits its size (Lin et al. 2017, "FPN").

    A box of area `w * h` belongs on level `floor(canonical_level + log2(sqrt(w * h) / canonical_size) + 1e-6)`, in
    float32 as torchvision computes it: with the defaults, boxes of 112 to 224 pixels go to P3 and those of 224 to 448
    to P4. There it is pooled as by `kseg_ops.roi_align` with `spatial_scale=2**-level`. This is
    `torchvision.ops.MultiScaleRoIAlign`, which has `aligned=False`, but for the layout (channels last), for boxes as
    one padded tensor, and for the strides, which are not guessed from sizes but follow from the names.

    Args:
        features: The pyramid, `{"P2": [B, H, W, C], "P3": ...}`: any levels from "P0" to "P30", where level n has
            stride 2**n; in any order, each with its own H and W, all of one dtype (float32, float16, bfloat16 or
            float64).
            A box of a level that is not given goes to the nearest one that is, and halfway to the finer one.
        boxes: float32 `[B, N, 4]`: `x1, y1, x2, y2` in absolute pixels of the image, `x2` being the right edge of the
            last pixel (its index + 1). Arrays and lists are converted; a float64 tensor is cast; 16-bit boxes are
            refused. Padding: boxes of zeros are safe and cheap (the degenerate grid at the corner of the finest level);
            a box with a coordinate that is not finite gives zeros and takes no gradient. An empty or inverted box
            goes to the finest level, unless it is inverted on both axes: its area is positive.
        output_size: bins `(h, w)`, or one int for both.
        sampling_ratio: samples per bin and axis, 1 to 128; 0 adapts to the box. See `kseg_ops.roi_align`.
        aligned: whether pixel centres lie at half-integer coordinates. See `kseg_ops.roi_align`.
        canonical_size: side in pixels, 1 to 1048576, of the square box that starts `canonical_level`.
        canonical_level: 0 to 30.

    Returns:
        `[B, N, h, w, C]` in the dtype of `features`.

    The gradient reaches every level and is deterministic in the compiled form: bitwise equal from run to run and for
    any number of threads. `boxes` has none (None, not zeros). With a `sampling_ratio` of 0 or above 3, the reference
    pools every box on every level.

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: a dtype is not supported, an argument is not of its kind, or a tensor is a KerasTensor.
        ValueError: a key of `features` names no level, a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: levels without pixels, or shapes known only at run time do not fit.

    Example:
        >>> pyramid = {"P2": tf.fill([1, 64, 64, 1], 2.0), "P3": tf.fill([1, 32, 32, 1], 3.0)}
        >>> boxes = [[[10.0, 10.0, 90.0, 50.0], [0.0, 0.0, 200.0, 200.0]]]
        >>> kseg_ops.multilevel_roi_align(pyramid, boxes, output_size=1).numpy().ravel()
        array([2., 3.], dtype=float32)
    """
    pyramid = as_pyramid(features)
    reject_keras_tensors(
        "multilevel_roi_align",
        "kseg.layers.MultilevelRoIAlign",
        boxes=boxes,
        **{f"features['P{level}']": value for level, value in pyramid.items()},
    )
    output_size = as_output_size(output_size)
    sampling_ratio = as_int("sampling_ratio", sampling_ratio, 0, MAX_SAMPLING_RATIO)
    areas = level_areas(tuple(pyramid), as_canonical_size(canonical_size), as_canonical_level(canonical_level))
    attributes = {
        "output_size": output_size,
        "spatial_scales": spatial_scales(pyramid),
        "level_areas": list(areas),
        "sampling_ratio": sampling_ratio,
        "aligned": as_flag("aligned", aligned),
    }
    maps = {level: tf.convert_to_tensor(value) for level, value in pyramid.items()}
    boxes = to_boxes(boxes)
    _check_static(maps, boxes.shape)

    native = _library.native_op("multilevel_roi_align")
    if native is None:
        return _reference(list(maps.values()), boxes, **attributes)
    return native(features=list(maps.values()), boxes=boxes, **attributes)


def _check_static(maps: dict[int, tf.Tensor], boxes: tf.TensorShape) -> None:
    if not boxes.is_compatible_with([None, None, 4]):
        raise ValueError(f"boxes must have shape [B, N, 4], got {boxes}")
    first = next(iter(maps))
    batch = boxes[0] if boxes.rank is not None else None
    channels = None
    for level, features in maps.items():
        name = f'features["P{level}"]'
        if features.dtype not in _FLOATS:
            raise TypeError(f"{name} must be float32, float16, bfloat16 or float64, got {features.dtype.name}")
        if features.dtype != maps[first].dtype:
            raise TypeError(
                f'{name} must have the dtype of features["P{first}"], {maps[first].dtype.name}, got '
                f"{features.dtype.name}"
            )
        if features.shape.rank not in (None, 4):
            raise ValueError(f"{name} must have shape [B, H, W, C], got {features.shape}")
        if not features.shape.is_compatible_with([batch, None, None, channels]):
            raise ValueError(
                f"{name} must have the batch size of boxes and the channels of the other levels, {batch} and "
                f"{channels}, got shape {features.shape}"
            )
        if features.shape.rank is not None:
            batch = batch if batch is not None else features.shape[0]
            channels = channels if channels is not None else features.shape[3]


_ATTRIBUTES = ("output_size", "spatial_scales", "level_areas", "sampling_ratio", "aligned")


def _attributes(op: tf.Operation) -> dict:
    return {name: op.get_attr(name) for name in _ATTRIBUTES}


def _pool(features: list[tf.Tensor], boxes: tf.Tensor, attributes: dict) -> tf.Tensor:
    native = _library.native_op("multilevel_roi_align")
    if native is not None:
        return native(features=features, boxes=boxes, **attributes)
    return _reference(features, boxes, **{**attributes, "output_size": tuple(attributes["output_size"])})


@_library.register_gradient("Kseg>MultilevelRoiAlign")
def _gradient(op: tf.Operation, gradient: tf.Tensor):
    *features, boxes = op.inputs
    attributes = _attributes(op)
    native = _library.native_op("multilevel_roi_align_grad")
    if native is not None:
        shapes = [tf.shape(level) for level in features]
        return [*native(output_gradient=gradient, boxes=boxes, features_shapes=shapes, **attributes), None]
    # Native forward, reference backward, as in `with use_reference(): tape.gradient(...)`: the op is linear, and where
    # its reference is differentiated does not matter.
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = _pool(features, boxes, attributes)
    return [*tape.gradient(pooled, features, gradient), None]


@_library.register_gradient("Kseg>MultilevelRoiAlignGrad")
def _gradient_of_gradient(op: tf.Operation, *gradients: tf.Tensor):
    # The op is linear in its first input, and its adjoint is the forward pass.
    boxes, shapes = op.inputs[1], op.inputs[2:]
    return [_pool(list(gradients), boxes, _attributes(op)), None, *[None] * len(shapes)]

"""The Euclidean distance of each foreground pixel to the background."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import as_flag, as_sampling, reject_keras_tensors
from kseg_ops._planes import as_planes, from_planes
from kseg_ops.reference.distance_transform import distance_transform as _reference


@tf.autograph.experimental.do_not_convert
def distance_transform(
    masks, sampling: float | tuple[float, float] = 1.0, signed: bool = False, return_indices: bool = False
) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
    """The exact Euclidean distance of each foreground pixel to the nearest background pixel, from centre to centre.

    Equals `scipy.ndimage.distance_transform_edt` for each image. The compiled form takes time linear in the number of
    pixels (Meijster, Roerdink and Hesselink 2000, "A general algorithm for computing distance transforms in linear
    time"; Felzenszwalb and Huttenlocher 2012, "Distance Transforms of Sampled Functions").

    Args:
        masks: bool or integer tensor `[..., H, W]`, each `H x W` plane an image of its own, of at most 2**26 - 1 rows
            and columns. Whatever is not 0 is foreground; void pixels count as what their value says.
        sampling: the spacing of pixels, in whatever unit the distances are to have: a Python number, or a pair of them
            for the spacing of rows and that of columns; 2**-60 to 2**60.
        signed: False: background is at distance 0. True: it has minus its distance to the nearest foreground pixel, as
            boundary losses and level sets want it. No pixel is at 0 then: those on both sides of a straight edge have
            1 and -1 for unit spacing, and the edge itself lies in the middle.
        return_indices: whether to tell which pixel is the nearest.

    Returns:
        float32 distances of the shape of `masks`. In an image without background, foreground has +inf; in one without
        foreground, background has 0, or -inf if signed. For equal spacing on both axes these are the float32 nearest to
        the exact distance (times a spacing that is a power of two; else within one unit in the last place).

        With `return_indices`, also int32 `[..., H, W, 2]`: row and column of the nearest pixel of the other kind (of
        the pixel itself where the distance is 0, -1 where it is infinite). Of several equally near ones it is the one
        in the leftmost column, and there the upper one; scipy may choose another. Which distances are equal is decided
        exactly for spacings whose squares have a ratio of whole numbers below four million and sides of up to 2**15,
        and within the rounding of float64 otherwise.

    The op has no gradient. The result is the same for any number of threads.

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: `masks` is floating or a KerasTensor, or `sampling` is not of numbers.
        ValueError: `masks` has fewer than two axes, or `sampling` is out of range.
        tf.errors.InvalidArgumentError: an image is too large, or `masks` has fewer than two axes, known at run time
            only.

    Example:
        >>> mask = tf.constant([[0, 1, 1, 1],
        ...                     [1, 1, 1, 1]])
        >>> kseg_ops.distance_transform(mask).numpy().round(2)
        array([[0.  , 1.  , 2.  , 3.  ],
               [1.  , 1.41, 2.24, 3.16]], dtype=float32)
        >>> kseg_ops.distance_transform(mask, signed=True).numpy()[0, :2]
        array([-1.,  1.], dtype=float32)
    """
    reject_keras_tensors(
        "distance_transform", "it inside the call() of a keras.layers.Layer, or in the input pipeline", masks=masks
    )
    sampling = as_sampling(sampling)
    signed, return_indices = as_flag("signed", signed), as_flag("return_indices", return_indices)
    masks = tf.convert_to_tensor(masks)
    planes, shape = as_planes(masks)
    native = _library.native_op("distance_transform")
    if native is None:
        distances, indices = _reference(planes, sampling, signed, return_indices)
    else:
        distances, indices = native(
            masks=planes,
            sampling=tf.constant(sampling, tf.float64),
            signed=signed,
            return_indices=return_indices,
        )
    distances = from_planes(distances, shape, masks.shape)
    return (distances, from_planes(indices, shape, masks.shape)) if return_indices else distances


_library.register_gradient("Kseg>DistanceTransform")(None)

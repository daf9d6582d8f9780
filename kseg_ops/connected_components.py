"""Connected components of binary images."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import as_connectivity, reject_keras_tensors
from kseg_ops._planes import as_planes, from_planes
from kseg_ops.reference.connected_components import connected_components as _reference


@tf.autograph.experimental.do_not_convert
def connected_components(masks, connectivity: int = 8) -> tuple[tf.Tensor, tf.Tensor]:
    """Numbers the connected components of the foreground, in raster order of each component's first pixel.

    The labels are those of `scipy.ndimage.label` (with `connectivity=4` for its default structure, 8 for one of 3 x 3
    ones) and, for binary images, of `skimage.measure.label`.

    Args:
        masks: bool or integer tensor `[..., H, W]`, each `H x W` plane an image of its own. Whatever is not 0 is
            foreground: pixels of different labels that touch belong to one component. For the components of each class
            of a label map, compare with the class first. Void pixels count as what their value says, so set them to 0.
        connectivity: 8: pixels touch at sides and corners; 4: at sides only.

    Returns:
        `labels`, int32 of the shape of `masks`: 0 for background, `1..n` without gaps for the components; and `counts`,
        int32 of the shape of `masks` without its last two axes: n for each image. An image has fewer than 2**31 pixels.

    The op has no gradient. The result is the same for any number of threads.

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: `masks` is floating or a KerasTensor, or `connectivity` is not an integer.
        ValueError: `masks` has fewer than two axes, or `connectivity` is neither 4 nor 8.
        tf.errors.InvalidArgumentError: an image is too large, or `masks` has fewer than two axes, known at run time
            only.

    Example:
        >>> mask = tf.constant([[1, 0, 1],
        ...                     [0, 1, 0],
        ...                     [0, 0, 0],
        ...                     [1, 1, 0]])
        >>> labels, count = kseg_ops.connected_components(mask)
        >>> labels.numpy()
        array([[1, 0, 1],
               [0, 1, 0],
               [0, 0, 0],
               [2, 2, 0]], dtype=int32)
        >>> int(count)
        2
    """
    reject_keras_tensors(
        "connected_components", "it inside the call() of a keras.layers.Layer, or on the model's output", masks=masks
    )
    connectivity = as_connectivity(connectivity)
    masks = tf.convert_to_tensor(masks)
    planes, shape = as_planes(masks)
    native = _library.native_op("connected_components")
    if native is None:
        labels, counts = _reference(planes, connectivity)
    else:
        labels, counts = native(masks=planes, connectivity=connectivity)
    return from_planes(labels, shape, masks.shape), from_planes(counts, shape, masks.shape, axes=0)


_library.register_gradient("Kseg>ConnectedComponents")(None)

"""`kseg.predict`: one image through a model, whole or in tiles."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from kseg.inference.forward import Forward
from kseg.inference.image_input import open_image, warn_about_range
from kseg.inference.strips import (
    averages_probabilities,
    make_plan,
    strips,
    to_classes,
    to_probabilities,
    whole_classes,
)
from kseg.inference.tta import checked_scales, symmetries

OUTPUTS = ("classes", "probabilities", "logits")


def predict(
    model,
    image,
    tile=None,
    overlap=None,
    tta=False,
    output="classes",
    batch_size=4,
    out=None,
    *,
    scales=(1,),
    flips=None,
):
    """Segments an image of any size.

    Tiles begin on the model's pooling grid and see the image's true border where there is one. With an `overlap` of at
    least the model's receptive field radius the result equals that of the whole image at once, to rounding. A smaller
    overlap, or a model that looks at the whole image (group norm, global pooling; `receptive_field_radius` is None),
    gives a close result and one warning; `kseg.inference.tiling_difference` measures how close.

    A model with valid padding returns maps smaller than its input: the image is then mirrored at its border, as in the
    U-Net paper, so that every pixel gets a prediction. So is an image smaller than a model of fixed input size.

    Test-time augmentation (`tta`, `flips`, `scales`) runs the model on changed copies of each tile and averages: the
    result is the mean, with equal weights, of the softmax (or sigmoid) probabilities of all copies. At scale s a copy
    is what the image at `round(s * size)` pixels gives: made smaller with antialiasing, predicted, and its
    probabilities, not its logits, interpolated bilinearly at the image's pixels (`tf.image.resize`'s geometry).
    Tiles stay as exact as without: a rescaled tile reaches one receptive field radius, in rescaled pixels, over what is
    used of it, and lies on the pooling grid of the rescaled image.

    Args:
        model: a `kseg` model, or any functional Keras model from `(B, H, W, C)` images to `(B, H, W, num_classes)`
            logits.
        image: `(H, W, C)`, or `(H, W)` for one channel, in the model's `input_range`; integers or floats. `np.memmap`
            is read tile by tile. Or the path of an image file. Or a batch `(B, H, W, C)`, predicted one after the
            other.
        tile: size in pixels, an integer or `(height, width)`, that the model is given at once; `None` for the whole
            image (a model of fixed input size is always given tiles of that size). Rounded down to fit the pooling
            grid.
        overlap: pixels that every tile reaches over its own share on each side (so neighbours have twice as many in
            common), an integer or a pair. `None`: the receptive field radius where that leaves at least a quarter of
            the tile, else a quarter of the tile.
        tta: test-time augmentation: `True` or `"flips"` averages the probabilities of the four flips, `"dihedral"` of
            all eight flips and quarter turns. Costs four or eight times the time.
        output: `"classes"`, `"probabilities"` (softmax; sigmoid for one class) or `"logits"` (not with test-time
            augmentation).
        batch_size: tiles given to the model at once (at scale s > 1, `batch_size / s**2` of them, at least one). With
            `tile`, memory is a strip of `tile height x W x num_classes` floats plus `batch_size` tiles plus the result;
            without, the scores of the whole image. Scales and flips run one after the other: their number adds nothing
            to that, but the model sees tiles (or the image) `s` times as high and wide, and their context.
        out: array to write into, such as an `np.memmap` for probabilities larger than memory; returned.
        scales: test-time augmentation: sizes, as factors, at which the image is predicted, such as `(0.5, 1, 1.5)`.
            Costs the sum of their squares times the time. 1 only counts if it is named.
        flips: test-time augmentation: `"horizontal"` also predicts the image with left and right exchanged,
            `"vertical"` with top and bottom exchanged, `"both"` or `True` all four combinations (as `tta=True`).

    Returns:
        `"classes"`: `(H, W)`, uint8 (uint16 or int32 above 256 or 65536 classes); with one output channel 1 where the
        logit is above 0. Otherwise float32 `(H, W, num_classes)`. With a leading batch dimension if `image` has one.

    Raises:
        TypeError: `model` is no Keras model, or `image` holds no numbers.
        ValueError: a shape, tile, overlap, tta, output or out that cannot be; the message says what would do. Also an
            image that holds NaN or infinity: of an array, when the tile is reached that holds it.
        kseg.data.DataError: an image file that cannot be read.

    Example:
        >>> classes = kseg.predict(model, np.zeros((1000, 1500, 3), np.uint8), tile=512)  # doctest: +SKIP
        >>> classes.shape, classes.dtype  # doctest: +SKIP
        ((1000, 1500), dtype('uint8'))

    Source: tiling with mirrored borders: Ronneberger et al., "U-Net", 2015, figure 2.
    """
    forward = Forward(model)
    check_options(output, tta, batch_size, scales, flips)
    if getattr(image, "ndim", None) == 4:
        return _predict_batch(model, image, out, (tile, overlap, tta, output, batch_size), scales, flips)
    image = open_image(image, forward.spec)
    shape, dtype = _result_layout(forward.spec, image.shape[:2], output)
    if out is None:
        out = np.empty(shape, dtype)
    elif tuple(out.shape) != shape or not np.can_cast(dtype, out.dtype, "same_kind"):
        raise ValueError(f"out must be {dtype} of the shape {shape}; got {out.dtype} of the shape {tuple(out.shape)}.")
    plan = _plan(forward, image, tile, overlap, tta, scales, flips)
    for first, rows in finished_rows(forward, image, plan, output, batch_size):
        out[first : first + len(rows)] = rows
    return out


def predict_rows(
    model, image, tile=None, overlap=None, tta=False, output="classes", batch_size=4, *, scales=(1,), flips=None
) -> Iterator[tuple[int, np.ndarray]]:
    """As `kseg.predict`, but yields finished rows from top to bottom, so that a result is never held whole.

    Args:
        model: as for `kseg.predict`.
        image: as for `kseg.predict`; one image, not a batch.
        tile: as for `kseg.predict`.
        overlap: as for `kseg.predict`.
        tta: as for `kseg.predict`.
        output: as for `kseg.predict`.
        batch_size: as for `kseg.predict`.
        scales: as for `kseg.predict`.
        flips: as for `kseg.predict`.

    Yields:
        `(first_row, rows)`: rows of the class map `(n, W)`, or of the scores `(n, W, num_classes)`; yours to keep.

    Raises:
        As `kseg.predict`, at the call, before the first row.

    Example:
        >>> for first, rows in kseg.inference.predict_rows(model, image, tile=512):  # doctest: +SKIP
        ...     raster[first : first + len(rows)] = rows
    """
    forward = Forward(model)
    check_options(output, tta, batch_size, scales, flips)
    image = open_image(image, forward.spec)
    plan = _plan(forward, image, tile, overlap, tta, scales, flips)
    return finished_rows(forward, image, plan, output, batch_size)


def finished_rows(forward, image, plan, output, batch_size) -> Iterator[tuple[int, np.ndarray]]:
    """`predict_rows` after all checks: of an opened image and a plan."""
    if output == "classes" and forward.upsamples and plan.is_whole:
        yield 0, whole_classes(forward, image, plan)
        return
    for first, scores in strips(forward, image, plan, batch_size):
        if output == "classes":
            yield first, to_classes(scores, forward.spec.class_dtype, plan.averages_probabilities)
        elif output == "probabilities" and not plan.averages_probabilities:
            yield first, to_probabilities(scores)
        else:
            yield first, scores.copy()


def _plan(forward, image, tile, overlap, tta, scales, flips):
    plan = make_plan(forward, image.shape[:2], tile, overlap, symmetries(tta, flips), checked_scales(scales))
    warn_about_range(image, forward.spec.input_range, stacklevel=4)
    if not plan.exact:
        warnings.warn(_inexact_message(forward.spec, plan), stacklevel=3)
    return plan


def _inexact_message(spec, plan):
    shown = f"{plan.rows.tile_in}x{plan.columns.tile_in}"
    if spec.radius is None:
        return (
            f"tiles of {shown} pixels will not give exactly what the whole image gives: this model looks at the whole "
            "image, or does not say how far it looks (receptive_field_radius). kseg.inference.tiling_difference "
            "measures it."
        )
    exact = max(spec.radius - min(spec.margins), 0)
    return (
        f"tiles of {shown} pixels with this overlap will not give exactly what the whole image gives: this model looks "
        f"{spec.radius} pixels far. Use overlap={exact} with tiles well above {2 * exact} pixels, or measure with "
        "kseg.inference.tiling_difference."
    )


def check_options(output, tta, batch_size, scales=(1,), flips=None):
    """Raises ValueError for options that `predict` does not know."""
    if output not in OUTPUTS:
        raise ValueError(f"output must be one of {', '.join(map(repr, OUTPUTS))}; got {output!r}.")
    if averages_probabilities(symmetries(tta, flips), checked_scales(scales)) and output == "logits":
        raise ValueError(
            "output='logits' cannot be had with tta, flips or scales, which average probabilities. Use "
            "output='probabilities'."
        )
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer of at least 1; got {batch_size!r}.")


def _result_layout(spec, size, output):
    if output == "classes":
        return tuple(size), spec.class_dtype
    return (*size, spec.num_classes), np.dtype(np.float32)


def _predict_batch(model, images, out, options, scales, flips):
    images = np.asarray(images)
    if not len(images):
        raise ValueError(f"image must not be empty; got the shape {images.shape}.")
    if out is not None and len(out) != len(images):
        raise ValueError(f"out must hold {len(images)} results, as image does; got the shape {tuple(out.shape)}.")
    results = [
        predict(model, one, *options, out=None if out is None else out[index], scales=scales, flips=flips)
        for index, one in enumerate(images)
    ]
    return np.stack(results) if out is None else out

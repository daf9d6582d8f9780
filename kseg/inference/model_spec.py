"""What inference and export need to know about a model, read once and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
import numpy as np

# Tile origins are kept on this grid when a model does not say its stride: 32 is what the deepest common encoders have,
# and a multiple of the true stride costs nothing but a slightly smaller tile.
UNKNOWN_STRIDE = 32


@dataclass(frozen=True)
class ModelSpec:
    """The facts of a model that tiling, file prediction and export build on.

    Attributes:
        channels: channels of the input image.
        num_classes: channels of the logits; 1 is the sigmoid case.
        fixed_size: `(height, width)` of the input, each `None` where the model takes any.
        stride: pixels after which the model's pooling grid repeats.
        radius: receptive field radius in pixels, `None` where the model looks at the whole image or does not say.
        margins: `(height, width)` pixels that a model with valid padding loses on each side; `(0, 0)` otherwise.
        residue: `(height, width)`, the input sizes modulo `stride` that a model with valid padding takes.
        input_range: `(low, high)` of pixel values the model was built for, `None` if it does not say.
        ignore_index: the void label, `None` if the model does not say.
        class_names: one name per class, or `None`.
    """

    channels: int
    num_classes: int
    fixed_size: tuple[int | None, int | None] = (None, None)
    stride: int = 1
    radius: int | None = None
    margins: tuple[int, int] = (0, 0)
    residue: tuple[int, int] = (0, 0)
    input_range: tuple[float, float] | None = None
    ignore_index: int | None = None
    class_names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, model) -> ModelSpec:
        """Reads the facts from a built Keras model.

        A kseg model carries them as attributes. Of any other functional Keras model the shapes are read, and the
        attributes `stride`, `receptive_field_radius`, `input_range`, `class_names`, `ignore_index` and, for valid
        padding, `margin` (with a method `logits_size(height, width)`) where somebody set them.

        Raises:
            TypeError: not a Keras model.
            ValueError: not built, several inputs or outputs, shapes that are no segmentation, or a softmax/sigmoid at
                the end where logits are expected.
        """
        image, logits = _single_input_and_output(model)
        channels, num_classes = image[-1], logits[-1]
        fixed = (image[1], image[2])
        stride = int(getattr(model, "stride", None) or UNKNOWN_STRIDE)
        margins, residue = _margins(model, fixed, (logits[1], logits[2]), stride)
        radius = getattr(model, "receptive_field_radius", None)
        names = getattr(model, "class_names", None)
        value_range = getattr(model, "input_range", None)
        return cls(
            channels=int(channels),
            num_classes=int(num_classes),
            fixed_size=fixed,
            stride=stride,
            radius=None if radius is None else math.ceil(radius),
            margins=margins,
            residue=residue,
            input_range=None if value_range is None else (float(value_range[0]), float(value_range[1])),
            ignore_index=getattr(model, "ignore_index", None),
            class_names=None if names is None else tuple(str(name) for name in names),
        )

    @classmethod
    def of_detector(cls, model) -> ModelSpec:
        """Reads the facts from a `kseg.FasterRCNN` or `kseg.MaskRCNN`, which is built when it is made."""
        height, width, channels = model.backbone.input_shape[1:]
        value_range = model.input_range
        return cls(
            channels=channels,
            num_classes=model.num_classes,
            fixed_size=(height, width),
            stride=model.pad.stride,
            input_range=None if value_range is None else (float(value_range[0]), float(value_range[1])),
            class_names=None if model.class_names is None else tuple(str(name) for name in model.class_names),
        )

    @property
    def class_dtype(self) -> np.dtype:
        """The smallest of uint8, uint16 and int32 that holds every class index."""
        if self.num_classes <= 256:
            return np.dtype(np.uint8)
        return np.dtype(np.uint16 if self.num_classes <= 65536 else np.int32)


def _single_input_and_output(model):
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a Keras model; got {type(model).__name__}. Load one with keras.models.load_model()."
        )
    try:
        inputs, outputs = list(model.inputs or []), list(model.outputs or [])
    except (AttributeError, ValueError):
        inputs, outputs = [], []
    if not inputs or not outputs:
        raise ValueError(
            f"model '{model.name}' is not built, or is a subclassed model without fixed inputs and outputs. "
            "Make it a functional model: keras.Model(inputs, outputs)."
        )
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"model '{model.name}' must have one input and one output; it has {len(inputs)} and {len(outputs)}. "
            "Wrap the two that matter: keras.Model(image, logits)."
        )
    image, logits = tuple(inputs[0].shape), tuple(outputs[0].shape)
    if len(image) != 4 or image[-1] is None:
        raise ValueError(f"model '{model.name}' must take images (batch, height, width, channels); it takes {image}.")
    if len(logits) != 4 or logits[-1] is None:
        raise ValueError(
            f"model '{model.name}' must return logits (batch, height, width, num_classes); it returns {logits}."
        )
    _refuse_probabilities(model)
    return image, logits


def _refuse_probabilities(model):
    """A softmax at the end would be applied a second time, silently; refuse it by name."""
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    name = getattr(activation, "__name__", "")
    if isinstance(last, keras.layers.Softmax):
        name = "softmax"
    if name in ("softmax", "sigmoid"):
        raise ValueError(
            f"model '{model.name}' must return logits; its last layer '{last.name}' applies {name}. "
            "Use activation=None there (or build keras.Model(inputs, <the tensor before it>))."
        )


def _margins(model, fixed, fixed_output, stride):
    """Pixels lost per side by a model with valid padding, and the input sizes (modulo stride) it takes."""
    margin = getattr(model, "margin", None)
    margins = []
    for size, output in zip(fixed, fixed_output, strict=True):
        if size is None or output is None:
            margins.append(margin or 0)
            continue
        lost = size - output
        if margin is None and 2 * output <= size:
            raise ValueError(
                f"model '{model.name}' returns logits of {fixed_output} (height, width) for images of {fixed}, which "
                "looks like the image at a lower resolution. Resize them in the model: keras.Model(images, "
                f'keras.layers.UpSampling2D({size // max(output, 1)}, interpolation="bilinear")(logits)). Where it is '
                "valid padding, set model.margin to the pixels lost on each side."
            )
        if lost < 0 or lost % 2 or (margin is not None and lost != 2 * margin):
            raise ValueError(
                f"model '{model.name}' must lose as many pixels on one side as on the other; it takes "
                f"images of {fixed} and returns {fixed_output}. Build it with input_shape=(None, None, channels), or "
                "with a size that its pooling divides."
            )
        margins.append(lost // 2)
    residue = tuple(0 if not m else _valid_residue(model, m, stride, n) for m, n in zip(margins, fixed, strict=True))
    return tuple(margins), residue


def _valid_residue(model, margin, stride, fixed):
    """The input sizes (modulo stride) of which no pooling loses a row: those that lose `margin` on either side."""
    if fixed is not None:
        return fixed % stride
    base = (2 * margin // stride + 2) * stride
    for size in range(base, base + stride):
        if model.logits_size(size, size)[0] == size - 2 * margin:
            return size % stride
    raise ValueError(
        f"model '{model.name}' has margin={margin}, but no size from {base} on loses that much on either side."
    )

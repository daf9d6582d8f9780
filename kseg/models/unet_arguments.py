"""Checks of the arguments of U-Nets, which have two forms: the published one, and one on a backbone."""

from __future__ import annotations

import inspect

from kseg.models.unet_geometry import smallest_valid_input


def refuse_other_form(model, backbone, published, on_backbone):
    """Refuse arguments that only the form has that is not being built.

    Args:
        model: the class, whose defaults say whether an argument was given.
        backbone: None for the published form.
        published: the arguments that this has, by name.
        on_backbone: those that only the form on a backbone has.

    Raises:
        ValueError: naming the argument.
    """
    parameters = inspect.signature(model.__init__).parameters
    if backbone is None:
        others, reason = on_backbone, "needs a backbone, and backbone is None"
    else:
        others, reason = published, f"belongs to the {model.__name__} without a backbone, and backbone is given"
    for name, value in others.items():
        if (tuple(value) if isinstance(value, list) else value) != parameters[name].default:
            raise ValueError(f"{name} {reason}: leave it out; got {value!r}")


def check_unet_arguments(input_shape, depth, padding="same"):
    """Check the size of the images and the depth.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else None
    if shape is None or len(shape) != 3 or not isinstance(shape[2], int) or shape[2] < 1:
        raise ValueError(
            "input_shape must be (height, width, channels), for example (None, None, 3) for RGB images of any size; "
            f"got {input_shape!r}"
        )
    for size in shape[:2]:
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise ValueError(
                "input_shape must have a height and a width of at least 1 pixel, or None for any size; got "
                f"{input_shape!r}"
            )
    if not isinstance(depth, int) or isinstance(depth, bool) or depth < 1:
        raise ValueError(f"depth must be an int of at least 1; got {depth!r}")
    if padding == "valid":
        smallest = smallest_valid_input(depth)
        if any(size is not None and size < smallest for size in shape[:2]):
            raise ValueError(
                f'input_shape must be at least {smallest} x {smallest} pixels for padding="valid" and depth={depth}; '
                f"got {shape[0]} x {shape[1]}"
            )

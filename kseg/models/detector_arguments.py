"""The arguments of detectors, checked by the names that users give them."""

from __future__ import annotations

from kseg._class_arguments import check_flag, check_num_classes, is_finite_number
from kseg.layers._boxes import check_count, check_share


def check_detector_arguments(
    num_classes, class_names, input_shape, input_range, counts, shares, flags, anchor_sizes, aspect_ratios
):
    """Checks what a constructor of a detector was given.

    Args:
        num_classes: number of classes of objects.
        class_names: one name per class, or None.
        input_shape: `(height, width, channels)`.
        input_range: `(low, high)` or None.
        counts: arguments that are positive ints, by name.
        shares: arguments that are numbers from 0 to 1, by name.
        flags: arguments that are True or False, by name.
        anchor_sizes: for each level a number or several, or None.
        aspect_ratios: numbers.

    Raises:
        TypeError: class names that are no list or tuple of texts.
        ValueError: naming the argument, what was expected and what came.
    """
    check_num_classes(num_classes)
    if class_names is not None:
        _check_names(class_names, num_classes)
    shape = input_shape if isinstance(input_shape, (list, tuple)) else ()
    if len(shape) != 3 or not all(_is_count(side) for side in shape[:2] if side is not None) or not _is_count(shape[2]):
        raise ValueError(
            f"input_shape must be (height, width, channels), the first two ints or None; got {input_shape!r}"
        )
    if input_range is not None:
        ends = input_range if isinstance(input_range, (list, tuple)) else ()
        if len(ends) != 2 or not all(is_finite_number(end) for end in ends) or ends[0] >= ends[1]:
            raise ValueError(
                "input_range must be two increasing numbers (low, high), both finite, for example (0, 255), or None; "
                f"got {input_range!r}"
            )
    for name, value in counts.items():
        check_count(name, value)
    for name, value in shares.items():
        check_share(name, value)
    for name, value in flags.items():
        check_flag(name, value)
    _check_numbers("aspect_ratios", aspect_ratios)
    if anchor_sizes is not None:
        levels = anchor_sizes if isinstance(anchor_sizes, (list, tuple)) else ()
        _check_numbers(
            "anchor_sizes",
            [size for level in levels for size in (level if isinstance(level, (list, tuple)) else (level,))],
            anchor_sizes,
        )


def check_number_of_levels(anchor_sizes, levels):
    """That there are anchors for each level of a pyramid.

    Raises:
        ValueError: there are more or fewer.
    """
    if len(anchor_sizes) != len(levels) + 1:
        raise ValueError(
            f"anchor_sizes must have an entry for each of {', '.join(levels)} and for the level after them, "
            f"{len(levels) + 1}; got {len(anchor_sizes)}: {anchor_sizes!r}"
        )


def _check_names(names, num_classes):
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f'class_names must be a list of texts, such as ["cell", "nut"]; got {names!r}')
    if len(names) != num_classes:
        raise ValueError(f"class_names must hold {num_classes} names, one per class; got {len(names)}")


def _check_numbers(name, numbers, given=None):
    given = numbers if given is None else given
    numbers = numbers if isinstance(numbers, (list, tuple)) else ()
    if not numbers or not all(is_finite_number(number) and number > 0 for number in numbers):
        raise ValueError(f"{name} must be positive numbers; got {given!r}")


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0

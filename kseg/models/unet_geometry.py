"""Sizes, offsets and the receptive field of the U-Net, from its depth alone."""

from __future__ import annotations

CONV_RADIUS = 2  # of the two 3x3 convolutions of a block


def encoder_sizes(size, depth):
    """Sizes of the features of each level of the contracting path, without padding.

    Args:
        size: height or width of the image.
        depth: number of levels.

    Returns:
        One int per level; 0 or less where nothing is left.
    """
    sizes = []
    for level in range(depth):
        size = (size if level == 0 else size // 2) - 2 * CONV_RADIUS
        if size < 1:
            return sizes + [0] * (depth - level)
        sizes.append(size)
    return sizes


def valid_output_size(size, depth):
    """The height or width of the logits of a U-Net with `padding="valid"`; 0 if the image is too small."""
    size = encoder_sizes(size, depth)[-1]
    for _ in range(depth - 1):
        size = max(2 * size - 2 * CONV_RADIUS, 0)
    return size


def valid_output_shape(height, width, depth):
    """Height and width of the logits of a U-Net with `padding="valid"`."""
    return valid_output_size(height, depth), valid_output_size(width, depth)


def smallest_valid_input(depth):
    """The smallest image, height or width, for which a U-Net with `padding="valid"` has an output."""
    size = 1
    while valid_output_size(size, depth) < 1:
        size += 1
    return size


def skip_offset(level, depth):
    """Where the skip features of a level start in the cropped form, with `padding="valid"`.

    Counted from the top left. For the sizes that the paper recommends, where every pooling sees an even size, this is
    the centre crop: 4, 16, 40 and 88 pixels. For other sizes the last row or column is lost in a pooling; a centre crop
    would then shift the skip features against the upsampled ones, this offset does not.
    """
    # Going down one level, up again and back: each level's convolutions take CONV_RADIUS pixels off the start, which
    # counts double on the level above.
    if level == depth - 1:
        return 0
    below = skip_offset(level + 1, depth)
    lost_up = 0 if level + 1 == depth - 1 else CONV_RADIUS
    return 2 * (CONV_RADIUS + below + lost_up)


def output_margin(depth):
    """Image pixels at the top and the left without logits, with `padding="valid"`."""
    return 2 * CONV_RADIUS + skip_offset(0, depth) if depth > 1 else CONV_RADIUS


def receptive_field_radius(depth, upsampling):
    """How far away, in pixels, an image pixel can influence an output pixel.

    Follows the interval of pixels that one output pixel depends on backwards through the network, for every position
    relative to the pooling grid, and takes the farthest reach.

    Args:
        depth: number of levels.
        upsampling: `"transpose"` (2x2, stride 2) or `"bilinear"`.
    """
    stride = 2 ** (depth - 1)
    start = 1024 * stride  # far from the border
    radius = 0
    for position in range(start, start + stride):
        low, high = _decoder_reach(0, depth, upsampling, position, position)
        radius = max(radius, position - low, high - position)
    return radius


def _decoder_reach(level, depth, upsampling, low, high):
    """The image pixels that the features `low..high` of the expanding path at `level` depend on."""
    if level == depth - 1:
        return _encoder_reach(level, low, high)
    low, high = low - CONV_RADIUS, high + CONV_RADIUS
    skip_low, skip_high = _encoder_reach(level, low, high)
    if upsampling == "transpose":
        low, high = low // 2, high // 2
    else:  # output i interpolates between the inputs around (i - 0.5) / 2
        low, high = (low - 1) // 2, (high + 1) // 2
    up_low, up_high = _decoder_reach(level + 1, depth, upsampling, low, high)
    return min(skip_low, up_low), max(skip_high, up_high)


def _encoder_reach(level, low, high):
    """The image pixels that the features `low..high` of the contracting path at `level` depend on."""
    for _ in range(level):
        low, high = 2 * (low - CONV_RADIUS), 2 * (high + CONV_RADIUS) + 1
    return low - CONV_RADIUS, high + CONV_RADIUS

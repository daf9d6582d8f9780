"""The receptive field of SegNet."""

from __future__ import annotations


def receptive_field_radius(convolutions):
    """How far away, in pixels, an image pixel can influence an output pixel.

    Args:
        convolutions: number of 3 x 3 convolutions of each stage, on its way down and on its way up.
    """
    reach = 0
    # Where a pixel stands in the pooling grid decides how far its windows extend, so all places are tried.
    for place in range(2 ** len(convolutions)):
        low = high = place
        seen = []
        for count in convolutions:  # up the decoder, from the logits down to the deepest features
            low, high = low - count, high + count
            low, high = low // 2, high // 2
            seen.append((low, high))
        for count in reversed(convolutions):
            # The pooled values, and the indices that tell where they go, come from whole windows.
            below, above = seen.pop()
            low, high = 2 * min(low, below) - count, 2 * max(high, above) + 1 + count
        reach = max(reach, place - low, high - place)
    return reach

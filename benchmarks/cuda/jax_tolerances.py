from __future__ import annotations


def tolerances(call, dtype, wide, expected):
    return [0.0] * len(expected)

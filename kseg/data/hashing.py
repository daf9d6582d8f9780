"""Counter-based random numbers: pure functions of (seed, epoch, index).

A shuffled order or an augmentation seed that comes out of a stateful generator depends on everything drawn before it,
so a run that resumes in the middle would have to replay the beginning. These are hashes instead: any position can be
computed alone. They are written out here, rather than taken from `numpy.random`, because NumPy does not promise the
same stream from one version to the next.
"""

from __future__ import annotations

import numpy as np

_MASK64 = (1 << 64) - 1
# Streams that must not share their numbers.
ORDER_STREAM = 1
SAMPLE_STREAM = 2
SPLIT_STREAM = 3
BATCH_STREAM = 4


def _finalise(x: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014): a well-mixing bijection of 64-bit integers."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hash64(indices: np.ndarray, *parts: int) -> np.ndarray:
    """Hashes every index together with `parts`.

    Args:
        indices: integers, any shape.
        *parts: Python integers of any size or sign, taken modulo 2**64: seed, epoch, stream.

    Returns:
        uint64 array of the shape of `indices`, uniformly distributed.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    state = np.zeros(1, np.uint64)
    for part in parts:
        state = _finalise((state ^ np.uint64(int(part) & _MASK64)) + golden)
    indices = np.asarray(indices).astype(np.uint64)
    return _finalise(_finalise((indices ^ state.reshape((1,) * max(indices.ndim, 1))) + golden) + golden)


def permutation(count: int, seed: int, epoch: int, stream: int = ORDER_STREAM) -> np.ndarray:
    """int64 permutation of `0..count-1`, a pure function of its arguments."""
    return np.argsort(hash64(np.arange(count), seed, epoch, stream), kind="stable").astype(np.int64)


def sample_seeds(indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """One seed per sample for `tf.random.stateless_*`: int32 `[N, 2]`, a pure function of (seed, epoch, index)."""
    keys = hash64(np.asarray(indices, np.int64).reshape(-1), seed, epoch, SAMPLE_STREAM)
    high, low = (keys >> np.uint64(32)).astype(np.uint32), (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return np.stack([high, low], axis=-1).view(np.int32)


def uniforms(seed, count: int, stream: int = 0) -> np.ndarray:
    """`count` numbers from 0 to below 1, float64; a pure function of `seed`, integers such as one of `sample_seeds`."""
    return (hash64(np.arange(count), *(int(part) for part in seed), stream) >> np.uint64(11)) * 2.0**-53

"""Building layers under a precision policy."""

from __future__ import annotations

import contextlib

import keras


@contextlib.contextmanager
def dtype_scope(dtype):
    """Build everything inside under one precision policy.

    Args:
        dtype: a policy, its name or its configuration; None keeps the current one.
    """
    before = keras.config.dtype_policy()
    if dtype is not None:
        keras.config.set_dtype_policy(keras.dtype_policies.get(dtype))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

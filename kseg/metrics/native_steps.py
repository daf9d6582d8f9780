"""Whether a metric or a loss may put a native op into the graph that is being traced."""

from __future__ import annotations

import contextlib
import threading

import tensorflow as tf

import kseg_ops

_state = threading.local()


@contextlib.contextmanager
def native_steps():
    """Allow native ops in the metrics and losses that are traced in this block, on this thread.

    Neither can see whether the graph around it will be compiled by XLA, and one native op there ends training with
    "Detected unsupported operations". In a graph, they therefore use the pure-TensorFlow reference, except inside
    this block. kseg's models open it around steps that XLA does not compile; a training loop of one's own may too:

    Example:
        >>> @tf.function  # without jit_compile
        ... def step(y, logits):
        ...     with kseg.metrics.native_steps():
        ...         metric.update_state(y, logits)
    """
    before = getattr(_state, "allowed", False)
    _state.allowed = True
    try:
        yield
    finally:
        _state.allowed = before


def may_compile():
    """Whether XLA may be about to compile what is traced: in a graph, outside `native_steps`."""
    return not (tf.executing_eagerly() or getattr(_state, "allowed", False))


def metric_ops():
    """The context in which a metric or loss calls kseg's ops: native when eager or allowed, the reference otherwise."""
    return kseg_ops.use_reference() if may_compile() else contextlib.nullcontext()

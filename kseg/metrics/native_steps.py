"""Whether a metric or a loss may put a native op into the graph that is being traced."""

from __future__ import annotations

import contextlib

import kseg_ops
from kseg_ops import _graphs, _library

may_compile = _graphs.may_compile


def native_steps():
    """Say that XLA will not compile the metrics and losses that are traced in this block, on this thread.

    Neither can see whether the graph around it will be compiled by XLA. In a graph, they therefore use what XLA can
    compile: algorithms whose shapes are known beforehand, and, where kseg has no XLA support (see `kseg.show_config`),
    the pure-TensorFlow references. Inside this block they use what is fastest. kseg's models open it around steps that
    XLA does not compile; a training loop of one's own may too:

    Example:
        >>> @tf.function  # without jit_compile
        ... def step(y, logits):
        ...     with kseg.metrics.native_steps():
        ...         metric.update_state(y, logits)
    """
    return _graphs.plain_graph()


def metric_ops():
    """The context in which a metric or loss calls kseg's ops: the reference where XLA may meet them and must not."""
    if _graphs.may_compile() and _library.xla_problem():
        return kseg_ops.use_reference()
    return contextlib.nullcontext()

"""What is known of the graph that is being traced: whether XLA may compile it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from kseg_ops import _library

_state = threading.local()


@contextlib.contextmanager
def _known(plain: bool) -> Iterator[None]:
    before = getattr(_state, "plain", False)
    _state.plain = plain
    try:
        yield
    finally:
        _state.plain = before


def plain_graph() -> contextlib.AbstractContextManager:
    """Says that XLA will not compile what is traced in this block, on this thread."""
    return _known(True)


def step_ops(compiled: bool) -> contextlib.AbstractContextManager:
    """The context for a training step: with native ops wherever they can run.

    Args:
        compiled: XLA will compile the step. Without the bridge, one native op in it would end training with "Detected
            unsupported operations".
    """
    if compiled and _library.xla_problem():
        return _library.use_reference()
    return _known(not compiled)


def may_compile() -> bool:
    """Whether XLA may be about to compile what is traced: in a graph of which nothing is known."""
    import tensorflow as tf

    return not (tf.executing_eagerly() or getattr(_state, "plain", False))


def is_for_xla(name: str) -> bool:
    """Whether the graph around the op `name` has to suit XLA: static shapes, and no stock op that XLA gets wrong.

    Where the native op runs and XLA cannot compile it, nothing else has to be compiled either.
    """
    return _library.native_op(name) is None or (may_compile() and not _library.xla_problem())

"""Keyword arguments that no model knows."""

from __future__ import annotations

import difflib
import inspect

# What every model takes beside the arguments that its constructor names.
COMMON = ("trainable", "frozen_batch_norm")


def check_keywords(model, keywords):
    """Refuse keyword arguments that nothing would read.

    Args:
        model: the class whose constructor they were given to.
        keywords: their names.

    Raises:
        TypeError: naming the argument and those that are spelled like it.
    """
    known = [name for name in inspect.signature(model.__init__).parameters if name not in ("self", "kwargs")]
    for name in keywords:
        if name not in COMMON:
            near = difflib.get_close_matches(name, [*known, *COMMON])
            hint = f"did you mean {' or '.join(near)}?" if near else f"it takes {', '.join(known)}"
            raise TypeError(f"{model.__name__} got an unexpected keyword argument {name!r}; {hint}")

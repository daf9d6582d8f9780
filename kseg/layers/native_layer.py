"""The base of layers that run a compiled op."""

from __future__ import annotations

import keras

from kseg_ops import _library


class NativeLayer(keras.layers.Layer):
    """A layer around ops of `kseg_ops`.

    XLA cannot compile the compiled ops yet, so such a layer declares `supports_jit` only where the references run;
    Keras's `jit_compile="auto"` then leaves XLA off. To force XLA, build the model under `KSEG_NATIVE=0`, or call it
    within `kseg_ops.use_reference()`; kseg's own models do the latter by themselves.

    A subclass names its ops in `native_ops`. One that takes coordinates passes `autocast=False` on: under
    `mixed_bfloat16` a box edge at 1003.3 would arrive as 1004.
    """

    native_ops: tuple[str, ...] = ()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = all(_library.native_op(name) is None for name in self.native_ops)

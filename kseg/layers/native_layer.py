"""The base of layers that run a compiled op."""

from __future__ import annotations

import keras

from kseg_ops import _library


class NativeLayer(keras.layers.Layer):
    """A layer around ops of `kseg_ops`.

    Such a layer declares `supports_jit` where XLA can compile its ops: with XLA support (see `kseg.show_config`), or
    where the references run. Elsewhere Keras's `jit_compile="auto"` leaves XLA off; to force XLA there, build the model
    under `KSEG_NATIVE=0`, or call it within `kseg_ops.use_reference()`, as kseg's own models do in their steps.

    A subclass names its ops in `native_ops`. One that takes coordinates passes `autocast=False` on: under
    `mixed_bfloat16` a box edge at 1003.3 would arrive as 1004.
    """

    native_ops: tuple[str, ...] = ()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = _library.jit_ready(self.native_ops)

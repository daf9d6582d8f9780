"""One module per op, each with `run(timer) -> list[Row]`."""

import contextlib

# A baseline of some ops, with torch. Before any module here imports TensorFlow: the other way round, the two copies of
# LLVM in them end the process on some installations ("registered more than once").
with contextlib.suppress(ImportError):
    import torchvision  # noqa: F401

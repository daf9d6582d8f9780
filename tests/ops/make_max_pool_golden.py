"""Records what PyTorch's max pooling and unpooling give, for test_max_pool_with_indices.py and test_max_unpool2d.py.

Run with PyTorch installed: `python tests/ops/make_max_pool_golden.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

# Window, stride and padding in PyTorch's sense: on every side, which is "same" where it is even.
CASES = ((2, 2, 0), (3, 2, 0), (3, 1, 1), (5, 3, 2))
SIZE = (13, 10)


def main() -> None:
    generator = np.random.default_rng(0)
    # Few different values, so that windows hold equal ones, with -inf and a NaN among them.
    x = generator.integers(-3, 4, (2, 3, *SIZE)).astype(np.float32)
    x[generator.random(x.shape) < 0.1] = -np.inf
    x[0, 0, 4, 4] = np.nan
    arrays = {"x": x.transpose(0, 2, 3, 1)}
    for window, stride, padding in CASES:
        y, indices = functional.max_pool2d(torch.from_numpy(x), window, stride, padding, return_indices=True)
        name = f"{window}_{stride}_{padding}"
        arrays[f"y_{name}"] = y.numpy().transpose(0, 2, 3, 1)
        arrays[f"indices_{name}"] = indices.numpy().astype(np.int32).transpose(0, 2, 3, 1)
        unpooled = functional.max_unpool2d(y, indices, window, stride, padding, output_size=SIZE)
        arrays[f"unpooled_{name}"] = unpooled.numpy().transpose(0, 2, 3, 1)
        leaf = torch.from_numpy(np.nan_to_num(x, nan=9, neginf=-9)).requires_grad_()
        pooled = functional.max_pool2d(leaf, window, stride, padding)
        pooled.backward(torch.arange(pooled.numel(), dtype=torch.float32).reshape(pooled.shape))
        arrays[f"gradient_{name}"] = leaf.grad.numpy().transpose(0, 2, 3, 1)
    np.savez_compressed(Path(__file__).parent / "data" / "max_pool_torch.npz", **arrays)


if __name__ == "__main__":
    main()

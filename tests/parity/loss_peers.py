"""What the losses of segmentation-models-pytorch and PyTorch give, in a process without TensorFlow.

Run as a script: reads labels and logits from one `.npz` file and writes values and gradients to another. (PyTorch and
TensorFlow bring copies of LLVM along that need not get on in one process.)
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from segmentation_models_pytorch import losses

VOID = 255


def peers():
    """Losses by name. A name starts with the number of channels and whether there are void pixels."""
    kinds = {}
    for classes, mode in ((1, "binary"), (4, "multiclass")):
        for smooth in (0.0, 1.0):
            kinds[f"{classes} full jaccard {smooth}"] = losses.JaccardLoss(mode, smooth=smooth)
        for void in ("full", "void"):
            start = f"{classes} {void}"
            for smooth in (0.0, 1.0):
                kinds[f"{start} dice {smooth}"] = losses.DiceLoss(mode, smooth=smooth, ignore_index=VOID)
            for alpha, beta in ((0.3, 0.7), (1.0, 0.25)):
                kinds[f"{start} tversky {alpha} {beta}"] = losses.TverskyLoss(
                    mode, alpha=alpha, beta=beta, smooth=1.0, ignore_index=VOID
                )
            for per_image in (False, True):
                kinds[f"{start} lovasz {per_image}"] = losses.LovaszLoss(mode, per_image, ignore_index=VOID)
    for void in ("full", "void"):
        for gamma in (0.75, 2.0):
            kinds[f"1 {void} focal_tversky {gamma}"] = losses.TverskyLoss(
                "binary", alpha=0.3, beta=0.7, gamma=gamma, smooth=1.0, ignore_index=VOID
            )
        for gamma in (1.0, 2.0):
            kinds[f"1 {void} focal {gamma}"] = losses.FocalLoss("binary", gamma=gamma, ignore_index=VOID)
        for smoothing in (0.0, 0.2):
            kinds[f"4 {void} cross_entropy {smoothing}"] = torch.nn.CrossEntropyLoss(
                ignore_index=VOID, label_smoothing=smoothing
            )
    return kinds


def main(source, target):
    """Compute everything.

    Args:
        source: with `y CLASSES VOID` and `logits CLASSES`, channels last.
        target: gets `NAME` (the value) and `NAME gradient`.
    """
    given, results = np.load(source), {}
    for name, loss in peers().items():
        classes, void = name.split()[:2]
        y = torch.tensor(given[f"y {classes} {void}"])
        logits = torch.tensor(np.moveaxis(given[f"logits {classes}"], -1, 1), requires_grad=True)
        value = loss(logits, y[:, None] if classes == "1" else y)
        value.backward()
        results[name] = value.item()
        results[f"{name} gradient"] = np.moveaxis(logits.grad.numpy(), 1, -1)
    np.savez(target, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])

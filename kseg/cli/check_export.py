"""Loads an export and compares its answers with recorded ones. Run as a script; never imports kseg.

python check_export.py SAVED_MODEL SAMPLE.npz

SAMPLE.npz holds `images` (B, H, W, C), `classes` (B, H, W) and `probabilities` (B, H, W, num_classes), as kseg
computed them. Exit code 0 if they agree.
"""

from __future__ import annotations

import sys

# Two graphs of the same float32 operations, fused and ordered differently: the logits differ in their last bits, and
# probabilities (whose slope in the logits is at most 1/4) by far less than this.
PROBABILITY_TOLERANCE = 1e-4


def main(arguments: list[str]) -> int:
    """Compares; prints one line."""
    import numpy as np
    import tensorflow as tf

    path, sample = arguments
    recorded = np.load(sample)
    images = recorded["images"]
    signatures = tf.saved_model.load(path).signatures
    kind = images.dtype.name if f"classes_{images.dtype.name}" in signatures else "float"
    given = tf.constant(images if kind != "float" else images.astype(np.float32))
    classes = signatures[f"classes_{kind}"](images=given)["classes"].numpy()
    probabilities = signatures[f"probabilities_{kind}"](images=given)["probabilities"].numpy()
    imported = sorted(name for name in sys.modules if name.split(".")[0] in ("kseg", "kseg_ops", "kseg_cli"))
    if imported:
        sys.stdout.write(f"FAILED: {imported[0]} was imported\n")
        return 1
    difference = float(np.abs(probabilities - recorded["probabilities"]).max())
    # A pixel may change class only where its two likeliest classes tie within the tolerance.
    ordered = np.sort(recorded["probabilities"], axis=-1)
    margin = ordered[..., -1] - ordered[..., -2] if ordered.shape[-1] > 1 else 2 * np.abs(ordered[..., 0] - 0.5)
    wrong = (classes != recorded["classes"]) & (margin > 2 * PROBABILITY_TOLERANCE)
    if wrong.any() or not difference <= PROBABILITY_TOLERANCE:
        sys.stdout.write(f"FAILED: {int(wrong.sum())} pixels differ, probabilities by up to {difference:.2g}\n")
        return 1
    agree = float((classes == recorded["classes"]).mean())
    sys.stdout.write(f"{100 * agree:.4g} % of pixels the same class, probabilities within {difference:.1g}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

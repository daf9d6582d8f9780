"""Loads an export and compares its answers with recorded ones. Run as a script; never imports kseg.

python check_export.py SAVED_MODEL SAMPLE.npz

SAMPLE.npz holds `images` (B, H, W, C) and what kseg computed of them: `classes` (B, H, W) and `probabilities`
(B, H, W, num_classes), or of a model that finds objects `boxes` (B, D, 4), `scores` (B, D), `classes` (B, D), -1 for
none, and, where it draws them, `masks` (B, D, h, w). Exit code 0 if they agree.
"""

from __future__ import annotations

import sys

# Two graphs of the same float32 operations, fused and ordered differently: the logits differ in their last bits, and
# probabilities (whose slope in the logits is at most 1/4) by far less than this.
PROBABILITY_TOLERANCE = 1e-4
# Of boxes, in lengths of the image. Masks are drawn of features at boxes that may be so far apart.
BOX_TOLERANCE = 1e-4
MASK_TOLERANCE = 1e-2


def main(arguments: list[str]) -> int:
    """Compares; prints one line."""
    import numpy as np
    import tensorflow as tf

    path, sample = arguments
    recorded = dict(np.load(sample))
    images = recorded.pop("images")
    signatures = tf.saved_model.load(path).signatures
    compare, names = (objects, ["detections"]) if "boxes" in recorded else (class_maps, ["classes", "probabilities"])
    kind = images.dtype.name if f"{names[0]}_{images.dtype.name}" in signatures else "float"
    given = tf.constant(images if kind != "float" else images.astype(np.float32))
    found = {}
    for name in names:
        found |= {key: value.numpy() for key, value in signatures[f"{name}_{kind}"](images=given).items()}
    imported = sorted(name for name in sys.modules if name.split(".")[0] in ("kseg", "kseg_ops", "kseg_cli"))
    if imported:
        sys.stdout.write(f"FAILED: {imported[0]} was imported\n")
        return 1
    agrees, line = compare(found, recorded, max(images.shape[1:3]))
    sys.stdout.write(f"{line}\n" if agrees else f"FAILED: {line}\n")
    return 0 if agrees else 1


def class_maps(found: dict, recorded: dict, length: int) -> tuple[bool, str]:
    """Whether class maps and probabilities agree, and a line about it."""
    import numpy as np

    difference = float(np.abs(found["probabilities"] - recorded["probabilities"]).max())
    # A pixel may change class only where its two likeliest classes tie within the tolerance.
    ordered = np.sort(recorded["probabilities"], axis=-1)
    margin = ordered[..., -1] - ordered[..., -2] if ordered.shape[-1] > 1 else 2 * np.abs(ordered[..., 0] - 0.5)
    same = found["classes"] == recorded["classes"]
    wrong = ~same & (margin > 2 * PROBABILITY_TOLERANCE)
    if wrong.any() or not difference <= PROBABILITY_TOLERANCE:
        return False, f"{int(wrong.sum())} pixels differ, probabilities by up to {difference:.2g}"
    return True, f"{100 * float(same.mean()):.4g} % of pixels the same class, probabilities within {difference:.1g}"


def objects(found: dict, recorded: dict, length: int) -> tuple[bool, str]:
    """Whether each object has its like on the other side, whatever their order, and a line about it."""
    if sorted(recorded) != sorted(found):
        return False, f"the export gives {', '.join(sorted(found))}, expected {', '.join(sorted(recorded))}"
    counts, alone = [], 0
    for ours, theirs in ((recorded, found), (found, recorded)):
        there = ours["classes"] >= 0
        counts.append(int(there.sum()))
        for image in range(len(there)):
            scores = ours["scores"][image]
            for index in there[image].nonzero()[0]:
                # What is nearly the least certain of all may have found no place on the other side.
                decided = scores[index] > scores[there[image]].min() + 2 * PROBABILITY_TOLERANCE
                alone += bool(decided and not _has_like(ours, theirs, image, index, length))
    if alone or abs(counts[0] - counts[1]) > 1:
        return False, f"{alone} objects have no like, of {counts[0]} expected and {counts[1]} found"
    return True, f"{counts[1]} objects, each with the expected class, score, box{' and mask' * ('masks' in recorded)}"


def _has_like(ours, theirs, image, index, length):
    import numpy as np

    same = theirs["classes"][image] == ours["classes"][image, index]
    for name, most in (
        ("scores", PROBABILITY_TOLERANCE),
        ("boxes", BOX_TOLERANCE * length),
        ("masks", MASK_TOLERANCE),
    ):
        if name in ours and name in theirs and same.any():
            difference = np.abs(theirs[name][image][same] - ours[name][image, index])
            same[same] = difference.reshape(len(difference), -1).max(axis=1) <= most
    return bool(same.any())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

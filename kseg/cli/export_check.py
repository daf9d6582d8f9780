"""Whether an export answers as the model does, asked in a process that never imports kseg."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def compare(model, exported: Path, image) -> tuple[bool, str]:
    """Compares the answers to one image.

    Args:
        model: The Keras model: of class maps, or a detector.
        exported: Folder of its export, made without a size.
        image: `(H, W, C)`, in the model's `input_range`.

    Returns:
        Whether they agree, and a line that says how well.
    """
    import numpy as np

    with tempfile.TemporaryDirectory() as scratch:
        sample = Path(scratch) / "sample.npz"
        np.savez(sample, images=image[None], **_answers(model, image))
        # -I and an empty working folder: nothing of this checkout is on the import path by accident.
        script = Path(__file__).with_name("check_export.py")
        result = subprocess.run(
            [sys.executable, "-I", str(script), str(Path(exported).resolve()), str(sample)],
            capture_output=True,
            text=True,
            cwd=scratch,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    # TensorFlow may warn of things on standard error; without an answer, its last line there says what went wrong.
    lines = (result.stdout.strip() or result.stderr.strip()).splitlines()
    return result.returncode == 0, lines[-1] if lines else "no answer"


def _answers(model, image):
    import kseg

    if isinstance(model, kseg.FasterRCNN):
        return model.predict_on_batch(image[None])
    return {
        "classes": kseg.predict(model, image)[None],
        "probabilities": kseg.predict(model, image, output="probabilities")[None],
    }

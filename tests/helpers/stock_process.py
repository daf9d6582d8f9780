"""Runs exports in a process of their own, which has TensorFlow and never imports kseg."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

import kseg

MAIN = Path(__file__).with_name("stock_process_main.py")


class StockProcess:
    """Collects exports and calls, runs them all in one process, and holds what came back.

    Args:
        folder: where exports, inputs and outputs go.

    Attributes:
        imported: modules of kseg in that process: none, or the test means nothing.
        report: for each export what `stock_process_main.py` says about it.
    """

    def __init__(self, folder):
        self.folder, self.jobs, self.report = folder, {}, None

    def export(self, name, model, **options):
        done = kseg.export(model, self.folder / name, **options)
        self.jobs[name] = {"model": str(done.path), "calls": []}
        return done

    def call(self, name, signature, case="x", **inputs):
        stem = self.folder / f"{name}-{signature}-{case}"
        np.savez(f"{stem}-in.npz", **inputs)
        self.jobs[name]["calls"].append([signature, f"{stem}-in.npz", f"{stem}-out.npz"])

    def run(self):
        (self.folder / "jobs.json").write_text(json.dumps(list(self.jobs.values())))
        # -I: neither the current folder nor PYTHONPATH, so that kseg would have to be installed to be found at all.
        command = [sys.executable, "-I", str(MAIN), str(self.folder / "jobs.json")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        self.imported = answer["imported"]
        self.report = dict(zip(self.jobs, answer["models"], strict=True))

    def result(self, name, signature, case="x"):
        key = f"{name}-{signature}-{case}"
        assert self.report[name]["errors"] == {k: v for k, v in self.report[name]["errors"].items() if "wrong" in k}
        with np.load(self.folder / f"{key}-out.npz") as file:
            return dict(file)

    def error(self, name, signature, case):
        return self.report[name]["errors"][f"{signature} {name}-{signature}-{case}-in"]

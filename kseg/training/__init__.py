"""Training that can be killed at any moment and resumed bit for bit."""

from __future__ import annotations

from .checkpoint_store import CheckpointError, CheckpointStore
from .interruption import TrainingInterrupted
from .progress import TrainingProgress
from .trainer import Trainer, TrainingError

__all__ = ["CheckpointError", "CheckpointStore", "Trainer", "TrainingError", "TrainingInterrupted", "TrainingProgress"]

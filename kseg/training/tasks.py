"""The tasks of runs by their names."""

from __future__ import annotations

from .instance_task import InstanceTask
from .run_config import RunConfig
from .semantic_task import SemanticTask
from .task import Task

TASKS = {"semantic": SemanticTask, "instance": InstanceTask}


def task_of(config: RunConfig) -> Task:
    """The task of a run."""
    return TASKS[config.task](config)

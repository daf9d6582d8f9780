"""Runs that learn to find objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from kseg.callbacks import CocoEvaluation, PredictionLog
from kseg.data.coco import check_images
from kseg.data.errors import DataError
from kseg.models.region_model import LARGEST_GRADIENT

from .architectures import DETECTORS, build_detector
from .instance_evaluation import evaluate_instances, iou_types, make_evaluator
from .instance_report import write_instance_report
from .task import Task, fits_in_memory

# The sides of images of several sizes where none are set.
_SIDES = (800, 1333)


class InstanceTask(Task):
    """Images and objects; any model of `architectures.DETECTORS`; the best epoch by COCO's AP.

    That is the AP of masks, of boxes for a detector without masks, on validation images resized as those of training.

    Args:
        config: Settings of the run.
    """

    monitor = "AP"

    def open_folder(self):
        from kseg.data import open_coco

        config = self.config
        self._opened = open_coco(
            config.data,
            config.val_fraction,
            config.val_count,
            config.seed,
            on_bad=config.on_bad,
            boxes_as_masks=not DETECTORS[config.model].masks,
        )
        return self._opened

    def of_cells(self, cells):
        from kseg.data import CellInstancesSource

        return CellInstancesSource(cells)

    def check_data(self, tell: Callable[[str], None]) -> None:
        """Reads every image; annotations were checked when the sources were opened.

        Raises:
            kseg.data.DataError: Images cannot be read, all of them named; or there is no object to learn from.
        """
        if self.config.data is None:
            return
        train, _ = self._opened
        check_images([getattr(source, "source", source) for source in self._opened])
        if not sum(train.counts):
            raise DataError(f"{self.config.data}: none of the {len(train)} training images has an object")

    def facts(self, train, validation) -> dict:
        sides = (self.config.min_side, self.config.max_side)
        if sides[0] is None and len({*train.sizes, *validation.sizes}) > 1:
            sides = _SIDES
        whole = getattr(train, "source", train)  # a part of a source has no category ids of its own
        return {"sides": list(sides), "category_ids": getattr(whole, "category_ids", None)}

    def steps_per_epoch(self, train) -> int:
        return int(self.train_batches(train, 0, 0).cardinality())

    def build_model(self, train, steps: int) -> keras.Model:
        return self.compile(build_detector(self.config, train), steps)

    def optimizer(self, rate):
        return keras.optimizers.Adam(rate, global_clipnorm=LARGEST_GRADIENT)

    def train_batches(self, train, epoch: int, start: int) -> tf.data.Dataset:
        return self._batches(
            train, augment=augmentation(self.config.augment), shuffle=True, epoch=epoch, start_batch=start
        )

    def validation_batches(self, validation) -> tf.data.Dataset:
        return self._batches(validation)

    def _batches(self, source, **options):
        from kseg.data import instance_pipeline

        config = self.config
        return instance_pipeline(
            source,
            config.batch_size,
            min_side=config.min_side,
            max_side=config.max_side,
            max_instances=config.max_instances,
            seed=config.seed,
            cache=fits_in_memory(source),
            **options,
        )

    def callbacks(self, model, log_dir: Path, validation) -> list[keras.callbacks.Callback]:
        evaluator = make_evaluator(model, validation.class_names, iou_types(model)[0])
        return [CocoEvaluation(self.validation_batches(validation), evaluator), PredictionLog(log_dir)]

    def write_report(self, folder, facts, model, source, history, best_epoch, more):
        evaluation = evaluate_instances(model, source, facts["sides"])
        write_instance_report(folder, self.config, facts, model, source, evaluation, history, best_epoch)
        return evaluation


def augmentation(name: str):
    """The augmentation of a `RunConfig.augment` name."""
    from kseg.data import InstanceAugment

    return {
        "none": None,
        "light": InstanceAugment(flip="horizontal", brightness=0.1, contrast=0.1),
        "full": InstanceAugment(flip="both", scale=(0.6, 1.4), copy_paste=0.5, brightness=0.1, contrast=0.2),
    }[name]

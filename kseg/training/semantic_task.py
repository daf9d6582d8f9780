"""Runs that learn the class of each pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from kseg.callbacks import PredictionLog

from .architectures import build_network
from .loss_sums import make_loss
from .rare_classes import class_weights, crop_place
from .run_config import ConfigError
from .run_report import write_run_report
from .task import Task, fits_in_memory, spread

# Validation runs on whole images up to this side, in pixels; on the centre of larger ones. The figures of the report
# are computed afterwards on whole images whatever their size, in tiles.
_MAX_VALIDATION_SIDE = 1024


class SemanticTask(Task):
    """Images and masks; any model of `architectures.MODELS`; the best epoch by mean IoU.

    Args:
        config: Settings of the run.
    """

    monitor = "mean_iou"

    def open_folder(self):
        from kseg.data import open_folder

        config = self.config
        return open_folder(
            config.data,
            val_fraction=config.val_fraction,
            val_count=config.val_count,
            seed=config.seed,
            num_classes=config.num_classes,
            ignore_index=config.ignore_index,
            mask_suffix=config.mask_suffix,
            mask_values=parse_mask_values(config.mask_values),
        )

    def of_cells(self, cells):
        return cells

    def check_data(self, tell: Callable[[str], None]) -> None:
        for part, report in folder_reports(self.config.data, self.config):
            for warning in report.warnings:
                tell(f"{part}: {warning}")

    def facts(self, train, validation) -> dict:
        sizes = {*(train.sizes or ()), *(validation.sizes or ())}
        if self.config.crop_size is None and self.config.batch_size > 1 and len(sizes) > 1:
            raise ConfigError(
                f"crop_size: the images have {len(sizes)} different sizes, which cannot share a batch; "
                "expected --crop-size (say, 256) or --batch-size 1, got neither."
            )
        return {"ignore_index": train.ignore_index}

    def steps_per_epoch(self, train) -> int:
        return -(-len(train) // self.config.batch_size)

    def build_model(self, train, steps: int) -> keras.Model:
        import kseg

        ignore_index = train.ignore_index
        return self.compile(
            build_network(self.config, train),
            steps,
            loss=make_loss(self.config.loss, ignore_index, class_weights(self.config, train)),
            metrics=[
                kseg.metrics.MeanIoU(train.num_classes, ignore_index=ignore_index, name="mean_iou"),
                kseg.metrics.PixelAccuracy(train.num_classes, ignore_index=ignore_index, name="pixel_accuracy"),
            ],
        )

    def train_batches(self, train, epoch: int, start: int) -> tf.data.Dataset:
        from kseg.data import pipeline

        config = self.config
        return pipeline(
            train,
            config.batch_size,
            crop_size=config.crop_size,
            random_crop=crop_place(config),
            augment=augmentation(config.augment),
            shuffle=True,
            seed=config.seed,
            epoch=epoch,
            start_batch=start,
            cache=fits_in_memory(train),
        )

    def validation_batches(self, validation) -> tf.data.Dataset:
        """Whole validation images in order; the centre of very large ones; singly where their sizes differ."""
        from kseg.data import pipeline

        config, sizes = self.config, validation.sizes
        batch, crop = 1, None
        if sizes is not None:
            if max(max(size) for size in sizes) > _MAX_VALIDATION_SIDE:
                crop = _MAX_VALIDATION_SIDE
            if crop or len(set(sizes)) == 1:
                # No more pixels at once than training has: what trains also validates.
                height, width = (crop, crop) if crop else sizes[0]
                trained = config.batch_size * (config.crop_size**2 if config.crop_size else height * width)
                batch = min(max(trained // (height * width), 1), config.batch_size)
        return pipeline(validation, batch, crop_size=crop, random_crop=False, cache=fits_in_memory(validation))

    def callbacks(self, model, log_dir: Path, validation) -> list[keras.callbacks.Callback]:
        samples = [validation.load(index) for index in spread(len(validation), 4)]
        return [PredictionLog(log_dir, samples, every=max(1, self.config.epochs // 10))]

    def write_report(self, folder, facts, model, source, history, best_epoch, more):
        return write_run_report(
            folder,
            self.config,
            facts,
            model,
            source,
            history,
            best_epoch,
            comparison=more.get("comparison", ()),
            notes=more.get("notes", ()),
            extra_metrics=more.get("metrics"),
        )


def folder_reports(folder: str | Path | None, settings, *, strict: bool = True):
    """Checks the parts of a data folder one after the other.

    Args:
        folder: Data folder; `None` has no parts.
        settings: Holds `num_classes`, `ignore_index`, `mask_suffix` and `mask_values` (text), as a `RunConfig` does.
        strict: See `kseg.data.check_folder`.

    Yields:
        `(part, FolderReport)`.
    """
    from kseg.data import check_folder

    for part in data_parts(folder):
        yield (
            part,
            check_folder(
                part / "images",
                part / "masks",
                num_classes=settings.num_classes,
                ignore_index=settings.ignore_index,
                mask_suffix=settings.mask_suffix,
                mask_values=parse_mask_values(settings.mask_values),
                strict=strict,
            ),
        )


def data_parts(folder: str | Path | None) -> list[Path]:
    """The folders that hold `images` and `masks`: train and val, or the folder itself; none for generated cells."""
    if folder is None:
        return []
    root = Path(folder)
    return [root / name for name in ("train", "val") if (root / name).is_dir()] or [root]


def parse_mask_values(text: str | None) -> dict[int, int] | None:
    """Turns "0=0,255=1" into {0: 0, 255: 1}."""
    if text is None:
        return None
    try:
        return {int(value): int(label) for value, label in (pair.split("=") for pair in text.split(","))}
    except ValueError as error:
        raise ConfigError(f'mask_values: expected value=class pairs such as "0=0,255=1", got {text!r}.') from error


def augmentation(name: str):
    """The augmentation of a `RunConfig.augment` name."""
    from kseg.data import Augment

    if name == "none":
        return None
    if name == "light":
        return Augment(flip="horizontal", brightness=0.1, contrast=0.1)
    return Augment(
        flip="both",
        rotate90=True,
        rotate=15,
        scale=0.2,
        elastic=4,
        brightness=0.1,
        contrast=0.2,
        noise=0.02,
        fill="reflect",
    )

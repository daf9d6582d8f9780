"""A whole run: data, model, training, figures, report."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kseg.callbacks import PredictionLog

from .architectures import build_network
from .evaluation import Evaluation
from .loss_sums import make_loss
from .progress import TrainingProgress
from .rare_classes import class_weights, crop_place
from .run_config import ConfigError, RunConfig
from .run_folder import RunFolder
from .run_report import write_run_report
from .trainer import Trainer

# Validation runs on whole images up to this side, in pixels; on the centre of larger ones. The figures of the report
# are computed afterwards on whole images whatever their size, in tiles.
_MAX_VALIDATION_SIDE = 1024
_CACHE_BYTES = 2**30


def train_run(
    config: RunConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_seconds: float | None = 60.0,
    checkpoint_batches: int | None = None,
    progress: TrainingProgress | None = None,
    extras: Callable | None = None,
) -> Evaluation:
    """Trains a model as `config` says and fills a run folder.

    Args:
        config: Settings.
        run_dir: The run folder (see `RunFolder`).
        resume: Continue the run in `run_dir`; `config` must be the one that it holds.
        overwrite: Replace an earlier run in `run_dir`.
        checkpoint_seconds: See `Trainer`. No influence on the result.
        checkpoint_batches: Likewise.
        progress: Shows progress.
        extras: Called with the source of the final figures before the report is written; returns a mapping that may
            hold `comparison`, `notes` (see `kseg.viz.write_report`) and `metrics` (entries of metrics.json).

    Returns:
        The `Evaluation` of the best model on the images of `open_judged`.

    Raises:
        ConfigError: The settings do not fit the data, or the data differ from those that the run began with.
        TrainingInterrupted: Training stopped on request; resume it.
        kseg.data.DataError: The data folder has a problem.
    """
    folder = RunFolder(run_dir)
    progress = TrainingProgress() if progress is None else progress
    train, validation = open_sources(config)
    facts = _facts(config, train, validation)
    if resume:
        _check_same_data(RunConfig.load(folder.config)[1], facts)
    else:
        check_data(config, progress.message)
        folder.create(overwrite)
    keras.utils.set_random_seed(config.seed)
    if config.deterministic and not config.jit:
        # Keras refuses jit_compile beside it.
        tf.config.experimental.enable_op_determinism()
    policy = keras.config.dtype_policy()
    try:
        if config.mixed_precision != "none":
            keras.config.set_dtype_policy(f"mixed_{config.mixed_precision}")
        model = build_model(config, train, steps=steps_per_epoch(config, train))
    finally:
        keras.config.set_dtype_policy(policy)
    facts["parameters"] = int(model.count_params())
    if not resume:
        config.save(folder.config, facts)
    progress.message(
        f"{len(train)} training and {len(validation)} validation images, {facts['classes']} classes, "
        f"{facts['parameters']:,} parameters"
    )
    samples = [validation.load(index) for index in _spread(len(validation), 4)]
    trainer = Trainer(
        model,
        lambda epoch, start: train_batches(config, train, epoch, start),
        steps_per_epoch(config, train),
        epochs=config.epochs,
        run_dir=folder.path,
        validation_batches=lambda: validation_batches(config, validation),
        callbacks=[PredictionLog(folder.tensorboard, samples, every=max(1, config.epochs // 10))],
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_batches=checkpoint_batches,
        progress=progress,
    )
    history = trainer.fit(resume=resume)
    judged = open_judged(config, validation)
    progress.message(f"Evaluating the best model (epoch {trainer.best_epoch}) on {len(judged)} images ...")
    best = keras.models.load_model(folder.best, compile=False)
    more = extras(judged) if extras is not None else {}
    return write_run_report(
        folder,
        config,
        facts,
        best,
        judged,
        history,
        trainer.best_epoch,
        comparison=more.get("comparison", ()),
        notes=more.get("notes", ()),
        extra_metrics=more.get("metrics"),
    )


def open_sources(config: RunConfig):
    """Opens the data of a run.

    Args:
        config: Settings.

    Returns:
        `(training source, validation source)`.
    """
    from kseg.data import open_folder

    if config.data is None:
        return _cells(config, config.cells_train, 0), _cells(config, config.cells_val, 1)
    train, validation = open_folder(
        config.data,
        val_fraction=config.val_fraction,
        val_count=config.val_count,
        seed=config.seed,
        num_classes=config.num_classes,
        ignore_index=config.ignore_index,
        mask_suffix=config.mask_suffix,
        mask_values=parse_mask_values(config.mask_values),
    )
    return train, validation


def open_judged(config: RunConfig, validation):
    """Opens the images that the final figures of a run are about.

    Args:
        config: Settings.
        validation: The validation source of `open_sources`.

    Returns:
        For generated cells a third set, which had no part in training nor in the choice of the best epoch; for a data
        folder, which has no third part, the validation source.
    """
    return _cells(config, config.cells_val, 2) if config.data is None else validation


def _cells(config, count, part):
    from kseg.data import CellsSource

    # A seed for each part: no image of one is an image of another.
    return CellsSource(count, size=config.cells_size, seed=3 * config.seed + part)


def check_data(config: RunConfig, tell: Callable[[str], None]) -> None:
    """Reads every image and mask of the run's folder before training starts.

    Args:
        config: Settings.
        tell: Called with each warning.

    Raises:
        kseg.data.DataError: Files have problems; the text lists them all.
    """
    for part, report in folder_reports(config.data, config):
        for warning in report.warnings:
            tell(f"{part}: {warning}")


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


def build_model(config: RunConfig, source, steps: int) -> keras.Model:
    """Builds and compiles the model of a run.

    Args:
        config: Settings.
        source: Training source; gives classes, channels and input range.
        steps: Batches per epoch, for the learning rate schedule.

    Returns:
        A compiled model.
    """
    import kseg

    model = build_network(config, source)
    rate = config.lr
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(config.lr, config.epochs * steps, alpha=0.01)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=make_loss(config.loss, source.ignore_index, class_weights(config, source)),
        metrics=[
            kseg.metrics.MeanIoU(source.num_classes, ignore_index=source.ignore_index, name="mean_iou"),
            kseg.metrics.PixelAccuracy(source.num_classes, ignore_index=source.ignore_index, name="pixel_accuracy"),
        ],
        jit_compile=config.jit,
    )
    return model


def train_batches(config: RunConfig, source, epoch: int, start: int) -> tf.data.Dataset:
    """The batches of one epoch from `start` on; a pure function of the settings and these two numbers."""
    from kseg.data import pipeline

    return pipeline(
        source,
        config.batch_size,
        crop_size=config.crop_size,
        random_crop=crop_place(config),
        augment=augmentation(config.augment),
        shuffle=True,
        seed=config.seed,
        epoch=epoch,
        start_batch=start,
        cache=_fits_in_memory(source),
    )


def validation_batches(config: RunConfig, source) -> tf.data.Dataset:
    """Whole validation images in order; the centre of very large ones; singly where their sizes differ."""
    from kseg.data import pipeline

    sizes = source.sizes
    batch, crop = 1, None
    if sizes is not None:
        if max(max(size) for size in sizes) > _MAX_VALIDATION_SIDE:
            crop = _MAX_VALIDATION_SIDE
        if crop or len(set(sizes)) == 1:
            # No more pixels at once than training has: what trains also validates.
            height, width = (crop, crop) if crop else sizes[0]
            trained = config.batch_size * (config.crop_size**2 if config.crop_size else height * width)
            batch = min(max(trained // (height * width), 1), config.batch_size)
    return pipeline(source, batch, crop_size=crop, random_crop=False, cache=_fits_in_memory(source))


def steps_per_epoch(config: RunConfig, source) -> int:
    """Number of training batches per epoch; the last one may be smaller."""
    return -(-len(source) // config.batch_size)


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


def _fits_in_memory(source) -> bool:
    sizes = source.sizes
    if sizes is None:
        return False
    bytes_each = 4 * source.channels + 4
    return sum(height * width for height, width in sizes) * bytes_each <= _CACHE_BYTES


def _spread(count: int, wanted: int) -> list[int]:
    return sorted({int(index) for index in np.linspace(0, count - 1, min(wanted, count))})


def _facts(config, train, validation) -> dict:
    import kseg

    sizes = {*(train.sizes or ()), *(validation.sizes or ())}
    if config.crop_size is None and config.batch_size > 1 and len(sizes) > 1:
        raise ConfigError(
            f"crop_size: the images have {len(sizes)} different sizes, which cannot share a batch; "
            "expected --crop-size (say, 256) or --batch-size 1, got neither."
        )
    names = "\n".join([*train.names, "", *validation.names])
    return {
        "train_images": len(train),
        "val_images": len(validation),
        "names_sha256": hashlib.sha256(names.encode()).hexdigest(),
        "classes": train.num_classes,
        "channels": train.channels,
        "input_range": [float(value) for value in train.input_range],
        "ignore_index": train.ignore_index,
        "class_names": train.class_names,
        "versions": {
            "kseg": kseg.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _check_same_data(before: dict, now: dict) -> None:
    for key, words in (
        ("train_images", "the number of training images"),
        ("val_images", "the number of validation images"),
        ("classes", "the number of classes"),
        ("channels", "the number of channels"),
        ("input_range", "the input range"),
        ("names_sha256", "the set of file names"),
    ):
        if before.get(key) != now[key]:
            raise ConfigError(
                f"data: {words} changed since this run began ({before.get(key)} then, {now[key]} now). "
                "Restore the data, or start a new run."
            )

"""TensorBoard: scalars, and what the model sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


class PredictionLog(keras.callbacks.Callback):
    """Writes each epoch's figures and pictures of predictions for TensorBoard.

    Training figures go to `log_dir/train`, validation figures (without their `val_`) to `log_dir/validation`, so that
    TensorBoard draws both in one chart; pictures image | truth | prediction | errors to `log_dir/validation`. Needs no
    tensorboard package to write (one does to look: `tensorboard --logdir ...`). Works with
    `model.fit` as well as with `kseg.training.Trainer`.

    Args:
        log_dir: Folder of the logs.
        samples: A few `(image, mask)` pairs: image `(H, W, C)` in the model's input range, mask integer `(H, W)`.
        every: Pictures every so many epochs, at least 1, and at the first epoch.
        max_side: Larger samples are cut to their central `max_side` pixels, so that pictures cost little.

    Raises:
        ValueError: `every` is below 1.

    Example:
        >>> model.fit(dataset, callbacks=[kseg.callbacks.PredictionLog("logs", samples)])  # doctest: +SKIP
    """

    def __init__(self, log_dir: str | Path, samples: Sequence[tuple] = (), every: int = 1, max_side: int = 512):
        super().__init__()
        if every < 1:
            raise ValueError(f"PredictionLog: every must be at least 1, got {every}.")
        self.log_dir = Path(log_dir)
        self.every = every
        self._samples = [_centre(np.asarray(image), np.asarray(mask), max_side) for image, mask in samples]
        self._writers = {}

    def get_state(self) -> dict:
        """Nothing: what it has written is on the disk, and the samples need not travel in every checkpoint."""
        return {}

    def set_state(self, state: dict) -> None:
        """Takes back what `get_state` gave."""

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        for name, value in (logs or {}).items():
            part = "validation" if name.startswith("val_") else "train"
            if np.ndim(value) == 0:
                with self._writer(part).as_default():
                    _write_scalar(name.removeprefix("val_"), value, epoch + 1)
        if epoch % self.every == 0:
            self._write_pictures(epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _writer(self, part):
        if part not in self._writers:
            self._writers[part] = tf.summary.create_file_writer(str(self.log_dir / part))
        return self._writers[part]

    def _write_pictures(self, epoch):
        from kseg.viz import triptych

        for index, (image, mask) in enumerate(self._samples):
            logits = np.asarray(self.model.predict_on_batch(image[None].astype(np.float32)))[0]
            num_classes = max(2, logits.shape[-1])
            classes = logits.argmax(-1) if logits.shape[-1] > 1 else (logits[..., 0] > 0).astype(np.int32)
            picture = triptych(
                image,
                mask,
                classes,
                num_classes,
                class_names=getattr(self.model, "class_names", None) if logits.shape[-1] > 1 else None,
                ignore_index=getattr(self.model, "ignore_index", 255),
            )
            with self._writer("validation").as_default():
                _write_image(f"prediction_{index}", picture, epoch + 1)


# `tf.summary.scalar` and `tf.summary.image` need the package tensorboard, which TensorFlow brings along no longer. The
# core `tf.summary.write` does not: the two plugins' records, as described in
# tensorboard/plugins/{scalar,image}/metadata.py.


def _write_scalar(tag, value, step):
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class="DATA_CLASS_SCALAR"
    )
    tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=metadata)


def _write_image(tag, picture, step):
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="images"),
        data_class="DATA_CLASS_BLOB_SEQUENCE",
    )
    height, width = picture.shape[:2]
    record = tf.stack([tf.constant(str(width)), tf.constant(str(height)), tf.io.encode_png(picture)])
    tf.summary.write(tag, record, step=step, metadata=metadata)


def _centre(image, mask, side):
    top, left = (max(0, (length - side) // 2) for length in mask.shape)
    return image[top : top + side, left : left + side], mask[top : top + side, left : left + side]

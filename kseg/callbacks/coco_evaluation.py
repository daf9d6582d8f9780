"""COCO's figures of detections at the end of each epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

import keras

from kseg.metrics import CocoEvaluator


class CocoEvaluation(keras.callbacks.Callback):
    """Evaluates a model that detects objects after each epoch, and puts COCO's figures among the epoch's.

    They appear as `val_AP`, `val_AP50` and so on (see `kseg.metrics.CocoEvaluator.result`) in the history, and in the
    logs of the callbacks that come after this one: `ModelCheckpoint` and `EarlyStopping` can monitor them with
    `mode="max"`. Place it before those.

    Args:
        data: Batches `(images, targets)`, such as a `tf.data.Dataset`; iterated anew after each epoch, so no generator.
            `targets` are as for `CocoEvaluator.update_state`. Anything after the first two is ignored.
        evaluator: The `CocoEvaluator` to fill, which is reset first; None: one of masks.
        predict: Maps images to the predictions that `CocoEvaluator.update_state` takes; None:
            `model.predict_on_batch`, which is given the targets' `sizes`, too, if it takes them, as kseg's detectors'
            does.
        prefix: What names in the logs begin with.

    Raises:
        TypeError: `data` can be iterated only once, or cannot be at all; or `evaluator` is none.
        ValueError: At the end of an epoch, if `data` has no batches.

    Example:
        >>> evaluation = kseg.callbacks.CocoEvaluation(validation, kseg.metrics.CocoEvaluator(class_names))
        >>> best = keras.callbacks.ModelCheckpoint("best.keras", monitor="val_AP", mode="max", save_best_only=True)
        >>> model.fit(training, epochs=20, callbacks=[evaluation, best])  # doctest: +SKIP
    """

    def __init__(
        self,
        data: Iterable[tuple],
        evaluator: CocoEvaluator | None = None,
        predict: Callable | None = None,
        prefix: str = "val_",
    ):
        super().__init__()
        if not hasattr(data, "__iter__") or hasattr(data, "__next__"):
            raise TypeError(
                "CocoEvaluation: data must be batches that can be iterated again after each epoch, such as a "
                f"tf.data.Dataset or a list; got {type(data).__name__}."
            )
        if evaluator is not None and not isinstance(evaluator, CocoEvaluator):
            raise TypeError(
                f"CocoEvaluation: evaluator must be a kseg.metrics.CocoEvaluator; got {type(evaluator).__name__}."
            )
        self.evaluator = CocoEvaluator() if evaluator is None else evaluator
        self.prefix = prefix
        self._data = data
        self._predict = predict

    def get_state(self) -> dict:
        """Nothing: each evaluation begins anew."""
        return {}

    def set_state(self, state: dict) -> None:
        """Takes back what `get_state` gave."""

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        self.evaluator.reset_state()
        if hasattr(self.model, "paste_mode"):
            self.evaluator.propose_paste_mode(self.model.paste_mode)
        empty = True
        for images, targets, *_ in self._data:
            self.evaluator.update_state(targets, self._predictions(images, targets))
            empty = False
        if empty:
            raise ValueError("CocoEvaluation: data must have at least one batch; got none.")
        if logs is not None:
            logs.update({f"{self.prefix}{name}": value for name, value in self.evaluator.result().items()})

    def _predictions(self, images, targets):
        if self._predict is not None:
            return self._predict(images)
        predict = self.model.predict_on_batch
        if targets.get("sizes") is not None and "sizes" in inspect.signature(predict).parameters:
            return predict(images, sizes=targets["sizes"])
        return predict(images)

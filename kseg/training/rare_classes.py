"""What a run does for rare classes: where crops lie, and how the loss weighs classes."""

from __future__ import annotations

from .run_config import RunConfig


def crop_place(config: RunConfig):
    """Where random crops lie, for `kseg.data.pipeline`."""
    from kseg.data import ClassBalancedCrop, ForegroundCrop

    # A pixel within the crop, not at its centre, where a network would learn to expect it.
    around = {"probability": config.crop_share, "spread": 1.0}
    return {
        "anywhere": lambda: None,
        "foreground": lambda: ForegroundCrop(**around),
        "classes": lambda: ClassBalancedCrop(**around),
    }[config.crop_around]()


def class_weights(config: RunConfig, source) -> tuple | None:
    """The weights of the classes in the loss, from all masks of the training source."""
    from kseg.losses import class_weights_from_data

    if config.class_weights == "none":
        return None
    return class_weights_from_data(
        (source.load(index)[1] for index in range(len(source))),
        source.num_classes,
        method=config.class_weights.replace("-", "_"),
        ignore_index=source.ignore_index,
        absent="one",
    )

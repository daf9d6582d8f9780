"""COCO-Stuff."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from kseg.data.argument_checks import check_flag
from kseg.data.layouts.class_table import ClassTable
from kseg.data.layouts.layout_source import LayoutSource, batches, chosen, pair_folders, require_folders
from kseg.data.layouts.voc_colours import voc_colours

# COCO's ids 1..91 in their order; those in parentheses were never annotated.
_THINGS = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
    (street sign), stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
    (hat), backpack, umbrella, (shoe), (eye glasses), handbag, tie, suitcase, frisbee, skis, snowboard, sports ball,
    kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, (plate), wine glass, cup, fork,
    knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch,
    potted plant, bed, (mirror), dining table, (window), (desk), toilet, (door), tv, laptop, mouse, remote, keyboard,
    cell phone, microwave, oven, toaster, sink, refrigerator, (blender), book, clock, vase, scissors, teddy bear,
    hair drier, toothbrush, (hair brush)"""
# The ids 92..182.
_STUFF = """banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other,
    ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, floor-marble,
    floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel,
    ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper,
    pavement, pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug,
    salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table,
    tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone,
    wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood"""

_ALL = [" ".join(name.split()) for name in f"{_THINGS}, {_STUFF}".split(",")]
_USED = [number for number, name in enumerate(_ALL) if not name.startswith("(")]

COCO_STUFF = ClassTable(tuple(_ALL[number] for number in _USED), tuple(voc_colours(len(_ALL))[k] for k in _USED))
COCO_STUFF_182 = ClassTable(tuple(name.strip("()") for name in _ALL), voc_colours(len(_ALL)))

_SPLITS = {"train": "train2017", "val": "val2017"}


class COCOStuffSource(LayoutSource):
    """COCO-Stuff 164k: 80 classes of things and 91 of stuff on the photographs of COCO 2017 (Caesar et al. 2018).

    Layout: the images of COCO 2017, and stuffthingmaps_trainval2017.zip beside them (118,287 training and 5000
    validation images)::

        root/
          train2017/000000000009.jpg                  also val2017/; or both below images/
          stuffthingmaps_trainval2017/                or stuffthingmaps/, or annotations/
            train2017/000000000009.png                0..181 = COCO's id - 1, 255 = void; also val2017/

    COCO's 182 ids have 11 gaps, categories that were never annotated. The 171 others become 0..170
    (`kseg.data.COCO_STUFF`); with `keep_ids` the stored numbers stay, for models with 182 outputs
    (`kseg.data.COCO_STUFF_182`). The set publishes no palette: the colours are those of Pascal VOC's rule.

    Args:
        root: the folder drawn above.
        split: "train" or "val".
        keep_ids: keep the stored 0..181.
        channels: 3 for RGB (a few photographs are grey), 1 for luminance.

    Raises:
        DataError: another layout, a missing mask, a number that is no class; names the file and the fix.
        ValueError: no such split.

    Example:
        >>> source = kseg.data.COCOStuffSource("data/coco", split="val")
        >>> len(source.class_names)
        171
    """

    def __init__(self, root: str | Path, split: str = "train", *, keep_ids: bool = False, channels: int = 3):
        check_flag("keep_ids", keep_ids)
        folder = chosen("split", split, _SPLITS, "COCO-Stuff")
        root = Path(root)
        images = next((name for name in (folder, f"images/{folder}") if (root / name).is_dir()), folder)
        places = [f"{name}/{folder}" for name in ("stuffthingmaps_trainval2017", "stuffthingmaps", "annotations")]
        masks = next((name for name in places if (root / name).is_dir()), places[0])
        require_folders(root, (images, masks), "COCO-Stuff 164k")
        # All stored numbers, or those without the gaps.
        stored = {n: n for n in range(len(_ALL))} if keep_ids else {n: k for k, n in enumerate(_USED)}
        expected = "COCO-Stuff numbers in one channel: COCO's id - 1, 0..181 without the 11 gaps, and 255 for void"
        table = COCO_STUFF_182 if keep_ids else COCO_STUFF
        super().__init__(pair_folders(root / images, root / masks), table, stored, expected, channels)


def from_coco_stuff(
    root: str | Path,
    batch_size: int = 8,
    *,
    split: str = "train",
    keep_ids: bool = False,
    channels: int = 3,
    check: bool = False,
    **options,
) -> tf.data.Dataset:
    """A `tf.data.Dataset` of (image, label) batches of COCO-Stuff 164k.

    Args:
        root: the folder of images and stuffthingmaps; drawn at `kseg.data.COCOStuffSource`.
        batch_size: samples per batch.
        split: "train" or "val".
        keep_ids: keep the stored 0..181, of which 11 do not occur.
        channels: 3 for RGB, 1 for luminance.
        check: read every file once before, and raise one error with every problem.
        **options: of `kseg.data.pipeline`. The images have many sizes: pass crop_size or size, or batch_size=1.

    Returns:
        Data set of (image float32 `(B, H, W, channels)` of 0..255, label int32 `(B, H, W)` of 0..170, or 0..181 with
        `keep_ids`, and 255).

    Raises:
        DataError, ValueError: as `kseg.data.COCOStuffSource`; images of several sizes in one batch.

    Example:
        >>> train = kseg.data.from_coco_stuff("data/coco", 8, crop_size=512, shuffle=True)
    """
    source = COCOStuffSource(root, split, keep_ids=keep_ids, channels=channels)
    return batches(source, batch_size, check, options)

"""Prediction of image files and folders of them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
import tifffile
from PIL import Image

from kseg.data import DataError, read_image
from kseg.data.reading import EXTENSIONS
from kseg.inference.file_result import FileResult
from kseg.inference.forward import Forward
from kseg.inference.image_input import open_image, warn_about_range
from kseg.inference.predict import check_options, finished_rows
from kseg.inference.strips import make_plan, to_classes
from kseg.inference.tiling_difference import tiling_difference
from kseg.inference.tta import checked_scales, symmetries
from kseg.viz import overlay as draw_overlay
from kseg.viz import palette

# A picture to look at: larger images are drawn at every second, third, ... pixel.
OVERLAY_PIXELS = 2**24


def predict_files(
    model,
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    out_dir: str | os.PathLike,
    tile=None,
    overlap=None,
    tta=False,
    batch_size: int = 4,
    probabilities: bool | str = False,
    overlay: bool = True,
    on_result: Callable[[FileResult], None] | None = None,
    *,
    scales=(1,),
    flips=None,
) -> list[FileResult]:
    """Segments image files and writes what it finds into a folder.

    For `cell.tif` it writes `cell.png`, the class map (pixel value = class index; 8 bits with a palette, so that
    viewers show colours, 16 bits above 256 classes), `cell_overlay.png`, and on demand `cell_probabilities.npy` or
    `.tif`, float32 `(H, W, num_classes)`, written strip by strip without being held in memory (`np.load(...,
    mmap_mode="r")` reads it so).

    A file that cannot be read or does not fit the model gets a result with `error` set, and the others continue.

    Args:
        model: as for `kseg.predict`.
        paths: a file, a folder (its images, not those of folders within), or several of either.
        out_dir: folder for the results; made if missing. Existing results in it are replaced.
        tile: as for `kseg.predict`.
        overlap: as for `kseg.predict`.
        tta: as for `kseg.predict`.
        batch_size: as for `kseg.predict`.
        probabilities: `True` or `"npy"`, or `"tif"`.
        overlay: whether to draw the class map over the image.
        on_result: called with each result as soon as it is there, for progress bars.
        scales: as for `kseg.predict`.
        flips: as for `kseg.predict`.

    Returns:
        One `FileResult` per image, in the order of `paths` (folders sorted by name).

    Raises:
        FileNotFoundError: a path that does not exist.
        ValueError: no images; two that would write the same results; a result that would overwrite its own input;
            options as for `kseg.predict`.

    Example:
        >>> results = kseg.inference.predict_files(model, "scans", "predictions", tile=512)  # doctest: +SKIP
        >>> [r.error for r in results if r.error]  # doctest: +SKIP
        []
    """
    forward = Forward(model)
    check_options("classes", tta, batch_size, scales, flips)
    if probabilities not in (False, True, "npy", "tif"):
        raise ValueError(f'probabilities must be False, True, "npy" or "tif"; got {probabilities!r}.')
    form = "npy" if probabilities is True else probabilities
    out_dir = Path(out_dir)
    sources = list_images(paths)
    targets = [_Targets(source, out_dir, forward.spec.num_classes, form, overlay) for source in sources]
    check_targets([(target.source, target.all()) for target in targets])
    # Of one pixel no tiles are made; what is left are the checks that do not depend on the image.
    augmentations = {"symmetries": symmetries(tta, flips), "scales": checked_scales(scales)}
    make_plan(forward, (1, 1), tile, overlap, **augmentations)
    out_dir.mkdir(parents=True, exist_ok=True)
    options = {"tile": tile, "overlap": overlap, "augmentations": augmentations, "batch_size": batch_size}
    results, measured = [], False
    for target in targets:
        try:
            result = _predict_file(model, forward, target, options, measure=not measured)
            measured = measured or result.tiling is not None
        except (DataError, OSError, ValueError, TypeError, tf.errors.OpError) as error:
            for path in target.all():
                _beside(path).unlink(missing_ok=True)
            result = FileResult(target.source, error=sentence(target.source, error))
        results.append(result)
        if on_result is not None:
            on_result(result)
    return results


def list_images(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Path]:
    """Files as they are, folders as the images in them, sorted by name.

    Raises:
        FileNotFoundError: a path that does not exist.
        ValueError: a folder without images, or no path at all.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in EXTENSIONS and p.is_file())
            if not inside:
                raise ValueError(f"folder {path} holds no images ({', '.join(EXTENSIONS)}).")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"no such file or folder: {path}")
    if not found:
        raise ValueError("paths must name at least one image file or folder; got none.")
    return found


class _Targets:
    """The files that one image leads to."""

    def __init__(self, source, out_dir, num_classes, form, overlay):
        self.source = source
        self.classes = out_dir / (source.stem + (".png" if num_classes <= 65536 else ".tif"))
        self.probabilities = out_dir / f"{source.stem}_probabilities.{form}" if form else None
        self.overlay = out_dir / f"{source.stem}_overlay.png" if overlay else None

    def all(self):
        return [path for path in (self.classes, self.probabilities, self.overlay) if path is not None]


def check_targets(targets: list[tuple[Path, list[Path]]]) -> None:
    """Checks that no two images lead to one file, and none to a file that is an image itself.

    Args:
        targets: images, each with the files that it leads to.

    Raises:
        ValueError: they do.
    """
    writers = defaultdict(list)
    for source, paths in targets:
        for path in paths:
            # Lower case: on a file system that ignores case, A.png and a.png are one file.
            writers[str(path.resolve()).lower()].append(source)
    for path, sources in writers.items():
        if len(sources) > 1:
            names = " and ".join(str(source) for source in sources[:3])
            raise ValueError(
                f"{names} would both be written to {Path(path).name}: rename one, or predict them into two folders."
            )
    inputs = {str(source.resolve()).lower() for source, _ in targets}
    for path, sources in writers.items():
        if path in inputs:
            raise ValueError(
                f"the result of {sources[0]} would overwrite an input, {Path(path).name}: choose another out_dir."
            )


def _predict_file(model, forward, target, options, measure):
    spec = forward.spec
    image = open_image(read_image(target.source, channels=spec.channels), spec)
    warn_about_range(image, spec.input_range)
    size = image.shape[:2]
    plan = make_plan(forward, size, options["tile"], options["overlap"], **options["augmentations"])
    tiling = None
    if measure and not plan.exact and options["tile"] is not None and None in spec.fixed_size:
        tiling = _measure(model, image, plan, options)
    classes = np.empty(size, spec.class_dtype)
    scores = _open_scores(target.probabilities, (*size, spec.num_classes))
    output = "classes" if scores is None else "probabilities"
    for first, rows in finished_rows(forward, image, plan, output, options["batch_size"]):
        if scores is not None:
            scores[first : first + len(rows)] = rows
            rows = to_classes(rows, spec.class_dtype, probabilities=True)
        classes[first : first + len(rows)] = rows
    if scores is not None:
        scores.flush()
        del scores
        os.replace(_beside(target.probabilities), target.probabilities)
    colours = max(2, spec.num_classes)
    write_beside(target.classes, lambda path: _save_classes(path, classes, colours))
    if target.overlay is not None:
        step = max(1, int(np.ceil(np.sqrt(classes.size / OVERLAY_PIXELS))))
        # Every class index here is a prediction: none of them is void, whatever the model ignores in training.
        picture = draw_overlay(image[::step, ::step], classes[::step, ::step], colours, ignore_index=None)
        write_beside(target.overlay, lambda path: Image.fromarray(picture).save(path, format="PNG"))
    return FileResult(
        target.source,
        target.classes,
        target.probabilities,
        target.overlay,
        size,
        tuple(np.bincount(classes.ravel(), minlength=colours).tolist()),
        tiling,
    )


def _measure(model, image, plan, options):
    """Tiled against untiled on a crop of the middle, two tiles wide and high: enough to have inner edges."""
    crop = image
    for axis, tiles in enumerate((plan.rows, plan.columns)):
        length = min(image.shape[axis], 2 * tiles.tile_in)
        first = (image.shape[axis] - length) // 2
        crop = crop[first : first + length] if axis == 0 else crop[:, first : first + length]
    return tiling_difference(model, crop, options["tile"], options["overlap"], options["batch_size"])


def _open_scores(path, shape):
    if path is None:
        return None
    if path.suffix == ".npy":
        return np.lib.format.open_memmap(_beside(path), mode="w+", dtype=np.float32, shape=shape)
    return tifffile.memmap(
        _beside(path), shape=shape, dtype=np.float32, photometric="minisblack", planarconfig="contig", bigtiff=True
    )


def _save_classes(path, classes, colours):
    if classes.dtype == np.int32:
        tifffile.imwrite(path, classes)
        return
    picture = Image.fromarray(classes)
    if classes.dtype == np.uint8:
        picture.putpalette(palette(colours).tobytes())
    picture.save(path, format="PNG")


def _beside(path):
    return path.with_name(f".{path.name}.part{path.suffix}")


def write_beside(path: Path, save: Callable[[Path], object]) -> None:
    """Has `save` write `path`, under another name first, so that an interruption leaves no half-written result."""
    save(_beside(path))
    os.replace(_beside(path), path)


def sentence(source: Path, error: Exception) -> str:
    """What went wrong with a file, in one line that names it."""
    text = str(error).strip().split("\n")[0] or type(error).__name__
    return text if str(source) in text else f"{source}: {text}"

"""Which mask belongs to which image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kseg.data.errors import listed
from kseg.data.reading import EXTENSIONS


def pair_files(
    images_dir, masks_dir, mask_suffix: str = "", masks_argument: str = "masks_dir"
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pairs images and masks of two folders by stem; messages call the second one `masks_argument`.

    Returns:
        (image, mask) paths in the order of the stems, and what is wrong, one sentence per problem. With problems, the
        pairs are those that could be made.
    """
    images_dir, masks_dir = Path(images_dir), Path(masks_dir)
    problems: list[str] = []
    same = images_dir.is_dir() and masks_dir.is_dir() and images_dir.samefile(masks_dir)
    if same and not mask_suffix:
        return [], [
            f"images_dir and {masks_argument} are the same folder {images_dir}: pass mask_suffix, such as '_mask'"
        ]
    no_mask = (lambda path: not path.stem.endswith(mask_suffix)) if same else None
    images = files_by_stem("images_dir", images_dir, problems, accept=no_mask)
    masks = files_by_stem(masks_argument, masks_dir, problems, suffix=mask_suffix)
    return match_stems(images, masks, images_dir, masks_dir, mask_suffix, problems), problems


def match_stems(
    images: dict[str, Path], masks: dict[str, Path], images_dir: Path, masks_dir: Path, mask_suffix: str, problems: list
) -> list[tuple[Path, Path]]:
    """Pairs the files of equal stems, in their order; adds a sentence to `problems` for those that have no partner."""
    if problems and not (images and masks):
        return []
    without_mask = [images[stem] for stem in sorted(images.keys() - masks.keys())]
    without_image = [masks[stem] for stem in sorted(masks.keys() - images.keys())]
    if without_mask:
        problems.append(
            f"{len(without_mask)} of {len(images)} images have no mask named <image stem>{mask_suffix}.png (or .tif, "
            f".bmp) in {masks_dir}: {listed(path.name for path in without_mask)}"
        )
    if without_image:
        problems.append(
            f"{len(without_image)} of {len(masks)} masks have no image in {images_dir}: "
            f"{listed(path.name for path in without_image)}"
        )
    return [(images[stem], masks[stem]) for stem in sorted(images.keys() & masks.keys())]


def files_by_stem(
    argument: str,
    folder: Path,
    problems: list[str],
    *,
    suffix: str = "",
    accept: Callable | None = None,
    pattern: str = "*",
    extensions: tuple[str, ...] = EXTENSIONS,
) -> dict[str, Path]:
    """The files of a folder, images unless said otherwise, by their stems.

    Args:
        argument: what the messages call the folder.
        folder: to be looked through; hidden files and other endings are left out.
        problems: sentences are added here: no such folder, no file in it, two of the same stem.
        suffix: end of the stem that a file must have, and that the key does not.
        accept: a further condition on the path, or None.
        extensions: endings of the files that count.
        pattern: of the files below the folder; `"*/*"` looks into its folders instead.
    """
    if not folder.is_dir():
        problems.append(f"{argument}: no such folder: {folder}")
        return {}
    files = sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
    found: dict[str, Path] = {}
    for path in files:
        if (
            path.suffix.lower() not in extensions
            or not path.stem.endswith(suffix)
            or not (accept is None or accept(path))
        ):
            continue
        stem = path.stem[: len(path.stem) - len(suffix)]
        if stem in found:
            problems.append(f"{argument}: {found[stem]} and {path.name} have the same stem: keep one of them")
        else:
            found[stem] = path
    if not found:
        ending = f" whose stem ends in {suffix!r}" if suffix else ""
        problems.append(
            f"{argument}: {folder} holds no {'/'.join(e[1:] for e in extensions)} file{ending} "
            f"({len(files)} other files)"
        )
    return found

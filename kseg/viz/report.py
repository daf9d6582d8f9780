"""One self-contained HTML page about a run."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from .palette import palette

_STYLE = """
:root { color-scheme:light dark; --ink:#1c2430; --soft:#5d6878; --line:#dde2e9; --page:#f5f7fa; --card:#fff;
  --accent:#0b76b8; --bar:#d5e9f6 }
@media (prefers-color-scheme:dark) { :root { --ink:#e7ebf1; --soft:#9ba7b6; --line:#323c49; --page:#12171e;
  --card:#1b222b; --accent:#58b6ee; --bar:#20455f } }
* { box-sizing:border-box }
body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.55 -apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif }
main { max-width:1080px; margin:0 auto; padding:28px 20px 60px }
h1 { font-size:27px; line-height:1.25; margin:0 0 2px } h2 { font-size:18px; margin:0 0 12px }
p { margin:0 0 10px } .soft { color:var(--soft) } .lead { margin-bottom:22px }
section { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:18px 20px; margin:0 0 18px }
.figures { display:grid; grid-template-columns:repeat(auto-fit,minmax(165px,1fr)); gap:12px; margin:0 0 18px }
.figure { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:14px 16px }
.figure b { display:block; font-size:27px; line-height:1.2; font-weight:650; font-variant-numeric:tabular-nums }
.figure.first b { color:var(--accent) } .figure span { color:var(--soft); font-size:13px }
.scroll { overflow-x:auto }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums }
th,td { text-align:right; padding:6px 10px; border-bottom:1px solid var(--line); white-space:nowrap }
th { color:var(--soft); font-weight:600; font-size:13px } th:first-child,td:first-child { text-align:left }
tr:last-child td { border-bottom:0 }
.swatch { display:inline-block; width:12px; height:12px; border-radius:3px; margin-right:9px; vertical-align:-1px }
.meter { position:relative; z-index:0 } .meter i { position:absolute; z-index:-1; inset:5px auto 5px 4px;
  background:var(--bar); border-radius:3px }
.picture { background:#fff; border-radius:8px; padding:8px; border:1px solid var(--line) }
.picture img { display:block; max-width:100%; height:auto; margin:0 auto }
figure { margin:0 0 18px } figure:last-child { margin-bottom:0 }
figcaption { color:var(--soft); font-size:13px; margin:6px 2px 0 }
dl { display:grid; grid-template-columns:repeat(auto-fill,minmax(225px,1fr)); gap:8px 22px; margin:0 }
dl div { min-width:0 } dt { color:var(--soft); font-size:13px } dd { margin:0; overflow-wrap:anywhere }
ul { margin:0; padding-left:20px } footer { color:var(--soft); font-size:13px }
""".strip()


def write_report(
    path: str | Path,
    *,
    title: str,
    subtitle: str = "",
    figures: Sequence[tuple[str, str]] = (),
    comparison: Sequence[tuple[str, str]] = (),
    per_class: Sequence[Mapping[str, object]] = (),
    tables: Sequence[tuple[str, Sequence[Mapping[str, object]]]] = (),
    plots: Sequence[tuple[str, str | Path, str]] = (),
    curves: str | Path | None = None,
    confusion: str | Path | None = None,
    pictures: Sequence[tuple[str | Path, str]] = (),
    settings: Mapping[str, object] | None = None,
    notes: Sequence[str] = (),
    footer: str = "",
) -> Path:
    """Writes a report that a person can open anywhere: one file, no script, no link to another resource.

    Args:
        path: HTML file to write.
        title: Heading of the page.
        subtitle: A sentence under it.
        figures: Headline figures as `(value, label)`; the first one is set off.
        comparison: Other methods on the same images, `(name, figure)`.
        per_class: One mapping per class: `name`, `iou`, `dice`, `pixels`, `share` (0 to 1), and optionally `more`,
            further figures by title, the same ones for each class. `nan` is shown as a dash.
        tables: Further tables as `(title, rows)`, each row a mapping from column to value; all rows of one table have
            the same columns. `nan` is shown as a dash.
        plots: PNG files to embed as `(title, file, caption)`.
        curves: PNG file of the training curves, to embed.
        confusion: PNG file of the confusion matrix, to embed.
        pictures: PNG files to embed, each with a caption.
        settings: Name and value of each setting.
        notes: Sentences about how the figures came about.
        footer: Last line.

    Returns:
        `path`. The file is written beside and renamed, so that a reader never sees half a page.
    """
    parts = [f"<h1>{html.escape(title)}</h1>", f'<p class="soft lead">{html.escape(subtitle)}</p>']
    if figures:
        cells = (
            f'<div class="figure{" first" if index == 0 else ""}"><b>{html.escape(value)}</b>'
            f"<span>{html.escape(label)}</span></div>"
            for index, (value, label) in enumerate(figures)
        )
        parts.append(f'<div class="figures">{"".join(cells)}</div>')
    if comparison:
        rows = "".join(f"<tr><td>{html.escape(n)}</td><td>{html.escape(v)}</td></tr>" for n, v in comparison)
        parts.append(_section("Beside other methods, same images", f'<div class="scroll"><table>{rows}</table></div>'))
    if per_class:
        parts.append(_section("Per class", _class_table(per_class)))
    parts += [_section(title, _table(rows)) for title, rows in tables]
    parts += [_section(title, _picture(file, caption)) for title, file, caption in plots]
    if curves is not None:
        parts.append(_section("Training", _picture(curves, "")))
    if confusion is not None:
        text = "Each row shows where the pixels of one true class went, in percent of that class."
        parts.append(_section("Confusion matrix", _picture(confusion, text, limit=560)))
    if pictures:
        parts.append(_section("Predictions", "".join(_picture(file, caption) for file, caption in pictures)))
    if settings:
        items = "".join(
            f"<div><dt>{html.escape(str(name))}</dt><dd>{html.escape(_text(value))}</dd></div>"
            for name, value in settings.items()
        )
        parts.append(_section("Settings", f"<dl>{items}</dl>"))
    if notes:
        parts.append(_section("Notes", f"<ul>{''.join(f'<li>{html.escape(note)}</li>' for note in notes)}</ul>"))
    parts.append(f"<footer>{html.escape(footer)}</footer>")
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )
    path = Path(path)
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(page, encoding="utf-8")
    beside.replace(path)
    return path


def _section(title: str, body: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>"


def _picture(file: str | Path, caption: str, limit: int | None = None) -> str:
    data = base64.b64encode(Path(file).read_bytes()).decode("ascii")
    style = f' style="max-width:{limit}px"' if limit else ""
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    alternative = html.escape(caption or Path(file).stem.replace("_", " "), quote=True)
    return (
        f'<figure><div class="picture"><img src="data:image/png;base64,{data}" alt="{alternative}"{style}></div>'
        f"{below}</figure>"
    )


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    heads = "".join(f"<th>{html.escape(str(column))}</th>" for column in (rows[0] if rows else ()))
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row.values())}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{heads}</tr>{body}</table></div>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return _figure(value)
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))


def _class_table(per_class: Sequence[Mapping[str, object]]) -> str:
    colours = palette(len(per_class))
    rows = []
    for colour, row in zip(colours, per_class, strict=True):
        more = "".join(f"<td>{_figure(value)}</td>" for value in row.get("more", {}).values())
        swatch = f'<span class="swatch" style="background:rgb({colour[0]},{colour[1]},{colour[2]})"></span>'
        rows.append(
            f"<tr><td>{swatch}{html.escape(str(row['name']))}</td>{_meter(row['iou'])}{_meter(row['dice'])}{more}"
            f"<td>{int(row['pixels']):,}</td><td>{100 * float(row['share']):.2f} %</td></tr>"
        )
    titles = "".join(f"<th>{html.escape(title)}</th>" for title in per_class[0].get("more", {}))
    head = f"<tr><th>class</th><th>IoU</th><th>Dice</th>{titles}<th>true pixels</th><th>share</th></tr>"
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _figure(value: object) -> str:
    return "&ndash;" if math.isnan(float(value)) else f"{float(value):.4f}"


def _meter(value: object) -> str:
    number = float(value)
    if math.isnan(number):
        return "<td>&ndash;</td>"
    return f'<td class="meter"><i style="width:{94 * min(max(number, 0.0), 1.0):.1f}%"></i>{number:.4f}</td>'


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return str(value)

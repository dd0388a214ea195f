"""An evaluation as one HTML file that needs nothing else: tables, plots, pictures."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coloria.metrics import table
from coloria.metrics.baselines import gray_picture
from coloria.metrics.pairs import difference_map
from coloria.metrics.photographs import Photograph, gray_of, pixels
from coloria.metrics.plots import distribution, history
from coloria.metrics.results import Result, RowResult, Summary, picture_path
from coloria.metrics.rows import Row
from coloria.metrics.sets import Pixels
from coloria.weightfile import atomic

SHOWN = 4
"""Photographs shown as the best ones, and as the worst ones."""

THUMBNAIL = 288
"""Largest side of a picture in the report, pixels."""

HEAT_LIMIT = 30.0
"""CIEDE2000 at which the heat map's ramp ends."""

HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], float)
"""Ends and middles of matplotlib's "inferno" (CC0): dark is no difference."""


def tables(result: Result) -> str:
    """One table a measure, as HTML."""
    return "".join(_table(result, name) for name in result.pairwise) + _set_table(result)


def _table(result: Result, measure: str) -> str:
    alone = measure in result.original.figures  # as colourfulness, of which grey has none
    versus = "of the original" if alone else "against grey"
    head = ("", "mean", "95 % interval", "median", "90th pct.", versus, "s a picture")
    rows = []
    for row in result.rows_of(measure):
        s = result.summary(row, measure)
        took = result.seconds(row)
        rows.append(
            (
                row.name,
                f"{s.mean:.3f}",
                f"{s.low:.3f} … {s.high:.3f}",
                f"{s.median:.3f}",
                f"{s.p90:.3f}",
                "" if row.name == "grey" else _versus(s),
                "" if row.is_baseline or math.isnan(took) else f"{took:.3f}",
            )
        )
    whole = _html_table(result.title(measure), head, rows, _baselines(result))
    return whole + _by_group(result, measure)


def _baselines(result: Result) -> list[str]:
    return [row.name for row in (*result.rows, result.original) if row.is_baseline]


def _versus(s: Summary) -> str:
    if s.share is not None:
        return f"{s.share:.0%}"
    if s.change is None:
        return ""
    if s.change_low is None or s.change_high is None:
        return f"{s.change:+.1%}"
    return f"{s.change:+.1%} ({s.change_low:+.1%} … {s.change_high:+.1%})"


def _by_group(result: Result, measure: str) -> str:
    if len(result.groups) == 1:
        return ""
    counts = {g: sum(g == p.group for p in result.photographs) for g in result.groups[1:]}
    head = ["", *(f"{group} ({count})" for group, count in counts.items())]
    rows = [
        [row.name, *(f"{result.summary(row, measure, g).mean:.3f}" for g in counts)]
        for row in result.rows_of(measure)
    ]
    return _html_table(f"{result.title(measure)}, mean by group", head, rows, _baselines(result))


def _set_table(result: Result) -> str:
    names = [name for name in result.measures if name not in result.pairwise]
    if not names:
        return ""
    head = ["", *(result.title(name) for name in names)]
    rows = [[row.name, *(f"{row.of_set[n]:.3f}" for n in names)] for row in result.rows]
    return _html_table("Of the whole set", head, rows, _baselines(result))


def _html_table(
    caption: str, head: Iterable[str], rows: Iterable[Iterable[str]], quiet: Iterable[str] = ()
) -> str:
    """A table; rows whose first cell is in `quiet` are not what was measured."""
    shown = set(quiet)
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = ""
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        kind = ' class="base"' if first in shown else ""
        body += f'<tr{kind}><th scope="row">{escape(first)}</th>{cells}</tr>'
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def report(result: Result, rows: Sequence[Row], path: Path) -> None:
    """Writes the report.

    Args:
        result: The figures.
        rows: What was measured, the baselines left out; they colour once more what is shown.
        path: The HTML file.
    """
    page = (files("coloria.metrics") / "report.html").read_text(encoding="utf-8")
    parts = {
        "facts": _facts(result),
        "tables": tables(result),
        "history": history(result),
        "plots": "".join(distribution(result, name) for name in result.pairwise),
        "pictures": "".join(_pictures(result, row) for row in rows),
        "grid": _grid(result, rows),
        "legend": _legend(),
    }
    for name, html in parts.items():
        page = page.replace(f"<!--{name}-->", html)
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _facts(result: Result) -> str:
    settings = {k: v for k, v in result.settings.items() if v is not None}
    words = [f"{len(result.photographs)} photographs"]
    words += [f"{name.replace('_', ' ')}: {value}" for name, value in settings.items()]
    text = f"<p>{escape(' · '.join(words))}</p>"
    if result.left_out:
        lines = "".join(
            f"<li>{escape(name)}: {escape(why)}</li>" for name, why in result.left_out.items()
        )
        text += f'<p class="bad">{len(result.left_out)} left out:</p><ul>{lines}</ul>'
    return text


def _pictures(result: Result, row: Row) -> str:
    """The best and the worst photographs of a row, by its first measure with a direction."""
    found = next((r for r in result.rows if r.name == row.name), None)
    ranked = next((n for n in result.pairwise if table.get(n).better != "none"), None)
    if found is None or ranked is None:
        return ""
    order = np.argsort(found.figures[ranked], kind="stable")
    if table.get(ranked).better == "higher":
        order = order[::-1]
    shown = min(SHOWN, (len(order) + 1) // 2)
    best, worst = order[:shown], order[len(order) - shown :][::-1]
    html = f"<h2>{escape(row.name)}</h2>"
    for title, chosen in (("Best", best), ("Worst", worst)):
        strips = "".join(_strip(result, row, found, ranked, int(i)) for i in chosen)
        html += f"<h3>{title} by {escape(result.title(ranked))}</h3>{strips}"
    return html


def _strip(result: Result, row: Row, found: RowResult, ranked: str, index: int) -> str:
    photograph, size = result.photographs[index], result.settings["size"]
    truth = pixels(photograph.truth, size)
    made = row.color(photograph, truth, size)
    columns = {
        "grey": gray_picture(gray_of(truth)),
        row.name: made,
        "truth": truth,
        "CIEDE2000": heat_map(made, truth),
    }
    pictures = "".join(_figure(picture, name) for name, picture in columns.items())
    figures = ", ".join(f"{n} {found.figures[n][index]:.2f}" for n in result.pairwise)
    words = escape(f"{photograph.name}: {figures}")
    return f'<div class="strip">{pictures}<p>{words}</p></div>'


def _grid(result: Result, rows: Sequence[Row]) -> str:
    """The same photographs by every row."""
    count = len(result.photographs)
    chosen = np.unique(np.linspace(0, count - 1, min(count, 8)).round().astype(int))
    html = ""
    for index in chosen:
        photograph, size = result.photographs[index], result.settings["size"]
        truth = pixels(photograph.truth, size)
        html += '<div class="strip">' + _figure(gray_picture(gray_of(truth)), "grey")
        html += "".join(_figure(r.color(photograph, truth, size), r.name) for r in rows)
        html += _figure(truth, "truth") + f"<p>{escape(photograph.name)}</p></div>"
    return html


def heat_map(prediction: Pixels, truth: Pixels) -> Pixels:
    """CIEDE2000 of every pixel as a colour: black 0, pale yellow `HEAT_LIMIT` and more."""
    return _ramp(difference_map(prediction, truth).numpy() / HEAT_LIMIT)


def _ramp(share: NDArray[np.floating]) -> Pixels:
    at = np.linspace(0, 1, len(HEAT))
    colors = np.stack([np.interp(share, at, HEAT[:, i]) for i in range(3)], axis=-1)
    return colors.round().astype(np.uint8)


def _legend() -> str:
    ramp = _ramp(np.tile(np.linspace(0, 1, 160), (12, 1)))
    return f"CIEDE2000 0 {_image(ramp, 'from black to pale yellow')} {HEAT_LIMIT:g} and more"


def _figure(picture: Pixels, name: str) -> str:
    return f"<figure>{_image(picture, name)}<figcaption>{escape(name)}</figcaption></figure>"


def _image(picture: Pixels, name: str) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "JPEG", quality=88)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" alt="{escape(name)}" '
        f'width="{image.width}" height="{image.height}">'
    )


def index_page(result: Result, folder: Path) -> None:
    """``index.html`` of a folder that all results were kept in."""
    head = "".join(f"<th>{escape(row.name)}</th>" for row in result.rows)
    body = "".join(_index_row(result, photograph, folder) for photograph in result.photographs)
    page = (files("coloria.metrics") / "index.html").read_text(encoding="utf-8")
    page = page.replace("<!--head-->", head).replace("<!--body-->", body)
    with atomic(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _index_row(result: Result, photograph: Photograph, folder: Path) -> str:
    cells = ""
    for row in result.rows:
        path = picture_path(folder, row.name, photograph.name).relative_to(folder).as_posix()
        place = quote(path)
        cells += (
            f'<td><a href="{place}"><img loading="lazy" src="{place}" '
            f'alt="{escape(photograph.name)}, {escape(row.name)}"></a></td>'
        )
    return f'<tr><th scope="row">{escape(photograph.name)}</th>{cells}</tr>'

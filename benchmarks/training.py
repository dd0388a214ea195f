"""Times and curves of training runs, from what they recorded.

    python benchmarks/training.py RUN... [-o curves.png]

Prints the times: one row a run, one column for each kind of stage and size, `?` where a recipe
leaves it out; a column's time is that of all its stages. Draws a picture with one row a run: the
losses of pre-training, of the critic and of the adversarial stages, and what the validation says of
the results.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

from coloria.train.run import read_recipe
from coloria.train.schedule import NoGanRecipe
from coloria.train.timing import clock

KINDS = {"pretrain": "generator", "generate": "pictures", "critic": "critic", "gan": "both"}
"""Kinds of stages, as the head of the table has them."""

CURVES: dict[str, tuple[set[str], set[str]]] = {
    "pre-training: loss": ({"pretrain"}, {"train/loss"}),
    "critic alone": ({"critic"}, {"train/loss", "val/loss", "val/accuracy"}),
    "adversarial: losses": (
        {"gan"},
        {"train/critic-true", "train/critic-generated", "train/adversarial"},
    ),
    "CIEDE2000": ({"pretrain", "gan"}, {"val/ciede2000"}),
    "colourfulness, share of the truth's": ({"pretrain", "gan"}, {"val/colorfulness"}),
}
"""Title of each picture, and the kinds of stages and the figures in it."""

SMOOTH = 5
"""Rows of the log that a point of a training curve is the mean of."""

Column = tuple[str, int]


def times(run: Path) -> dict[Column, str]:
    """Time of each kind and size of stage."""
    with (run / "timing.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["stage"]: row for row in csv.DictReader(file)}
    seconds: dict[Column, float | None] = {}
    for stage in read_recipe(run, NoGanRecipe).schedule():
        row = rows.get(stage.name)
        column = (KINDS[stage.kind], stage.size)
        before = seconds.setdefault(column, None)
        if row and row["skipped"] != "True":
            seconds[column] = (before or 0.0) + float(row["seconds"])
    return {column: "?" if s is None else clock(s) for column, s in seconds.items()}


def table(runs: list[Path]) -> str:
    """The times of all runs, as Markdown."""
    found = {run: times(run) for run in runs}
    columns = list(dict.fromkeys(column for one in found.values() for column in one))
    lines = [
        ["", *(f"{kind}, {size} px" for kind, size in columns)],
        ["---", *["---:"] * len(columns)],
    ]
    for run, one in found.items():
        name = read_recipe(run, NoGanRecipe).model
        lines.append([name, *(one.get(column, "") for column in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures(run: Path) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """(kind of stage, name) to the points (step, value) of the log."""
    kinds = {stage.name: stage.kind for stage in read_recipe(run, NoGanRecipe).schedule()}
    points: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = (kinds.get(row["stage"], ""), row["name"])
            points[key].append((int(row["step"]), float(row["value"])))
    return points


def smoothed(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Means of `SMOOTH` points each."""
    parts = [points[i : i + SMOOTH] for i in range(0, len(points), SMOOTH)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]


def draw(runs: list[Path], target: Path) -> None:
    """One row a run, one column for each of `CURVES`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(CURVES), 3 * len(runs)), layout="constrained")
    axes = figure.subplots(len(runs), len(CURVES), squeeze=False)
    for run, row in zip(runs, axes, strict=True):
        logged = figures(run)
        for (title, (kinds, names)), axis in zip(CURVES.items(), row, strict=True):
            for (kind, name), points in logged.items():
                if kind in kinds and name in names:
                    shown = smoothed(points) if name.startswith("train/") else points
                    label = f"{name} ({KINDS[kind]})"
                    axis.plot(*zip(*shown, strict=True), marker=".", label=label)
            axis.set_title(f"{read_recipe(run, NoGanRecipe).model}: {title}", fontsize=9)
            axis.set_xlabel("step", fontsize=8)
            axis.tick_params(labelsize=7)
            if axis.lines:
                axis.legend(fontsize=7)
            else:  # the run has no such stage
                axis.set_visible(False)
    figure.savefig(target, dpi=100)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="PNG to draw")
    given = parser.parse_args()
    print(table(given.runs))
    if given.output:
        draw(given.runs, given.output)


if __name__ == "__main__":
    main()

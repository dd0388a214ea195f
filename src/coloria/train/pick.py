"""Scored checkpoints of the adversarial stages: kept, laid out, and the best one chosen.

Where adversarial training begins to do harm, the inflection point, upstream finds by eye. Here the
averaged generator is measured every so many steps::

    scores/
        scores.csv              step, stage, ciede2000, colorfulness, critic
        grid.png                one row a step, above them the grey pictures and the truth
        000001200.safetensors   the generator after that step, fit for coloria colorize --weights
        000001200.png           its row of the grid
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from coloria.errors import CheckpointError
from coloria.models.deoldify import DeOldify
from coloria.models.fold import fold_weight_norms
from coloria.train.log import picture_grid, written
from coloria.train.schedule import NoGanRecipe
from coloria.weightfile import Card, atomic, write_state

__all__ = ["Score", "Scores", "best", "chosen", "read_scores"]

FOLDER = "scores"
HEADINGS = ("grey", "truth")
"""Names of the first rows of the grid, and of their files."""
LABEL = 150
"""Width of what stands before a row of the grid, pixels."""


@dataclass(frozen=True)
class Score:
    """How good the generator was after a step."""

    step: int
    """Steps since the beginning of the run."""
    stage: str
    ciede2000: float
    """Mean distance from the truth; lower is better."""
    colorfulness: float
    """As a share of the truth's."""
    critic: float
    """Mean probability that the critic gives the pictures of being true, 0..1."""


def best(scores: Sequence[Score], colorfulness: float) -> Score:
    """The one with the lowest CIEDE2000 of those that are colourful enough; if none is, the most
    colourful one.
    """
    enough = [score for score in scores if score.colorfulness >= colorfulness]
    if enough:
        return min(enough, key=lambda score: score.ciede2000)
    return max(scores, key=lambda score: score.colorfulness)


def read_scores(run: Path) -> list[Score]:
    """The scores of a run folder by their steps; none where no adversarial stage has begun."""
    path = run / FOLDER / "scores.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Score(int(r["step"]), r["stage"], *(float(r[f.name]) for f in fields(Score)[2:]))
            for r in csv.DictReader(file)
        ]


def chosen(recipe: NoGanRecipe, run: Path, step: int | None) -> tuple[int, Path] | None:
    """The checkpoint to export: its step and its weight file; None where a run has no scores.

    Args:
        recipe: Of the run.
        run: The run folder.
        step: The step that the user picked; None for the rule of :func:`best`.

    Raises:
        CheckpointError: There is no score of that step.
    """
    scores = read_scores(run)
    if step is not None and not any(score.step == step for score in scores):
        there = ", ".join(str(score.step) for score in scores) or "none"
        raise CheckpointError(f"{run} has no scored checkpoint of step {step}; there are: {there}")
    if step is None and not scores:
        return None
    found = best(scores, recipe.pick.colorfulness).step if step is None else step
    return found, _file(run, found, ".safetensors")


def _file(run: Path, step: int, suffix: str) -> Path:
    return run / FOLDER / f"{step:09d}{suffix}"


class Scores:
    """Writes the scores of a run.

    Args:
        run: The run folder.
        step: The step that the run goes on from; what was scored after it is dropped, for it is
            scored again.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.run = run
        self.scores = [score for score in read_scores(run) if score.step <= step]

    def has(self, step: int) -> bool:
        """Whether that step was scored."""
        return any(score.step == step for score in self.scores)

    def add(self, score: Score, net: DeOldify, card: Card, columns: Sequence[Tensor]) -> None:
        """Keeps the generator and its pictures, and brings table and grid up to date.

        Args:
            score: Of this step.
            net: The averaged generator; it is not changed.
            card: What its weight file says about itself.
            columns: Grey, coloured and true pictures, each (B, 1 or 3, H, W) in [0, 1].
        """
        with written(self.run / FOLDER):
            folded = fold_weight_norms(deepcopy(net).eval())
            write_state(_file(self.run, score.step, ".safetensors"), folded.state_dict(), card)
            self.scores.append(score)
            if columns:
                self._draw(columns)
            self._write()

    def _draw(self, columns: Sequence[Tensor]) -> None:
        gray, colored, truth = columns
        folder = self.run / FOLDER
        names = {"grey": gray, "truth": truth, f"{self.scores[-1].step:09d}": colored}
        for name, pictures in names.items():
            row = picture_grid([one[None] for one in pictures])
            _save(folder / f"{name}.png", Image.fromarray(row))
        steps = [(f"{s.step:09d}", _words(s)) for s in self.scores]
        rows = [
            (words, Image.open(path))
            for name, words in [*((h, [h]) for h in HEADINGS), *steps]
            if (path := folder / f"{name}.png").is_file()
        ]
        _save(folder / "grid.png", _lay_out(rows))

    def _write(self) -> None:
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow([field.name for field in fields(Score)])
        table.writerows(astuple(score) for score in self.scores)
        path = self.run / FOLDER / "scores.csv"
        with atomic(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def _words(score: Score) -> list[str]:
    return [
        f"{score.stage}, step {score.step}",
        f"CIEDE2000 {score.ciede2000:.2f}",
        f"colour {score.colorfulness:.2f} critic {score.critic:.2f}",
    ]


def _lay_out(rows: Sequence[tuple[list[str], Image.Image]]) -> Image.Image:
    """Rows of pictures of equal size, each with its words before it."""
    width, height = rows[0][1].size
    font = ImageFont.load_default(size=13)
    sheet = Image.new("RGB", (LABEL + width, len(rows) * (height + 2)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (words, row) in enumerate(rows):
        top = number * (height + 2)
        pen.multiline_text((4, top + 4), "\n".join(words), "black", font)
        sheet.paste(row.resize((width, height)), (LABEL, top))
    return sheet


def _save(path: Path, image: Image.Image) -> None:
    with atomic(path) as temporary:
        image.save(temporary, "PNG")

"""The figures of an evaluation, and what they add up to."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coloria.metrics import table
from coloria.metrics.photographs import Photograph

if TYPE_CHECKING:
    import pandas

RESAMPLES = 2000
"""Bootstrap resamples: the ends of a 95 % interval then move by a few hundredths of its width."""

LEVEL = 0.95
"""Of the intervals."""

ALL = "all"
"""The name of the group of all photographs."""


@dataclass(frozen=True)
class Summary:
    """A measure over photographs; the interval is a percentile bootstrap over photographs, with
    the same resamples for every row.
    """

    mean: float
    low: float
    high: float
    median: float
    p90: float
    """90th percentile."""
    change: float | None
    """Mean against that of grey, as a share; None where grey has 0."""
    change_low: float | None
    change_high: float | None
    share: float | None
    """Of the mean of the photographs themselves, where the measure is one of a single picture."""


@dataclass
class RowResult:
    """The figures of one row."""

    name: str
    is_baseline: bool
    figures: dict[str, list[float]] = field(default_factory=dict)
    """By measure, in the order of the photographs."""
    seconds: list[float] = field(default_factory=list)
    """Of each photograph, without reading and measuring; NaN where it is not known."""
    of_set: dict[str, float] = field(default_factory=dict)
    """Measures that only a set has."""
    step: int | None = None
    """Of the training, where the row is a checkpoint."""


@dataclass
class Result:
    """An evaluation. It shows itself as a table in a notebook."""

    photographs: list[Photograph]
    measures: list[str]
    rows: list[RowResult]
    left_out: dict[str, str]
    """Why, by name."""
    settings: dict[str, Any]
    titles: dict[str, str] = field(default_factory=dict)
    """Of measures whose title depends on a network."""
    original: RowResult = field(default_factory=lambda: RowResult("original", is_baseline=True))
    """The photographs themselves, by the measures of a single picture: colourfulness."""

    @property
    def pairwise(self) -> list[str]:
        """The measures that every photograph has a figure of."""
        return [name for name in self.measures if table.get(name).scope != "set"]

    @property
    def groups(self) -> list[str]:
        """All photographs, then the groups by name, if there are any."""
        names = sorted({p.group for p in self.photographs} - {""})
        return [ALL, *names]

    def title(self, measure: str) -> str:
        """As a column's head, with the direction that is better."""
        about = table.get(measure)
        arrow = {"lower": " ↓", "higher": " ↑", "none": ""}[about.better]
        return self.titles.get(measure, about.title) + arrow

    def summary(self, row: RowResult, measure: str, group: str = ALL) -> Summary:
        """A measure over the photographs of a group."""
        chosen = self._chosen(group)
        values = np.asarray(row.figures[measure])[chosen]
        means = _resampled(values, self.settings["seed"])
        low, high = _interval(means)
        grey = np.asarray(self.rows[0].figures[measure])[chosen]
        change: list[float | None] = [None] * 3
        if self.rows[0].name == "grey" and grey.mean() and np.isfinite(grey).all():
            change[0] = float(values.mean() / grey.mean() - 1)
            greys = _resampled(grey, self.settings["seed"])
            if greys.all():  # not where a few photographs without colour are among a few
                change[1:] = _interval(means / greys - 1)
        true = np.asarray(self.original.figures.get(measure, ()))
        share = float(values.mean() / m) if true.size and (m := true[chosen].mean()) else None
        middle, p90 = (float(np.quantile(values, at)) for at in (0.5, 0.9))
        shares = (change[0], change[1], change[2], share)
        return Summary(float(values.mean()), low, high, middle, p90, *shares)

    def rows_of(self, measure: str) -> list[RowResult]:
        """The rows of a table: those of all, and the photographs themselves where they have one."""
        return self.rows + [self.original] * (measure in self.original.figures)

    def _chosen(self, group: str) -> NDArray[np.bool_]:
        return np.array([group in (ALL, p.group) for p in self.photographs])

    def seconds(self, row: RowResult) -> float:
        """Median time of a photograph, NaN where it is not known."""
        return float(np.median(row.seconds)) if row.seconds else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        return {
            "settings": self.settings,
            "photographs": len(self.photographs),
            "left_out": self.left_out,
            "original": {
                name: {g: _plain(self.summary(self.original, name, g)) for g in self.groups}
                for name in self.original.figures
            },
            "rows": [
                {
                    "name": row.name,
                    "baseline": row.is_baseline,
                    "seconds": _number(self.seconds(row)),
                    "measures": {
                        name: {g: _plain(self.summary(row, name, g)) for g in self.groups}
                        for name in self.pairwise
                    },
                    "of_set": {name: _number(value) for name, value in row.of_set.items()},
                }
                for row in self.rows
            ],
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as text; figures that are not numbers are null."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)

    def records(self) -> list[dict[str, Any]]:
        """One record a photograph and row."""
        return [
            {
                "row": row.name,
                "photograph": photograph.name,
                "group": photograph.group,
                **{name: row.figures[name][i] for name in self.pairwise},
                "seconds": row.seconds[i],
            }
            for row in self.rows
            for i, photograph in enumerate(self.photographs)
        ]

    def to_csv(self) -> str:
        """:meth:`records` as text."""
        text = StringIO(newline="")
        columns = ["row", "photograph", "group", *self.pairwise, "seconds"]
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(self.records())
        return text.getvalue()

    def to_pandas(self) -> pandas.DataFrame:
        """:meth:`records` as a data frame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            from coloria.errors import MissingExtraError

            raise MissingExtraError("a pandas table", "eval") from None
        return pandas.DataFrame(self.records())

    def _repr_html_(self) -> str:
        from coloria.metrics.report import tables

        return tables(self)


def _resampled(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Means of `RESAMPLES` resamples; the same photographs for the same number and seed."""
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):  # one at a time: all at once would be gigabytes for 50,000 pictures
        means[i] = values[random.integers(0, len(values), len(values))].mean()
    return means


def _interval(means: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _number(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _plain(summary: Summary) -> dict[str, float | None]:
    return {name: _number(value) for name, value in asdict(summary).items()}


def picture_path(folder: Path, row: str, photograph: str) -> Path:
    """Where the result of a row for a photograph is kept."""
    safe = "".join(c if c.isalnum() or c in "-_.() " else "_" for c in row)
    return folder / safe / f"{photograph}.png"

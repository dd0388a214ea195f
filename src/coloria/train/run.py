"""The folder of one training run, and how a run begins, goes on, and ends.

::

    runs/artistic-artistic-compact-20250131-120000/
        config.yaml         the recipe, every key written out
        environment.json    machine, versions, command line, commit
        log.csv             figures: step, stage, epoch, name, value
        timing.csv          time of each stage
        resumes.json        every continuation: when, from which step, with which changes
        checkpoints/        000001200.pt, and 000002400-gen-64.pt at the end of a stage
        pictures/           grids of pictures
        scores/             of adversarial stages, see coloria.train.pick
        tensorboard/        the same figures and grids for TensorBoard
        run.lock            held while a process works here
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel
from rich.table import Table
from torch import Tensor

from coloria.config import dump_recipe, load_recipe
from coloria.errors import ConfigError, NonFiniteLossError, TrainingError
from coloria.train.checkpoint import Checkpoints
from coloria.train.environment import describe
from coloria.train.events import check_tensorboard
from coloria.train.lock import LOCK, FolderLock
from coloria.train.log import Log, written
from coloria.train.timing import Timing, timing_table
from coloria.train.trainers import Training, training_of
from coloria.weightfile import atomic

__all__ = [
    "Run",
    "changes_of",
    "check_finite",
    "default_folder",
    "read_recipe",
    "run_training",
]

T = TypeVar("T", bound=BaseModel)
_log = logging.getLogger(__name__)


def default_folder(model: str, recipe: str) -> Path:
    """``runs/<model>-<recipe>-<YYYYmmdd-HHMMSS>``, local time, not there yet."""
    now = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    name = Path(recipe).stem if recipe.endswith((".yaml", ".yml")) else recipe.replace("/", "-")
    folder, number = Path("runs") / f"{model}-{name}-{now}", 2
    while folder.exists():
        folder, number = folder.with_name(f"{model}-{name}-{now}-{number}"), number + 1
    return folder


class Run(Generic[T]):
    """One run: its recipe, its records, its checkpoints. Use as a context manager.

    Made by :meth:`create` and :meth:`resume`, in the main process only.

    Attributes:
        folder: the run folder.
        recipe: the checked recipe.
        step: the step it begins or goes on from, over all stages.
        state: the checkpoint it goes on from; None at the beginning.
        checkpoints: see :class:`~coloria.train.checkpoint.Checkpoints`.
        log: see :class:`~coloria.train.log.Log`.
        timing: see :class:`~coloria.train.timing.Timing`.
    """

    def __init__(self, folder: Path, recipe: T, lock: FolderLock, keep: int) -> None:
        self.folder = folder
        self.recipe = recipe
        self.checkpoints = Checkpoints(folder / "checkpoints", keep)
        self.timing = Timing(folder / "timing.csv")
        self.step = 0
        self.state: dict[str, Any] | None = None
        self._lock = lock
        self._begin()

    @classmethod
    def create(
        cls,
        folder: str | Path,
        recipe: T,
        *,
        command: Sequence[str] | None = None,
        keep: int = 2,
    ) -> Self:
        """Begin a run in a new or empty folder.

        Args:
            folder: where; see :func:`default_folder`.
            recipe: the checked recipe.
            command: the command line to record; by default this process's.
            keep: how many checkpoints of steps stay.

        Raises:
            TrainingError: the folder holds something, cannot be made, or is in use.
            MissingExtraError: TensorBoard is not installed.
        """
        check_tensorboard()
        folder = Path(folder)
        with written(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder) as lock, written(folder):
            if any(path.name != LOCK for path in folder.iterdir()):
                raise TrainingError(
                    f"{folder} is not empty; go on with that run by --resume {folder}, or give "
                    "another folder"
                )
            _write(folder / "config.yaml", dump_recipe(recipe))
            _write_json(folder / "environment.json", describe(command))
            return cls(folder, recipe, lock, keep)

    @classmethod
    def resume(
        cls,
        folder: str | Path,
        schema: type[T],
        overrides: Sequence[str] = (),
        *,
        command: Sequence[str] | None = None,
        keep: int = 2,
    ) -> Self:
        """Go on with a run from its newest checkpoint that can be read.

        Args:
            folder: the run folder.
            schema: of its recipe.
            overrides: changes as ``--set`` takes them; they are recorded and hold from now on.
            command: the command line to record; by default this process's.
            keep: how many checkpoints of steps stay.

        Raises:
            TrainingError: not a run folder, or in use.
            CheckpointError: every checkpoint is damaged.
            ConfigError: a change is a mistake; nothing was recorded.
        """
        check_tensorboard()
        folder = Path(folder)
        recipe = read_recipe(folder, schema, overrides)
        with _locked(folder) as lock:
            run = cls(folder, recipe, lock, keep)
            run._record_resume(overrides, command)
            return run

    def _begin(self) -> None:
        """Take up the newest checkpoint, if there is one, and open the log where it stands."""
        found = self.checkpoints.latest()
        if found:
            self.state = found[1]["state"]
            self.step = int(found[1]["step"])
            self.timing.load_state_dict(found[1]["timing"])
        self.log = Log(self.folder, self.step)

    def _record_resume(self, overrides: Sequence[str], command: Sequence[str] | None) -> None:
        entry = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "step": self.step,
            "set": list(overrides),
            "environment": describe(command),
        }
        path = self.folder / "resumes.json"
        with written(path):
            _write_json(path, [*_resumes(self.folder), entry])

    def save(self, step: int, state: Mapping[str, Any], stage: str | None = None) -> Path:
        """Write a checkpoint with everything that a continuation needs.

        Args:
            step: steps since the beginning of the run, over all stages.
            state: the trainer's own, see :func:`coloria.train.checkpoint.save`.
            stage: the stage that ends here; its checkpoint is never removed.

        Raises:
            CheckpointError: it cannot be written; the earlier ones are intact.
        """
        self.log.flush()
        with written(self.timing.path):
            self.timing.write()
        whole = {
            "step": step,
            "state": dict(state),
            "timing": self.timing.state_dict(),
            "recipe": dump_recipe(self.recipe),
        }
        return self.checkpoints.save(step, whole, stage)

    def scalars(self, step: int, values: Mapping[str, float], stage: str, epoch: int = 0) -> None:
        """Record figures; see :meth:`coloria.train.log.Log.scalars`."""
        self.log.scalars(step, values, stage, epoch)

    def pictures(self, step: int, name: str, columns: Sequence[Tensor]) -> Path:
        """Record a grid of pictures; see :meth:`coloria.train.log.Log.grid`."""
        return self.log.grid(step, name, columns)

    def timing_table(self) -> Table:
        """The time of each stage, for the terminal."""
        return timing_table(list(self.timing.stages.values()))

    def close(self) -> None:
        """Write what is left and let the next process in."""
        try:
            self.log.close()
            with written(self.timing.path):
                self.timing.write()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except TrainingError as second:
            if error is None:
                raise
            _log.warning("while ending after an error: %s", second)


@contextmanager
def _locked(folder: Path) -> Iterator[FolderLock]:
    """Take the lock, and give it back if the block ends in an error."""
    with written(folder):
        lock = FolderLock(folder)
    try:
        yield lock
    except BaseException:
        lock.release()
        raise


def read_recipe(folder: str | Path, schema: type[T], overrides: Sequence[str] = ()) -> T:
    """The recipe of a run as it holds now: with the changes of all its continuations, and more.

    Reads only, so that every process of a run may call it.

    Raises:
        TrainingError: not a run folder.
        ConfigError: it does not pass the checks.
    """
    folder = _run_folder(folder)
    earlier = [change for entry in _resumes(folder) for change in entry["set"]]
    return load_recipe(folder / "config.yaml", schema, [*earlier, *overrides])


def run_training(folder: str | Path) -> Training:
    """How a run is carried out, by the model of its recipe.

    Raises:
        TrainingError: not a run folder.
        ConfigError: its recipe cannot be read.
    """
    return training_of(_run_folder(folder) / "config.yaml")


def _run_folder(folder: str | Path) -> Path:
    folder = Path(folder)
    if not (folder / "config.yaml").is_file():
        raise TrainingError(
            f"{folder} is not a run folder: it has no config.yaml; give the folder that "
            "'coloria train' made, for example one in runs/"
        )
    return folder


def changes_of(folder: Path) -> list[dict[str, Any]]:
    """What was changed on the way: step and changes of each continuation with any."""
    return [{"step": e["step"], "set": e["set"]} for e in _resumes(folder) if e["set"]]


def _resumes(folder: Path) -> list[dict[str, Any]]:
    path = folder / "resumes.json"
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [{**entry, "set": list(entry["set"])} for entry in entries]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{path} is damaged ({error}); take it away to go on with config.yaml alone"
        ) from error


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_json(path: Path, value: Any) -> None:
    _write(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def check_finite(parts: Mapping[str, float], where: str) -> None:
    """Stop before the optimiser step if a part of the loss is not a finite number.

    Args:
        parts: the parts of the loss by name.
        where: stage, epoch and step.

    Raises:
        NonFiniteLossError: the message says where, and which part it was.
    """
    bad = [f"{name} is {value}" for name, value in parts.items() if not math.isfinite(value)]
    if bad:
        others = ", ".join(f"{n} {v:.4g}" for n, v in parts.items() if math.isfinite(v))
        raise NonFiniteLossError(
            f"{where}: {', '.join(bad)}{f' (the others: {others})' if others else ''}; stopped "
            "before the step, the last checkpoint is intact; go on from it with a smaller "
            "learning rate, for example --resume RUN --set ...lr=..., or with --precision fp32"
        )

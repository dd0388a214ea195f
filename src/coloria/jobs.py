"""Which pictures are to be coloured, and where each result goes; nothing is read or written.

Results are called ``<stem>_<model>.<ext>``. Pictures found in the same run whose name says that
they are results of an earlier one (their origin is among the inputs too) are left out, so that a
folder can be coloured again and again. Hidden files and folders are passed over.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import takewhile
from pathlib import Path

from coloria.errors import OptionError, OutputIsInputError
from coloria.models import registry
from coloria.saving import FORMATS, SUFFIXES, find_format, is_picture_name

__all__ = ["BEFORE_AFTER", "Job", "Plan", "before_after_of", "output_name", "plan", "sample_of"]

BEFORE_AFTER = "_before-after"
"""What the stem of a picture ends in that shows the original and the result side by side."""


@dataclass(frozen=True)
class Job:
    """One picture to colour."""

    source: Path
    output: Path
    before_after: Path | None = None
    """Where both go, side by side, if that is wanted."""
    data: bytes | None = None
    """The file itself, where it is on no disk; `source` is then only a name for messages."""
    format: str | None = None
    """By Pillow's name; None is what the suffix of `output` says, else the picture's own."""
    sample: int | None = None
    """Which of several colourings of the picture, from 0; None of a single one."""

    @property
    def targets(self) -> list[Path]:
        """All files that it writes."""
        return [path for path in (self.output, self.before_after) if path]

    def open(self) -> Path | BytesIO:
        """What :func:`coloria.images.read_pages` takes."""
        if self.data is None:
            return self.source
        file = BytesIO(self.data)
        file.name = str(self.source)
        return file


@dataclass(frozen=True)
class Plan:
    """What a run will do."""

    jobs: list[Job]
    left_out: list[Path]
    """Results of earlier runs among the inputs."""


@dataclass(frozen=True)
class _Found:
    """A file, and the folder below which its place is kept in an output folder."""

    path: Path
    root: Path


def plan(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    suffix: str,
    format: str | None = None,
    recursive: bool = False,
    side_by_side: bool = False,
    samples: int = 1,
) -> Plan:
    """What colouring these inputs means, file by file.

    Args:
        inputs: Files, folders, and patterns such as ``scans/*.tif``.
        output: A file for the result of one picture, or a folder for all; without one, each
            result goes beside its picture. A folder keeps the tree of the inputs.
        suffix: What the stem of a result ends in, usually ``_`` and the model.
        format: Name or extension of the format of all results; without one, each keeps that of
            its picture where it can be written.
        recursive: Look into the subfolders of folders too.
        side_by_side: Also write original and result in one picture.
        samples: Colourings of each picture; of several, the stems end in ``_s1``, ``_s2``, ...

    Raises:
        OptionError: Nothing was found, a folder may not be looked into, two results would have
            one name, or `output` is a file and there are several pictures.
        OutputIsInputError: A result would replace one of the inputs.
    """
    target = Path(output) if output is not None else None
    found = _unique(f for text in inputs for f in _find(os.fspath(text), recursive, target))
    kept, left_out = _without_results(found, suffix)
    one = _one_file(target, kept, format) if target else None
    jobs = []
    for file in kept:
        whole = one or _beside(file, target, output_name(file.path, suffix, format))
        for sample in range(samples) if samples > 1 else [None]:
            path = whole if sample is None else sample_of(whole, sample)
            both = before_after_of(path) if side_by_side else None
            jobs.append(Job(file.path, path, both, sample=sample))
    _check(jobs)
    return Plan(jobs, left_out)


def output_name(source: Path, suffix: str, format: str | None = None) -> str:
    """The name of the result of a picture: its stem, the suffix, and an extension.

    Raises:
        OptionError: There is no such format.
    """
    return source.stem + suffix + _extension(source.suffix, format)


def _extension(own: str, format: str | None) -> str:
    """That of the format asked for, or the picture's own; PNG where it cannot hold a photograph
    in colour (GIF), or says nothing.
    """
    if format is not None:
        return FORMATS[find_format(format)].suffixes[0]
    return own if SUFFIXES.get(own.lower(), "GIF") != "GIF" else ".png"


def sample_of(output: Path, sample: int) -> Path:
    """The name of one of several colourings, counted from 1 where people see it."""
    return output.with_name(f"{output.stem}_s{sample + 1}{output.suffix}")


def before_after_of(output: Path) -> Path:
    """The name of the picture that shows original and result side by side."""
    return output.with_name(output.stem + BEFORE_AFTER + output.suffix)


def _find(text: str, recursive: bool, target: Path | None) -> Iterator[_Found]:
    """The files that one input stands for."""
    path = Path(text).expanduser()
    if path.is_dir():
        files = [_Found(p, path) for p in _walk(path, recursive, target)]
        hint = "" if recursive else "; --recursive looks into its subfolders too"
    elif glob.has_magic(text) and not path.exists():
        files = list(_match(path))
        hint = ""
    else:
        files, hint = [_Found(path, path.parent)], ""
    if not files:
        raise OptionError(f"wanted pictures; there are none in {text}{hint}")
    yield from files


def _walk(folder: Path, recursive: bool, target: Path | None) -> Iterator[Path]:
    """The pictures of a folder in the order of their names; an output folder in it is no input."""
    avoid = os.path.realpath(target) if target and target.is_dir() else None
    for here, folders, names in os.walk(folder, onerror=_unseen):
        folders[:] = sorted(
            n
            for n in folders
            if recursive and n[0] != "." and os.path.realpath(Path(here, n)) != avoid
        )
        for name in sorted(names):
            if name[0] != "." and is_picture_name(name):
                yield Path(here, name)


def _unseen(error: OSError) -> None:
    raise OptionError(
        f"cannot look into the folder {error.filename}: {error.strerror}; nothing was coloured"
    ) from error


def _match(pattern: Path) -> Iterator[_Found]:
    """The pictures that fit a pattern; their place is kept below its first wildcard."""
    root = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    # Path.glob takes no absolute pattern, and shows hidden files.
    for name in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207
        if Path(name).is_file() and is_picture_name(name):
            yield _Found(Path(name), root)


def _unique(found: Iterator[_Found]) -> list[_Found]:
    """Each file once, however often it was named."""
    first: dict[str, _Found] = {}
    for file in found:
        first.setdefault(_key(file.path), file)
    return list(first.values())


def _key(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))  # Path.resolve raises on a loop of links


def _without_results(found: list[_Found], suffix: str) -> tuple[list[_Found], list[Path]]:
    """The inputs, and those among them that are results of other inputs."""
    stems = {_key(file.path.parent / file.path.stem) for file in found}
    ends = [e for e in {suffix, *(f"_{name}" for name in registry.names())} if e]

    def is_result(path: Path) -> bool:
        stem = path.stem.removesuffix(BEFORE_AFTER)
        mine = {stem, re.sub(r"_s[1-9]\d*$", "", stem)}
        origins = [own.removesuffix(e) for own in mine for e in ends if own.endswith(e)]
        return any(_key(path.parent / origin) in stems for origin in origins if origin)

    left_out = [file.path for file in found if is_result(file.path)]
    return [file for file in found if file.path not in left_out], left_out


def _one_file(target: Path, found: list[_Found], format: str | None) -> Path | None:
    """The output if it names a file, not a folder."""
    if target.is_dir() or not target.suffix:
        return None
    if not is_picture_name(target):
        find_format(target.suffix)
    if len(found) != 1:
        raise OptionError(
            f"wanted a folder for {len(found)} pictures; {target} looks like one file: "
            "make the folder first, or name it without an extension"
        )
    if format and find_format(format) != SUFFIXES[target.suffix.lower()]:
        raise OptionError(f"the format asked for is {format}, the name of the output is {target}")
    return target


def _beside(file: _Found, target: Path | None, name: str) -> Path:
    """Where the result goes: beside its picture, or at its place in the output folder."""
    if target is None:
        return file.path.with_name(name)
    return target / file.path.parent.relative_to(file.root) / name


def _check(jobs: list[Job]) -> None:
    """No two results of one name, none over an input."""
    sources = {_key(job.source) for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        for target in job.targets:
            key = _key(target)
            if key in sources:
                raise OutputIsInputError(
                    f"the result of {job.source} would replace the input {target}: "
                    "choose another --suffix, or a folder with -o"
                )
            if key in taken:
                raise OptionError(
                    f"{taken[key]} and {job.source} would both become {target}: "
                    "colour them one by one, or into different folders"
                )
            taken[key] = job.source

"""Training recipes: YAML files, checked by pydantic.

A recipe is found by its name among the package's own (``coloria.configs``) or by its path. Keys
that do not exist are refused with the nearest right one, and all mistakes of a file are reported
at once.

The pieces that the recipes of all models share (:class:`DataConfig`, :class:`RunConfig`) are here;
each trainer adds its own schema, a subclass of :class:`Strict`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from coloria.errors import ConfigError, UnknownNameError
from coloria.mistakes import mistakes, models_at, show
from coloria.yaml12 import dump_yaml, parse_yaml

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "FilmConfig",
    "Recipe",
    "RecipeInfo",
    "RunConfig",
    "Strict",
    "dump_recipe",
    "list_recipes",
    "load_recipe",
    "model_of",
]

T = TypeVar("T", bound=BaseModel)


class Strict(BaseModel):
    """Base of every part of a recipe: unknown keys refused, values fixed, every field explained.

    Raises:
        TypeError: on definition, for a field without a description.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        bare = [name for name, field in cls.model_fields.items() if not field.description]
        if bare:
            raise TypeError(
                f"{cls.__name__}: no description of {', '.join(bare)}; "
                "give Field(description=...) with meaning and unit"
            )


# ------------------------------------------------------------------ what all recipes share


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("the first of the two is the smaller one")
    return pair


Probability = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
IntRange = Annotated[tuple[int, int], AfterValidator(_ordered)]


class FilmConfig(Strict):
    """How often and how far the grey input is varied as old film varies it.

    The fields are those of ``coloria.train.film.Film``, which says more about each.
    """

    share: Probability = Field(
        default=0.5,
        description="share of the samples that get any effect, 0..1; the others are plain luma",
    )
    mix: Probability = Field(
        default=0.6,
        description="probability of another mix of the colours than luma, among those, 0..1",
    )
    blur: Probability = Field(default=0.3, description="probability of blur, 0..1")
    blur_sigma: Range = Field(
        default=(0.3, 1.0),
        description="range of its standard deviation, pixels of the network's input",
    )
    grain: Probability = Field(default=0.4, description="probability of grain, 0..1")
    grain_level: Range = Field(
        default=(0.01, 0.05),
        description="range of its standard deviation at mid-grey, share of full range",
    )
    grain_size: Range = Field(
        default=(1.0, 2.0), description="range of the size of a grain, pixels"
    )
    gamma: Probability = Field(default=0.5, description="probability of another gamma, 0..1")
    gamma_range: Range = Field(
        default=(0.7, 1.45), description="range of the exponent on the grey value"
    )
    fading: Probability = Field(default=0.4, description="probability of fading, 0..1")
    black: Probability = Field(
        default=0.15, description="highest value that black is lifted to, 0..1"
    )
    white: Probability = Field(
        default=0.85, description="lowest value that white is lowered to, 0..1"
    )
    jpeg: Probability = Field(default=0.4, description="probability of a JPEG round trip, 0..1")
    quality: IntRange = Field(default=(40, 92), description="range of its quality, 1..95")


class AugmentConfig(Strict):
    """How a training photograph is varied, truth and grey together.

    The fields are those of ``coloria.train.augment.Augment``, which says more about each.
    """

    scale: Range = Field(
        default=(0.35, 1.0), description="range of the crop's area, share of the largest crop"
    )
    aspect: float = Field(default=1.25, ge=1, description="largest width : height of the crop")
    flip: Probability = Field(default=0.5, description="probability of a mirror image, 0..1")
    rotate: Probability = Field(default=0.25, description="probability of a rotation, 0..1")
    degrees: float = Field(
        default=6.0, ge=0, le=45, description="largest rotation either way, degrees"
    )
    lighting: Probability = Field(
        default=0.5, description="probability of a change of lighting, 0..1"
    )
    brightness: float = Field(
        default=0.5, ge=0, description="largest shift of the logit of the value, either way"
    )
    contrast: float = Field(
        default=1.3, ge=1, description="largest factor on the logit of the value"
    )
    saturation: Probability = Field(
        default=0.15, description="largest relative change of the saturation, either way, 0..1"
    )


class DataConfig(Strict):
    """Which photographs are used, and how they are varied."""

    train: str | list[str] | None = Field(
        default=None,
        description="folders or .zip files of colour photographs; --data goes before, "
        "the environment variable COLORIA_DATA after",
    )
    val: float | int | str | list[str] = Field(
        default=0.05,
        description="photographs for validation: a share of the training photographs (0.05), "
        "their number (500), or folders or .zip files of their own",
    )
    limit: int | None = Field(
        default=None, gt=0, description="largest number of photographs; spread over the sub-folders"
    )
    min_colorfulness: float = Field(
        default=6.0,
        ge=0,
        description="photographs below are left out: M3 of Hasler and Süsstrunk on the scale "
        "0..255; 0 keeps grey ones",
    )
    short_side: int | None = Field(
        default=None,
        gt=0,
        description="larger photographs are reduced to this shorter side, pixels",
    )
    cache_gb: float | None = Field(
        default=None,
        ge=0,
        description="memory for decoded photographs, GB; none: half of what is free",
    )
    workers: int | None = Field(
        default=None, gt=0, description="threads that read photographs; none: one a processor"
    )
    film: FilmConfig = Field(default=FilmConfig(), description="how the grey input is varied")
    augment: AugmentConfig = Field(
        default=AugmentConfig(), description="how photographs are varied"
    )


class RunConfig(Strict):
    """How a run is carried out and recorded."""

    seed: int = Field(default=42, ge=0, lt=2**32, description="of every random draw")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="number format of the network's arithmetic; auto: bf16 where the hardware "
        "multiplies it natively, else fp32",
    )
    checkpoint_every: int = Field(default=500, gt=0, description="steps between two checkpoints")
    keep: int = Field(
        default=2, gt=0, description="newest checkpoints that are kept (those of stages all)"
    )
    log_every: int = Field(default=20, gt=0, description="steps between two rows of the log")
    pictures: int = Field(default=8, ge=0, description="photographs in a picture grid")
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of the average of the weights a step; none: no average",
    )


class Recipe(Strict):
    """A whole training: what the recipes of all models share."""

    model: str = Field(description="which model the weights are for")
    default_size: int | None = Field(
        default=None,
        gt=0,
        description="short side, in pixels, at which the weights colour by default",
    )
    resize: Literal["bilinear", "bicubic", "lanczos"] = Field(
        default="bicubic",
        description="how pictures are brought to the network's size when the weights are used; "
        "training crops are resized by the bicubic filter",
    )
    mirror: bool = Field(
        default=False,
        description="when the weights are used, take the mean with the result on the mirror image",
    )
    data: DataConfig = Field(default=DataConfig(), description="photographs")
    run: RunConfig = Field(default=RunConfig(), description="how it is carried out")

    def use(self) -> dict[str, Any]:
        """How pictures are brought to the network, as a weight file's card has it."""
        return {"resize": self.resize, "mirror": self.mirror}


# ------------------------------------------------------------------ finding and checking


class RecipeInfo(NamedTuple):
    """One of the package's own recipes."""

    name: str
    """What ``--config`` takes."""
    model: str
    """The model it trains."""
    description: str
    """The first line of the comment at its beginning."""


def list_recipes() -> list[RecipeInfo]:
    """List the package's own recipes by name, the toy sizes (``smoke/``) last."""
    return [_info(name, place) for name, place in _packaged().items()]


def _packaged() -> dict[str, Traversable]:
    root = files("coloria.configs")
    found: dict[str, Traversable] = {}
    for prefix, folder in (("", root), ("smoke/", root / "smoke")):
        places = folder.iterdir() if folder.is_dir() else iter(())
        for place in sorted(places, key=lambda place: place.name):
            if place.name.endswith(".yaml"):
                found[prefix + place.name.removesuffix(".yaml")] = place
    return found


def _info(name: str, place: Traversable) -> RecipeInfo:
    text = place.read_text(encoding="utf-8")
    first = next(iter(text.splitlines()), "")
    data = parse_yaml(text, f"recipe {name}")
    model = data.get("model", "") if isinstance(data, dict) else ""
    return RecipeInfo(name, str(model), first.lstrip("# ") if first.startswith("#") else "")


def _read(name_or_path: str | Path) -> tuple[str, str]:
    """Find what to call the recipe, and its text."""
    name, known = str(name_or_path), _packaged()
    if name in known:
        return f"recipe {name}", known[name].read_text(encoding="utf-8")
    path = Path(name_or_path).expanduser()
    if not (path.suffix in {".yaml", ".yml"} or path.is_file()):
        raise UnknownNameError("recipe", name, known)
    try:
        return f"recipe {path}", path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"recipe {path} cannot be read: {reason}; give a YAML file, or one of the names "
            f"{', '.join(known)}"
        ) from error


def _parsed(name_or_path: str | Path) -> tuple[str, dict[str, Any]]:
    """What to call the recipe, and what it says, unchecked."""
    what, text = _read(name_or_path)
    data = parse_yaml(text, what)
    if not isinstance(data, dict):
        raise ConfigError(f"{what}: wanted keys and values, got {show(data)}")
    return what, data


def model_of(name_or_path: str | Path) -> str:
    """The model that a recipe names, unchecked; empty if it names none.

    Raises:
        UnknownNameError: no such recipe.
        ConfigError: it cannot be read.
    """
    return str(_parsed(name_or_path)[1].get("model", ""))


def load_recipe(name_or_path: str | Path, schema: type[T], overrides: Sequence[str] = ()) -> T:
    """Read a recipe, change what ``--set`` says, and check it.

    Args:
        name_or_path: a name of :func:`list_recipes`, or the path of a YAML file.
        schema: what the recipe must look like.
        overrides: changes as ``place=value``: the place with dots (``stages.0.lr``), the value as
            YAML.

    Returns:
        The checked recipe, with every default filled in.

    Raises:
        UnknownNameError: no such recipe.
        ConfigError: it cannot be read, or has mistakes; the message names all of them.
    """
    what, data = _parsed(name_or_path)
    for override in overrides:
        _override(data, override, schema)
    if overrides:
        what += f" with --set {' '.join(overrides)}"
    return _check(data, schema, what)


def _check(data: dict[str, Any], schema: type[T], what: str) -> T:
    """Check as JSON, where lists stand for tuples, and strictly, so that text is no number."""
    try:
        text = json.dumps(data)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what}: only plain values are wanted: {error}") from error
    try:
        return schema.model_validate_json(text, strict=True)
    except ValidationError as error:
        lines = mistakes(error.errors(), json.loads(text), schema)
        count = "one mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        raise ConfigError("\n  ".join([f"{what} has {count}:", *lines])) from error


def dump_recipe(recipe: BaseModel) -> str:
    """Write the recipe as YAML with every key; loading it gives an equal recipe."""
    return dump_yaml(recipe.model_dump(mode="json"))


# ------------------------------------------------------------------ --set


def _override(data: dict[str, Any], text: str, schema: type[BaseModel]) -> None:
    """Put one ``place=value`` into the recipe as it was read."""
    place, equals, value = text.partition("=")
    path = place.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set wants KEY=VALUE, for example stages.0.lr=1e-4; got {text!r}")
    here: Any = data
    for depth, part in enumerate(path[:-1], 1):
        key = _key(here, part, path[:depth], text)
        if isinstance(here, dict) and here.get(key) is None:
            here[key] = _default(schema, path[:depth])
        here = here[key]
    here[_key(here, path[-1], path, text)] = parse_yaml(value, f"the value of --set {text}")


def _key(here: Any, part: str, path: list[str], text: str) -> str | int:
    """Turn one step into a key or an index, checked against what is there."""
    before = ".".join(path[:-1])
    if isinstance(here, dict):
        return part
    if not isinstance(here, list):
        raise ConfigError(f"--set {text}: {before} is one value, {show(here)}, without parts")
    if part.isdecimal() and int(part) < len(here):
        return int(part)
    wanted = f"after it comes a number from 0 to {len(here) - 1}" if here else "it is empty"
    raise ConfigError(f"--set {text}: {before} is a list, {wanted}; got {part}")


def _default(schema: type[BaseModel], path: list[str]) -> Any:
    """Look up what the schema has at a place that the file leaves out, as plain values."""
    for model in models_at(schema, path[:-1]):
        field = model.model_fields.get(path[-1])
        value = field.get_default(call_default_factory=True) if field else None
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json", exclude_unset=True)
        if isinstance(value, list | tuple | dict):
            return json.loads(json.dumps(value))
    return {}

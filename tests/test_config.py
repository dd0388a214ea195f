"""Recipes: what is read, what is refused and in which words, what ``--set`` does."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from coloria.config import (
    AugmentConfig,
    DataConfig,
    FilmConfig,
    RunConfig,
    Strict,
    dump_recipe,
    list_recipes,
    load_recipe,
)
from coloria.errors import ConfigError, UnknownNameError
from coloria.yaml12 import dump_yaml, parse_yaml


class Pretrain(Strict):
    kind: Literal["pretrain"] = Field(description="which stage")
    lr: float | tuple[float, float] = Field(description="learning rate")
    epochs: int = Field(default=1, ge=1, description="passes over the data")


class Gan(Strict):
    kind: Literal["gan"] = Field(description="which stage")
    threshold: float = Field(default=0.65, description="loss at which the networks switch")


class Recipe(Strict):
    model: Literal["artistic", "stable"] = Field(description="which network")
    name: str = Field(default="none", description="some text")
    betas: tuple[float, float] = Field(default=(0.9, 0.99), description="of Adam")
    stages: list[Annotated[Pretrain | Gan, Field(discriminator="kind")]] = Field(
        description="in order"
    )
    film: FilmConfig = Field(default=FilmConfig(share=0.3), description="of this recipe")
    data: DataConfig = Field(default=DataConfig(), description="photographs")
    run: RunConfig = Field(default=RunConfig(), description="how")

    @model_validator(mode="after")
    def _distinct(self) -> Recipe:
        if self.name == "taken":
            raise ValueError("the name is taken")
        return self


GOOD = "model: artistic\nstages:\n- {kind: pretrain, lr: [1e-7, 1e-4]}\n- kind: gan\n"


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load(text: str = GOOD, *overrides: str) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path, Recipe, overrides)

    return load


def mistakes(load: Any, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    return [line.strip() for line in str(caught.value).splitlines()]


# ------------------------------------------------------------------ YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [  # YAML 1.2.2, example 10.9 (core schema), but for the numbers that are not finite
        ("null", None),
        ("", None),
        ("[true, True, false, FALSE]", [True, True, False, False]),
        ("[0, 0o7, 0x3A, -19]", [0, 7, 58, -19]),
        ("[0., -0.0, .5, +12e03, -2E+05]", [0.0, -0.0, 0.5, 12000.0, -200000.0]),
        # what version 1.1 reads otherwise
        ("[1e-3, 5e4]", [0.001, 50000.0]),
        ("[yes, off, 1:30, 2024-01-02, 1_000, 012]", ["yes", "off", "1:30", "2024-01-02"]),
    ],
)
def test_yaml_scalars_are_those_of_version_1_2(text: str, value: Any) -> None:
    read = parse_yaml(text)
    if isinstance(value, list) and "off" in value:
        value = [*value, "1_000", 12]
    assert read == value
    assert [type(v) for v in read or []] == [type(v) for v in value or []]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(plain)
def test_what_is_dumped_is_read_back(value: Any) -> None:
    assert repr(parse_yaml(dump_yaml(value))) == repr(value)


@pytest.mark.parametrize("text", ["1e-3", "yes", "~", "0x1F", "<<", "null", ".5", "- a", "a: b"])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert parse_yaml(dump_yaml({"key": text})) == {"key": text}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands twice"),
        ("stages:\n- {lr: 1, lr: 2}", "line 2: the key 'lr' stands twice"),
        ("a: [1", "line 1: "),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("- a", 'wanted keys and values, got ["a"]'),
        ("", "wanted keys and values, got null"),
        ("model: !!binary aGk=", "only plain values"),
    ],
)
def test_a_file_that_is_no_recipe_says_why(load: Any, text: str, words: str) -> None:
    (line,) = mistakes(load, text)
    assert "recipe.yaml" in line
    assert words in line


def test_a_merge_key_shares_values_between_stages(load: Any) -> None:
    recipe = load(
        "model: stable\nstages:\n- &first {kind: pretrain, lr: 1, epochs: 3}\n"
        "- {<<: *first, lr: 2}\n"
    )
    assert [(stage.lr, stage.epochs) for stage in recipe.stages] == [(1, 3), (2, 3)]


# ------------------------------------------------------------------ finding


def test_a_recipe_is_found_by_its_name() -> None:
    recipes = list_recipes()
    assert recipes
    for recipe in recipes:
        assert recipe.model, recipe.name
        assert recipe.description, recipe.name
        with pytest.raises(ConfigError, match=f"recipe {recipe.name} has"):
            load_recipe(recipe.name, Recipe)  # found, and of another schema


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    name = list_recipes()[0].name
    with pytest.raises(UnknownNameError, match=f"did you mean '{name}'"):
        load_recipe(name + "x", Recipe)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone.yaml cannot be read: No such file"):
        load_recipe(tmp_path / "gone.yaml", Recipe)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"model: \xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(path, Recipe)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_recipe(path, Recipe).model == "artistic"


# ------------------------------------------------------------------ checking


def test_a_good_recipe_has_every_default(load: Any) -> None:
    recipe = load()
    assert recipe.stages == [
        Pretrain(kind="pretrain", lr=(1e-7, 1e-4)),
        Gan(kind="gan"),
    ]
    assert recipe.betas == (0.9, 0.99)
    assert recipe.film.share == 0.3


def test_a_dumped_recipe_loads_as_an_equal_one(load: Any) -> None:
    recipe = load(GOOD, "name='1e-3'", "run.ema=0.999", "data.train=[a, 'b: c']")
    assert load(dump_recipe(recipe)) == recipe


def test_all_mistakes_are_said_at_once_with_place_and_value(load: Any) -> None:
    text = """
model: artistc
betas: [0.9]
stages:
- {kind: pretrain, lr: 1e-3, epochs: 0}
- {kind: pretrain, lrr: 1e-3}
- {kind: gann}
- {threshold: .inf}
- {kind: gan, threshold: .nan}
data: {limt: 3, film: {share: '1', blur_sigma: [2, 1]}, augment: 3, val: [1]}
run: {seed: 1.5, log_every: true, keep: null, precision: fp8}
zzz: 1
"""
    title, *lines = mistakes(load, text)
    assert title.endswith("recipe.yaml has 18 mistakes:")
    assert sorted(lines) == sorted(
        [
            "model: wanted 'artistic' or 'stable', got \"artistc\", did you mean 'artistic'?",
            "betas.1: missing; it has no default",
            "stages.0.epochs: wanted 1 or more, got 0",
            "stages.1.lr: missing; it has no default",
            "stages.1.lrr: unknown key, did you mean 'lr'?",
            "stages.2: wanted 'kind' one of 'pretrain', 'gan', got \"gann\", did you mean 'gan'?",
            "stages.3: wanted the key 'kind'",
            "stages.4.threshold: wanted a finite number, got NaN",
            "data.limt: unknown key, did you mean 'limit'?",
            'data.film.share: wanted a number, got "1"',
            "data.film.blur_sigma: the first of the two is the smaller one; got [2, 1]",
            "data.augment: wanted keys and values, got 3",
            "data.val.0: wanted text, got 1",
            "run.seed: wanted a whole number, got 1.5",
            "run.log_every: wanted a whole number, got true",
            "run.keep: wanted a whole number, got null",
            "run.precision: wanted 'auto', 'fp32', 'bf16' or 'fp16', got \"fp8\"",
            "zzz: unknown key; there are: model, name, betas, stages, film, data, run",
        ]
    )


def test_a_key_of_another_kind_of_stage_is_unknown_here(load: Any) -> None:
    text = "model: artistic\nstages:\n- {kind: gan, epoch: 1}\n"
    assert mistakes(load, text)[1] == "stages.0.epoch: unknown key; there are: kind, threshold"


def test_a_rule_over_several_keys_speaks_for_itself(load: Any) -> None:
    assert mistakes(load, GOOD + "name: taken\n")[1] == "the recipe: the name is taken"


def test_a_value_that_fits_no_alternative(load: Any) -> None:
    text = "model: artistic\nstages: [{kind: pretrain, lr: fast}]\n"
    assert mistakes(load, text)[1] == 'stages.0.lr: wanted a number or a list, got "fast"'


# ------------------------------------------------------------------ --set


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("stages.0.lr=1e-3", lambda r: r.stages[0].lr, 0.001),
        ("stages.0.lr=[1e-3, 2e-3]", lambda r: r.stages[0].lr, (0.001, 0.002)),
        ("stages.0.lr.1=1", lambda r: r.stages[0].lr, (1e-7, 1)),
        ("betas.0=0.5", lambda r: r.betas, (0.5, 0.99)),
        ("film.blur=0", lambda r: (r.film.share, r.film.blur), (0.3, 0)),
        ("data.film.blur_sigma.0=0.1", lambda r: r.data.film.blur_sigma, (0.1, 1.0)),
        ("data.val=500", lambda r: r.data.val, 500),
        ("data.val=0.1", lambda r: r.data.val, 0.1),
        ("data.val=photos.zip", lambda r: r.data.val, "photos.zip"),
        ("data.limit=null", lambda r: r.data.limit, None),
        ("data.train=a=b", lambda r: r.data.train, "a=b"),
        ("run.ema=.9", lambda r: r.run.ema, 0.9),
        ("name=off", lambda r: r.name, "off"),
    ],
)
def test_set_changes_one_value(load: Any, override: str, place: Any, value: Any) -> None:
    changed = place(load(GOOD, override))
    assert changed == value
    assert type(changed) is type(value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("run.sed=1", "run.sed: unknown key, did you mean 'seed'?"),
        ("rum.seed=1", "rum: unknown key, did you mean 'run'?"),
        ("stages.0.lrr=1", "stages.0.lrr: unknown key, did you mean 'lr'?"),
        ("stages.0.lr.x=1", "stages.0.lr is a list, after it comes a number from 0 to 1; got x"),
        ("stages.2.lr=1", "stages is a list, after it comes a number from 0 to 1; got 2"),
        ("model.x=1", 'model is one value, "artistic", without parts'),
        ("run.seed", "--set wants KEY=VALUE"),
        ("run..seed=1", "--set wants KEY=VALUE"),
        ("=1", "--set wants KEY=VALUE"),
        ("run.seed=[1", "the value of --set run.seed=[1 cannot be read"),
        ("run.seed=-1", "run.seed: wanted 0 or more, got -1"),
    ],
)
def test_set_refuses_as_the_file_does(load: Any, override: str, words: str) -> None:
    assert any(words in line for line in mistakes(load, GOOD, override))


def test_the_last_of_two_changes_holds(load: Any) -> None:
    assert load(GOOD, "run.seed=1", "run.seed=2").run.seed == 2


# ------------------------------------------------------------------ the shared pieces


def test_film_and_augment_are_those_of_training() -> None:
    from coloria.train.augment import Augment
    from coloria.train.data import MIN_COLORFULNESS
    from coloria.train.film import Film

    film = dataclasses.asdict(Film())
    del film["mixes"]  # a table of films, not a setting
    assert FilmConfig().model_dump() == film
    assert AugmentConfig().model_dump() == dataclasses.asdict(Augment())
    assert DataConfig().min_colorfulness == MIN_COLORFULNESS


def test_a_field_without_a_description_is_not_allowed() -> None:
    with pytest.raises(TypeError, match="Bare: no description of size"):

        class Bare(Strict):
            size: int = 1


def test_reading_recipes_loads_no_framework() -> None:
    code = (
        "import sys, coloria.config as c; c.list_recipes();"
        "print([m for m in ('torch', 'fastai', 'numpy', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Reading and writing run definitions."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.spec import ModelTeacher, RunSpec, SpecError, load, reader, to_dict, to_yaml

STAGE = {"name": "only"}


def complaint(source: object) -> str:
    with pytest.raises(SpecError) as caught:
        load(source)  # type: ignore[arg-type]
    return str(caught.value)


def test_yaml_json_and_a_dict_give_the_same_definition() -> None:
    from_yaml = load("name: a\nstages:\n  - name: only\n")
    from_json = load('{"name": "a", "stages": [\t{"name": "only"}]}')
    assert from_yaml == from_json == load({"name": "a", "stages": [STAGE]})


@given(
    name=st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text and text.strip()),
    seed=st.integers(0, 2**31 - 1),
    rate=st.floats(1e-12, 1.0),
    prompt=st.text(max_size=40).filter(lambda text: "\0" not in text),
)
def test_yaml_is_read_back_unchanged(name: str, seed: int, rate: float, prompt: str) -> None:
    stage = {**STAGE, "optimiser": {"learning_rate": rate}}
    spec = load(
        {"name": name, "seed": seed, "stages": [stage], "data": {"prompt": prompt + "{question}"}}
    )
    assert load(to_yaml(spec)) == spec
    assert load(to_dict(spec)) == spec


def test_a_learning_rate_without_a_decimal_point_is_a_number() -> None:
    assert (
        load("stages: [{name: only, optimiser: {learning_rate: 1e-4}}]")
        .stages[0]
        .optimiser.learning_rate
        == 1e-4
    )


def test_a_setting_given_twice_is_refused() -> None:
    assert "“seed” is given twice in line 1" in complaint(
        "seed: 1\nseed: 2\nstages: [{name: only}]"
    )
    assert "“seed” twice" in complaint('{"name": "a", "seed": 1, "seed": 2}')


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The definition is empty."),
        ("just words", "must be a mapping of settings"),
        ("a: [1", "not valid YAML"),
        ('{"a": 1,}', "not valid JSON: "),
        ("name: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("name: \x00", "not valid YAML"),
        ("{" + '"a":{' * 5000, "nested too deeply"),
        ("[" * 5000, "nested too deeply"),
        ("#" * 300_000, "300,000 characters"),
    ],
)
def test_text_that_is_no_definition_is_refused_with_one_sentence(text: str, sentence: str) -> None:
    assert sentence in complaint(text)


@pytest.mark.parametrize("version", [3, "x", None, [1]])
def test_an_unknown_version_is_refused(version: object) -> None:
    assert "this program reads version 2" in complaint({"version": version, "stages": [STAGE]})


def test_an_older_version_is_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        reader.MIGRATIONS, 0, lambda data: {"name": data["title"], "stages": data["stages"]}
    )
    spec = load({"version": 0, "title": "old", "stages": [STAGE]})
    assert (spec.version, spec.name) == (2, "old")


def test_a_definition_of_version_1_gets_a_teacher_kind() -> None:
    old = load(
        {"version": 1, "stages": [STAGE], "networks": {"teacher": {"model": "file:some/teacher"}}}
    )
    assert old.networks.teacher == ModelTeacher(model="file:some/teacher")


def test_definitions_are_read_without_torch() -> None:
    program = (
        "import sys, trainer.spec, trainer.recipes; sys.exit('torch' in sys.modules or "
        "'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_definition_is_immutable() -> None:
    spec = load({"stages": [STAGE]})
    assert isinstance(spec, RunSpec)
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 3  # type: ignore[misc]


BOMB = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)), "name: *a59"]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases"),
        ("name: a\nseed: " + "9" * 5000, "ordinary size"),
        ('{"seed": ' + "9" * 5000 + "}", "ordinary size"),
        ('{"name": "\\ud800"}', "neither text"),
        ('name: "\\ud800"', "invalid Unicode character"),
        ("name: !!binary aGk=", "neither text"),
        ("name: !!timestamp 2020-13-45", "neither text"),
    ],
)
def test_text_that_no_setting_can_hold_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load(text)


@pytest.mark.parametrize(
    "name", ["1e3", "on", "012", "null", "~", "0x1f", "2020-01-01", "1_000", "1:20", "true"]
)
def test_a_name_that_looks_like_a_number_stays_text(name: str) -> None:
    spec = load({"name": name, "stages": [{"name": "one"}]})
    assert load(to_yaml(spec)) == spec


def test_a_section_that_an_alias_repeats_is_read() -> None:
    spec = load(
        "stages: [{name: one, optimiser: &same {learning_rate: 0.5}}, {name: two, optimiser: "
        "*same}]"
    )
    assert spec.stages[0].optimiser == spec.stages[1].optimiser


def test_a_section_that_contains_itself_is_refused() -> None:
    with pytest.raises(SpecError, match="contains itself in line 1"):
        load("stages: &all [{name: one, again: *all}]")


def test_an_exponent_without_a_point_is_a_number() -> None:
    assert (
        load("stages: [{name: one, optimiser: {learning_rate: 1e-4}}]")
        .stages[0]
        .optimiser.learning_rate
        == 1e-4
    )

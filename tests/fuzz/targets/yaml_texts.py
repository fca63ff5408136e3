"""Run definitions as YAML or JSON: read, written again, and brought into the form of a new run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.fuzz import mutation, world
from tests.fuzz.inputs import Input, Read, Target
from trainer import plain_yaml, recipes
from trainer.plain_yaml import UnreadableYaml
from trainer.spec import SpecError, load, to_dict, to_yaml

# An input is one text, named by who reads it.
PLAIN, DEFINITION, PAGE = "plain.yaml", "definition.yaml", "page.yaml"
READERS = (PLAIN, DEFINITION, DEFINITION, PAGE)
WORDS = (
    *(b"- ", b"? ", b": ", b"&a ", b"*a", b"*a, *a", b"!!int ", b"!!str ", b"!!float ", b"!!map "),
    *(b"!!python/object/apply:os.system ['true']", b"!!binary aGk=", b"<<: *a", b"---\n", b"...\n"),
    *(b"|\n ", b">-\n ", b"%YAML 1.1\n", b"%TAG ! tag:x,2000:\n", b"{a: ", b"[", b"]", b"}", b"#"),
    *(b"\\x00", b'"\\ud800"', b"~", b".nan", b".inf", b"0x1f", b"1:30:00", b"2026-11-30", b"yes"),
    *(b"\xef\xbb\xbf", b"\t", b"\r", b"\xe2\x80\xa8", b"9" * 500, b"1e400", b"'", b'"', b"\n"),
)


def definitions() -> list[dict[str, Any]]:
    """Every preset of every recipe, with all defaults written out."""
    named = [recipes.load(name) for name in recipes.names()]
    return [to_dict(recipe.spec(preset)) for recipe in named for preset in recipe.presets]


DEFINITIONS = definitions()
SEEDS: list[Input] = [
    *({DEFINITION: plain_yaml.dump(definition).encode()} for definition in DEFINITIONS[:12]),
    {PAGE: json.dumps(DEFINITIONS[0]).encode()},
    {PAGE: b"name: a\nstages: &s [{name: a, until: {steps: 5}}]\nextra: *s\n"},
    {PLAIN: b"a: &a [x, x]\nb: &b [*a, *a]\nname: *b\n"},
]


@contextmanager
def open_target(folder: Path) -> Iterator[Read]:
    with world.opened(folder) as opened:

        def read(input: Input, files: Path) -> str:
            [(name, content)] = input.items()
            if name == PAGE:
                return _import(opened.client, content)
            text = content.decode("utf-8", "replace")
            return _plain(text) if name == PLAIN else _definition(text)

        yield read


def _import(client: Client, content: bytes) -> str:
    with world.undone():
        file = SimpleUploadedFile("run.yaml", content)
        answer = client.post("/runs/import/", {"file": file})
    assert answer.status_code in (200, 413, 422), answer.status_code
    issues = answer.context["issues"] if answer.context else ()
    return f"{answer.status_code} {[issue.message for issue in issues][:3]}"


def _plain(text: str) -> str:
    try:
        value = plain_yaml.load(text)
    except UnreadableYaml as error:
        return str(error)
    # What was read can be written, and is then the same. NaN is not equal to itself.
    written = plain_yaml.dump(value)
    assert plain_yaml.dump(plain_yaml.load(written, 10**7)) == written
    return type(value).__name__


def _definition(text: str) -> str:
    try:
        spec = load(text)
    except SpecError as error:
        return str(error)[:3000]
    assert load(to_yaml(spec)) == spec and load(to_dict(spec)) == spec
    return "a definition"


def make(random: Random, known: list[Input]) -> Input:
    return {
        random.choice(READERS): _text(random, [text for each in known for text in each.values()])
    }


def _text(random: Random, known: list[bytes]) -> bytes:
    if random.random() < 0.4:
        words = random.choice((WORDS, mutation.BYTES))
        others = random.choices(known, k=3)
        return mutation.changed_bytes(random, random.choice(known), others, words)
    if random.random() < 0.2:
        return b"".join(random.choices(WORDS, k=random.choice((3, 10, 60, 9000))))
    definition = mutation.changed_json(random, random.choice(DEFINITIONS), times=4)
    if random.random() < 0.3:
        definition = _moved(random, definition)
    if random.random() < 0.3:
        return mutation.encoded(random, definition)
    try:
        return plain_yaml.dump(definition).encode()
    # Halves of surrogate pairs, and names that are no text.
    except (ValueError, TypeError):
        return mutation.encoded(random, definition)


def _moved(random: Random, definition: Any) -> Any:
    """The definition with a part of another one at some place of its own."""
    other = random.choice(DEFINITIONS)
    place = random.choice(mutation.places(definition))
    return mutation.changed(
        definition, place, mutation.at(other, random.choice(mutation.places(other)))
    )


TARGET = Target(SEEDS, make, open_target)

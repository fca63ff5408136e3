"""Filter languages: texts made of their words and changed, answered by the database.

A language is one entry of LANGUAGES: examples, of which the words are cut, and the call that
answers a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from django.db import connection

from tests.fuzz import mutation, world
from tests.fuzz.inputs import Input, Read, Target
from tests.fuzz.world import Statements, World
from webapp.access.actors import Actor
from webapp.access.models import Role
from webapp.api import mlflow_models
from webapp.api.mlflow_search import find_experiments, find_runs, in_order
from webapp.api.requests import ApiError
from webapp.clients import runs
from webapp.clients.client_batch import ClientBatch, LoggedValues, RunAddress
from webapp.clients.models import Project
from webapp.clients.record import record
from webapp.pages.runs.finding import filter_language, matching, ordering
from webapp.pages.runs.finding.filter_language import FilterError
from webapp.runs.event_rows import storable
from webapp.runs.models import Run


@dataclass(frozen=True)
class Language:
    """`examples` are pairs of a filter and an order; `answer` gets such a pair and returns how
    many things were found. It raises one of `refusals` with a sentence.
    """

    examples: tuple[tuple[str, str], ...]
    answer: Callable[[World, str, str], int]
    refusals: tuple[type[Exception], ...]


def _runs(world: World, filter: str, order: str) -> int:
    return len(find_runs(Run.objects.filter(team=world.team), filter, _orders(order), 0, 20))


def _experiments(world: World, filter: str, order: str) -> int:
    projects = Project.objects.filter(team=world.team)
    return len(find_experiments(projects, filter, _orders(order), 0, 20))


def _models(world: World, filter: str, order: str) -> int:
    """As the search for models does: without the database, on values that clients have set."""
    language = mlflow_models.LANGUAGE
    conditions, orders = language.conditions(filter), language.orders(_orders(order))
    rows = [
        (index, tuple(value for _ in orders))
        for index, value in enumerate(MODEL_VALUES)
        if all(condition.holds(value) for condition in conditions)
    ]
    return len(in_order(rows, orders))


def _listed(world: World, filter: str, order: str) -> int:
    """As the list of runs does; an address has neither NUL nor halves of surrogate pairs."""
    actor = Actor(world.editor, {world.team.pk: Role.EDITOR}, world.team)
    terms = filter_language.read(storable(filter))
    runs = matching.matching(actor, Run.objects.filter(team=world.team), terms)
    return len(ordering.page(actor, runs, ordering.sort_of(storable(order)), None, 20)[0])


def _orders(order: str) -> list[str]:
    return order.split(";") if order else []


# The longest name of a model, as hostile as a name can be.
MODEL_VALUES = ("a" * 500, "ab" * 250, "", "model", "İ" * 500, "%_" * 250, "\n" * 500, "né")
LANGUAGES: dict[str, Language] = {
    "list of runs": Language(
        (
            ("state:running lr<1e-4 -tag:old words", "-created"),
            ('name:"two words" loss>=0.5 created>2026-11-01', "loss"),
            ("has:eval/acc x!=100% owner:erin pinned:yes", "-eval/acc"),
            ("state=archived lr:0.1 -has:loss loss=nan", "owner"),
        ),
        _listed,
        (FilterError,),
    ),
    "mlflow runs": Language(
        (
            ("params.lr = '0.1' AND metrics.loss < 1", "start_time DESC"),
            ("tags.`with space` LIKE '%a_' and attributes.status != 'FAILED'", "metrics.loss ASC"),
            ("run_id IN ('a', \"b\") AND params.x NOT IN ('c',)", "params.lr;tags.team desc"),
            ("params.x IS NOT NULL AND tags.y is null", "`Run Name`"),
            ("dataset.name = 'd' AND datasets.digest ILIKE 'D%'", ""),
            ("attr.start_time >= 1.5e3 AND end_time <= -1", "end_time"),
            ('metrics."eval/acc" != .5 and metrics.loss = 1', "metrics.`eval/acc` desc"),
        ),
        _runs,
        (ApiError,),
    ),
    "mlflow experiments": Language(
        (
            ("name LIKE 'a%' AND creation_time > 0", "name DESC"),
            ("tags.a ILIKE '_b' AND experiment_id IN ('1', '2')", "creation_time;name"),
        ),
        _experiments,
        (ApiError,),
    ),
    "mlflow models": Language(
        (
            ("name LIKE '%a%' AND creation_timestamp > 5", "name DESC"),
            ("tags.x ILIKE '%A_a%' AND status = 'LOGGED_MODEL_READY'", "last_updated_timestamp"),
        ),
        _models,
        (ApiError,),
    ),
}
LANGUAGE, FILTER, ORDER = "language", "filter", "order"
SEEDS: list[Input] = [
    {LANGUAGE: name.encode(), FILTER: filter.encode(), ORDER: order.encode()}
    for name, language in LANGUAGES.items()
    for filter, order in language.examples
]
# Four times as long as a filter may be.
LONGEST = 20_000
WORD = re.compile(r"\s+|[\w.]+|.")


@contextmanager
def open_target(folder: Path) -> Iterator[Read]:
    with world.opened(folder) as opened:
        _log_runs(opened)

        def read(input: Input, files: Path) -> str:
            language = LANGUAGES[input[LANGUAGE].decode()]
            # Of JSON, texts may hold halves of surrogate pairs, and NUL.
            filter, order = (
                input.get(name, b"").decode("utf-8", "surrogatepass") for name in (FILTER, ORDER)
            )
            try:
                with world.undone(), connection.execute_wrapper(Statements()):
                    return f"{language.answer(opened, filter, order)} found"
            except language.refusals as refusal:
                return str(refusal)

        yield read


def _log_runs(world: World) -> None:
    """A few runs with every sort of facts, among them those that are awkward to compare."""
    facts: list[tuple[dict[str, float], dict[str, str]]] = [
        ({"loss": 0.5, "eval/acc": 0.9}, {"lr": "0.1", "x": "it's", "0": "first"}),
        ({"loss": float("nan")}, {"lr": "", "x": "100%"}),
        ({"loss": float("inf"), "0": 7.0}, {"lr": "a\\b", "x": "%a" * 200}),
        ({}, {}),
    ]
    for number, (values, texts) in enumerate(facts):
        name = f"run {number}"
        address = RunAddress(world.team.pk, world.editor.pk, f"p{number % 2}", "mlflow", name, name)
        logs = [LoggedValues(values, 1, 1.7e9 + number)] if values else []
        inputs = [{"name": "d", "digest": "D1", "context": "train"}] if number else []
        batch = ClientBatch(address, logs, params=texts, tags=texts, inputs=inputs)
        record({runs.at(address): [batch]})


def make(random: Random, known: list[Input]) -> Input:
    input = dict(random.choice(known))
    language = LANGUAGES[input[LANGUAGE].decode()]
    for name, place in ((FILTER, 0), (ORDER, 1)):
        if random.random() < 0.6:
            continue
        examples = [example[place] for example in language.examples]
        text = input.get(name, b"").decode("utf-8", "surrogatepass")
        changed = _changed(random, text, examples)[:LONGEST]
        input[name] = changed.encode("utf-8", "surrogatepass")
    return input


def _changed(random: Random, text: str, examples: list[str]) -> str:
    match random.randrange(7):
        case 0:
            content = text.encode("utf-8", "surrogatepass")
            return mutation.changed_bytes(random, content).decode("utf-8", "replace")
        case 1:
            words = [word for example in examples for word in WORD.findall(example)]
            return "".join(random.choices(words, k=random.choice((2, 5, 12, 40))))
        case 2:
            return " AND ".join(random.choices(examples, k=random.choice((2, 3, 49, 60))))
        case 3:
            # Text in quotes, as long as a filter may be.
            quoted = random.choice(("'", '"', "`"))
            part = random.choice(("%a", "_", "''", "\\'", "a", "%", "(", ".*", "a%_"))
            inside = part * random.choice((5, 30, 1000, 2400))
            return re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", lambda _: quoted + inside + quoted, text)
        case 4:
            return re.sub(r"[-+.\d]+(?:e\d+)?", lambda _: json.dumps(mutation.number(random)), text)
    words = WORD.findall(text) or [""]
    place = random.randrange(len(words))
    words[place] = random.choice(
        (mutation.text(random), random.choice(words), "", words[place] * 3)
    )
    return "".join(words)


TARGET = Target(SEEDS, make, open_target)

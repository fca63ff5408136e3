"""A teacher on a server gives what a network here gives, and every silent fault is found."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests.trainer.text.teachers.scoring_server import MODEL, ScoringServer, builtin, scoring
from trainer.engine.outcome import Failure, RunRefused
from trainer.spec import Network, PlainContext, ServedTeacher
from trainer.text.language.hidden_states import Row
from trainer.text.language.text_models import open_tokenizer
from trainer.text.teachers.readings import (
    HiddenReading,
    Reading,
    TopReading,
    Unread,
    WrittenReading,
)
from trainer.text.teachers.served.fixed_texts import fixed_texts
from trainer.text.teachers.served.proof import Proof
from trainer.text.teachers.served.scores import Scores, SignalFault
from trainer.text.teachers.served.served_view import RunHandle, ServedView, open_served
from trainer.text.teachers.snapshots import UnchangedWeights
from trainer.text.teachers.teacher_view import TeacherView

SAMPLED, TOP = {"kind": "sampled"}, {"kind": "top_k", "k": 8}
HIDDEN = {"kind": "hidden_states", "head": "builtin:teacher"}
LOCAL = {"kind": "local", "model": "builtin:teacher"}
GIVES = pytest.mark.parametrize("gives", [SAMPLED, TOP, HIDDEN], ids=["sampled", "top", "hidden"])
ROWS: list[Row] = [
    ((5, 9, 4), (7,)),
    ((5, 9, 4, 11, 30, 8), (7, 12, 1)),
    ((50, 3), tuple(range(4, 30))),
    ((5, 9, 4), (100, 1)),
]


def teacher_at(*servers: ScoringServer, **settings: Any) -> ServedTeacher:
    return ServedTeacher.model_validate(
        {
            "kind": "served",
            "urls": [server.url for server in servers],
            "model": MODEL,
            "tokenizer": "builtin:teacher",
            "seconds": 20,
            **settings,
        }
    )


def opened(teacher: ServedTeacher, run: RunHandle | None = None) -> ServedView:
    tokenizer = open_tokenizer(teacher.tokenizer_network)
    return open_served(
        "teacher",
        "networks.teacher",
        teacher,
        tokenizer,
        24,
        torch.device("cpu"),
        run or RunHandle(),
    )


def local_states() -> list[torch.Tensor]:
    view = TeacherView("teacher", builtin(), PlainContext(), UnchangedWeights(), 24)
    readings = view.read(ROWS, 1000)
    return [reading.hidden for reading in readings if isinstance(reading, HiddenReading)]


def local_logprobs() -> list[torch.Tensor]:
    view = TeacherView("teacher", builtin(), PlainContext(), UnchangedWeights(), 24)
    return [
        view.head.logits(states, builtin().vocabulary).log_softmax(-1) for states in local_states()
    ]


def written(log_TV: torch.Tensor, row: Row) -> torch.Tensor:
    return log_TV.gather(1, torch.tensor(row[1])[:, None])[:, 0]


@pytest.mark.parametrize("program", ["vllm", "sglang"])
@pytest.mark.parametrize("gives", [SAMPLED, TOP], ids=["sampled", "top"])
def test_log_probs_are_those_of_the_network(program: str, gives: dict[str, Any]) -> None:
    with scoring() as server:
        view = opened(teacher_at(server, program=program, gives=gives, check=LOCAL))
        readings = view.read(ROWS, 1000)
    for reading, log_TV, row in zip(readings, local_logprobs(), ROWS, strict=True):
        assert isinstance(reading, WrittenReading | TopReading)
        torch.testing.assert_close(reading.written, written(log_TV, row), atol=1e-5, rtol=1e-4)
        if gives is TOP:
            assert isinstance(reading, TopReading)
            top = log_TV.topk(8)
            torch.testing.assert_close(reading.logprobs, top.values, atol=1e-5, rtol=1e-4)
            assert reading.ids.tolist() == top.indices.tolist()


def test_hidden_states_and_the_local_head_are_the_network() -> None:
    with scoring() as server:
        view = opened(teacher_at(server, gives=HIDDEN, check={"kind": "server"}))
        readings: list[Reading | Unread] = view.read(ROWS, 1000)
    head = view.head
    assert head is not None and view.gives == "hidden_states"
    for reading, states, log_TV in zip(readings, local_states(), local_logprobs(), strict=True):
        assert isinstance(reading, HiddenReading)
        torch.testing.assert_close(reading.hidden, states, atol=1e-5, rtol=1e-4)
        logits = head.logits(reading.hidden, builtin().vocabulary)
        torch.testing.assert_close(logits.log_softmax(-1), log_TV, atol=1e-4, rtol=1e-4)


def test_a_vocabulary_smaller_than_k_is_given_whole() -> None:
    with scoring() as server:
        gives = {"kind": "top_k", "k": builtin().vocabulary + 5}
        view = opened(teacher_at(server, gives=gives))
        reading = view.read(ROWS, 1000)[0]
    assert isinstance(reading, TopReading)
    assert reading.ids.shape == (1, builtin().vocabulary + 5)
    assert (reading.ids >= builtin().vocabulary).sum() == 5


# Silent faults. Those of the first list break a rule that holds for any weights.

ANY_WEIGHTS = [
    ("shift", "shifted by one"),
    ("shift_back", "shifted"),
    ("shifted_ids", "shifted"),
    ("temperature_0", "temperature near 0"),
    ("missing", "no log-probs|log-probs of 0"),
    ("last_missing", "no log-prob"),
    ("second_time", "prefix cache"),
    ("other_tokenizer", "another tokenizer"),
    ("one_token", "one-token answer otherwise"),
    ("drops_prompt", "does not read the whole prompt"),
    ("clamped", "limits log-probs"),
]


@pytest.mark.parametrize("program", ["vllm", "sglang"])
@pytest.mark.parametrize(("fault", "sentence"), ANY_WEIGHTS, ids=[name for name, _ in ANY_WEIGHTS])
def test_a_silent_fault_is_found_without_the_weights(
    fault: str, sentence: str, program: str
) -> None:
    with scoring(fault) as server, pytest.raises(Failure, match=sentence) as failure:
        opened(teacher_at(server, program=program, gives=SAMPLED))
    assert server.url in str(failure.value) and "resume the run" in failure.value.remedy


@pytest.mark.parametrize(
    ("fault", "sentence"), [("mass", "add up to"), ("fewer", "gives [23] likeliest tokens where 8")]
)
def test_a_fault_of_the_likeliest_tokens_is_found(fault: str, sentence: str) -> None:
    with scoring(fault) as server, pytest.raises(Failure, match=sentence):
        opened(teacher_at(server, gives=TOP))


@GIVES
@pytest.mark.parametrize(
    ("faults", "name", "sentence"),
    [
        (["temperature"], "teacher", "temperature, about 0.7|mean other log-probs"),
        ([], "student", "other weights|another model"),
        (["clamped"], "teacher", "limits log-probs|mean other log-probs|add up to"),
    ],
    ids=["temperature", "weights", "clamped"],
)
def test_the_same_weights_here_find_what_no_rule_finds(
    gives: dict[str, Any], faults: list[str], name: str, sentence: str
) -> None:
    with (
        scoring(*faults, model=builtin(name)) as server,
        pytest.raises(Failure, match=sentence),
    ):
        opened(teacher_at(server, gives=gives, check=LOCAL))


def test_a_prompt_that_is_cut_somewhere_is_found_by_the_same_weights() -> None:
    with scoring("drops_prompt") as server:
        server.reads = 40
        with pytest.raises(Failure, match=r"other scores are: .*answer after a privileged text"):
            opened(teacher_at(server, check=LOCAL))


def test_scores_that_depend_on_the_longest_text_of_a_batch_are_found() -> None:
    """Requests meet in the server exactly if they are sent at the same time."""
    tokenizer = open_tokenizer(Network(model="builtin:teacher"))
    with scoring() as server:
        flying: list[int] = []

        async def ask(ids: Sequence[int], start: int) -> Scores:
            flying.append(len(ids))
            for _ in range(10):
                await asyncio.sleep(0)
            longest = max(flying)
            flying.remove(len(ids))
            log_TV = server.read(list(ids))[1]
            written = log_TV[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0]
            return Scores(written.roll(longest - len(ids))[start - 1 :])

        proof = Proof(tokenizer, fixed_texts(tokenizer), 0.05)
        with pytest.raises(SignalFault, match="depend on the other texts"):
            asyncio.run(proof.fingerprint(ask))


def test_states_that_are_not_those_of_the_log_probs_are_found() -> None:
    with scoring("shifted_states") as server, pytest.raises(Failure, match=r"gives\.head"):
        opened(teacher_at(server, gives=HIDDEN))


@GIVES
def test_a_change_of_weights_is_found_at_the_next_check(gives: dict[str, Any]) -> None:
    step = [0]
    run = RunHandle(step=lambda: step[0])
    with scoring() as server:
        view = opened(teacher_at(server, gives=gives, check_every=2), run)
        server.model = builtin("student")
        step[0] = 2
        with pytest.raises(Failure, match=r"than when the run was checked first|gives\.head"):
            view.read(ROWS, 1000)


@GIVES
def test_a_change_of_weights_during_an_outage_is_found(gives: dict[str, Any]) -> None:
    with scoring() as server:
        view = opened(teacher_at(server, gives=gives))
        server.model, server.failures = builtin("student"), 1
        with pytest.raises(Failure, match=r"than when the run was checked first|gives\.head"):
            view.read(ROWS, 1000)


def test_a_change_of_weights_before_a_resumption_is_found() -> None:
    with scoring() as server, scoring(model=builtin("student")) as other:
        before = opened(teacher_at(server)).check.to_json()
        opened(teacher_at(server)).check.require_same(before)
        with pytest.raises(Failure, match="before the run was resumed"):
            opened(teacher_at(other)).check.require_same(before)


def test_servers_with_different_weights_are_found() -> None:
    with (
        scoring() as server,
        scoring(model=builtin("student")) as other,
        pytest.raises(Failure, match="not the only model"),
    ):
        opened(teacher_at(server, other))


def test_a_server_without_the_model_is_refused() -> None:
    with scoring() as server:
        server.names = ["small"]
        with pytest.raises(RunRefused, match="no model “large”; it has “small”"):
            opened(teacher_at(server))

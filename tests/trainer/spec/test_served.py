"""What a teacher on a server gives decides what may be chosen."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.spec import ServedTeacher, issues_in

SERVED = {
    "kind": "served",
    "urls": ["http://10.0.0.5:8000"],
    "model": "large",
    "tokenizer": "builtin:teacher",
}
SAMPLED, TOP = {"kind": "sampled"}, {"kind": "top_k", "k": 20}
HIDDEN = {"kind": "hidden_states", "head": "builtin:teacher"}
TOP_TOKENS = {"kind": "top", "k": 20}


def refused(gives: dict[str, Any], stage: dict[str, Any], **changes: Any) -> dict[str, str]:
    """The issues of a run with such a teacher, by field."""
    teacher = {**SERVED, "gives": gives, **changes.pop("teacher", {})}
    definition = {
        "stages": [{"name": "only", **stage}],
        "networks": {"teacher": teacher},
        **changes,
    }
    return {issue.path: issue.message for issue in issues_in(definition)}


def of_divergence(**settings: Any) -> dict[str, Any]:
    return {"objective": {"kind": "reverse_kl", **settings}}


RATIO = {"objective": {"kind": "policy_gradient"}}


@pytest.mark.parametrize("gives", [SAMPLED, TOP, HIDDEN])
def test_every_server_is_enough_for_a_policy_gradient(gives: dict[str, Any]) -> None:
    assert refused(gives, RATIO) == {}


def test_the_written_tokens_alone_are_no_distribution() -> None:
    messages = refused(SAMPLED, of_divergence(vocabulary=TOP_TOKENS))
    assert list(messages) == ["stages.0.objective.kind"]
    assert "networks.teacher.gives is sampled" in messages["stages.0.objective.kind"]


@pytest.mark.parametrize("rest", ["tail", "renormalise"])
def test_top_tokens_are_enough_for_a_divergence_over_them(rest: str) -> None:
    assert refused(TOP, of_divergence(vocabulary={**TOP_TOKENS, "rest": rest})) == {}


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({}, "vocabulary.kind"),
        ({"vocabulary": {"kind": "top", "k": 21}}, "vocabulary.k"),
        ({"vocabulary": {"kind": "top", "k": 20, "of": "student"}}, "vocabulary.of"),
        ({"vocabulary": TOP_TOKENS, "temperature": 2}, "temperature"),
    ],
)
def test_top_tokens_are_not_enough_for_more(settings: dict[str, Any], path: str) -> None:
    messages = refused(TOP, of_divergence(**settings))
    assert list(messages) == [f"stages.0.objective.{path}"]
    assert refused(HIDDEN, of_divergence(**settings)) == {}


def test_log_probs_are_known_at_temperature_1_alone() -> None:
    stage = {**RATIO, "rollouts": {"generate": {"sampling": {"temperature": 0.8}}}}
    assert list(refused(SAMPLED, stage)) == ["stages.0.rollouts.generate.sampling.temperature"]
    assert refused(HIDDEN, stage) == {}


def test_a_selection_that_compares_needs_the_whole_distribution() -> None:
    tokens = {"kind": "selected", "score": "soft_or"}
    stage = {**of_divergence(vocabulary=TOP_TOKENS), "tokens": tokens}
    assert list(refused(TOP, stage)) == ["stages.0.tokens.score"]
    assert refused(TOP, {**stage, "tokens": {**tokens, "score": "entropy"}}) == {}
    assert refused(HIDDEN, stage) == {}


def test_a_server_that_scores_writes_no_answers() -> None:
    stage = {"source": "teacher_written", "objective": {"kind": "cross_entropy"}}
    assert list(refused(HIDDEN, stage)) == ["stages.0.source"]


def test_single_gradients_need_the_whole_distribution() -> None:
    stage, pool = of_divergence(vocabulary=TOP_TOKENS), {"measure_snr": True}
    assert list(refused(TOP, stage, pool=pool)) == ["pool.measure_snr"]
    assert refused(HIDDEN, stage, pool=pool) == {}


def test_a_server_is_not_compared_with_itself() -> None:
    check = {"check": {"kind": "server"}}
    assert list(refused(TOP, RATIO, teacher=check)) == ["networks.teacher.check.kind"]
    assert refused(HIDDEN, RATIO, teacher=check) == {}


def test_sglang_gives_no_hidden_states() -> None:
    messages = refused(HIDDEN, RATIO, teacher={"program": "sglang"})
    assert list(messages) == ["networks.teacher.gives.kind"]


def test_a_server_that_scores_writes_no_chosen_answers() -> None:
    stage = {"source": "pairs", "objective": {"kind": "dpo"}}
    assert list(refused(HIDDEN, stage)) == ["stages.0.pairs.chosen"]
    assert refused(HIDDEN, {**stage, "pairs": {"chosen": "solutions"}}) == {}


def test_a_specialist_may_be_served_and_is_checked_too() -> None:
    specialist = {"domains": ["law"], "teacher": {**SERVED, "gives": SAMPLED}}
    networks = {"specialists": [specialist]}
    stages = [{"name": "only", **of_divergence()}]
    columns = {"question": "q", "answer": "a", "domain": "d"}
    data = {"train": {"kind": "file", "path": "file:/x.jsonl", "columns": columns}}
    issues = issues_in({"stages": stages, "networks": networks, "data": data})
    assert [issue.path for issue in issues] == ["stages.0.objective.kind"]
    assert "networks.specialists.0.teacher.gives is sampled" in issues[0].message


@pytest.mark.parametrize(
    "urls", [[], ["ftp://a"], ["http://a?key=1"], ["http://a", "http://a/"], ["http://a/v1"]]
)
def test_addresses_are_different_ones_of_http(urls: list[str]) -> None:
    messages = refused(TOP, RATIO, teacher={"urls": urls})
    assert messages and all(path.startswith("networks.teacher.urls") for path in messages)


def test_the_models_that_are_opened_here_are_listed_by_their_settings() -> None:
    check = {"kind": "local", "model": "hub:a/b"}
    teacher = ServedTeacher.model_validate({**SERVED, "gives": HIDDEN, "check": check})
    assert teacher.local_models == {
        "tokenizer": "builtin:teacher",
        "gives.head": "builtin:teacher",
        "check.model": "hub:a/b",
    }

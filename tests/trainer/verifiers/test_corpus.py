"""Verdicts on the corpus of graded answers, and the rates that the docs report."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pydantic import TypeAdapter

from tests.shared_cases import CASES, needs_cases
from tests.trainer.verifiers import corpus
from tests.trainer.verifiers.corpus import table
from trainer.spec import Verifier as Definition
from trainer.spec.verifiers import AnyVerifier
from trainer.text.verifiers import Verifier


@pytest.fixture(scope="module", autouse=True)
def _processes() -> Iterator[None]:
    yield
    corpus.close()


def test_the_corpus_is_large_and_half_of_it_is_wrong() -> None:
    groups = [group for groups in corpus.GROUPS.values() for group in groups]
    right, wrong = sum(len(g.right) for g in groups), sum(len(g.wrong) for g in groups)
    assert right + wrong >= 500
    assert wrong >= right
    for group in groups:
        assert not set(group.right) & set(group.wrong), group.trap


@pytest.mark.parametrize("kind", corpus.GROUPS)
def test_no_wrong_answer_of_the_corpus_counts_as_right(kind: str) -> None:
    accepted = [
        pair.completion
        for pair in corpus.graded(kind)
        if pair.verdict.correct and not pair.is_right
    ]
    assert accepted == []


@pytest.mark.parametrize("kind", corpus.GROUPS)
def test_no_right_answer_of_the_corpus_counts_as_wrong(kind: str) -> None:
    refused = [
        pair.completion
        for pair in corpus.graded(kind)
        if pair.verdict.correct is False and pair.is_right
    ]
    assert refused == []


def test_the_docs_report_the_rates_of_the_corpus() -> None:
    document = table.DOCUMENT.read_text()
    # Written again by `python -m tests.trainer.verifiers.corpus`.
    assert document == table.with_table(document, table.table())


@needs_cases
def test_reported_cases_get_their_right_verdict() -> None:
    adapter: TypeAdapter[Definition] = TypeAdapter(AnyVerifier)
    cases = [
        json.loads(line)
        for path in sorted(CASES.glob("*/verdicts.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert cases
    for kind in {case["verifier"] for case in cases}:
        mine = [case for case in cases if case["verifier"] == kind]
        with Verifier(adapter.validate_python({"kind": kind}), seconds=20.0) as verifier:
            verdicts = verifier.judge([(case["completion"], case["reference"]) for case in mine])
        for case, verdict in zip(mine, verdicts, strict=True):
            assert verdict.correct is case["right"], case

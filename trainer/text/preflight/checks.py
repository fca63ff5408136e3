"""All checks of a preflight, in the order in which a run would fail: models, problems, verifier."""

from __future__ import annotations

from dataclasses import replace

from trainer.spec import RunSpec
from trainer.text.preflight import networks, prompts, references, teaching
from trainer.text.preflight.reporter import Reporter
from trainer.text.preflight.run_problems import read_problems


def check_run(spec: RunSpec, sample: int, reporter: Reporter) -> None:
    """Report what the tokenizers, the data and the verifier of a run say before it is launched.

    `sample` problems of each role are encoded and judged.
    """
    opened = networks.open_networks(spec, reporter)
    networks.check_pairs(spec, opened, reporter)
    student = opened.student
    if student:
        student = replace(student, eos_ids=networks.ends_of(spec, opened))
        networks.check_confidence(spec, student, reporter)
    problems = read_problems(spec, sample, reporter)
    if student:
        for role in problems:
            prompts.check_prompts(spec, student, role, reporter)
    teaching.check_teaching(spec, opened, problems, reporter)
    references.check_references_of(spec, student, problems, reporter)

"""A stage's settings become the plug-ins of its rounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.rollouts.rounds import ToyEngine, student, view
from tests.trainer.text.tiny import language_model
from tests.trainer.text.tiny_run import spec
from trainer.engine.distributed.world import World
from trainer.engine.outcome import RunRefused
from trainer.spec import NumericVerifier, RunSpec
from trainer.spec.controllers.controller import Ability
from trainer.spec.controllers.fixed import FixedControl
from trainer.text.language.models import ModelError
from trainer.text.problems import Problem
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.assembly import build_engine, build_pipeline
from trainer.text.rollouts.engines import decoder
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import InProcessEngine
from trainer.text.rollouts.engines.vllm.engine import VllmEngine
from trainer.text.rollouts.pipeline import RolloutPipeline
from trainer.text.rollouts.protocols import Engine
from trainer.text.rollouts.records import CROSS_ENTROPY, DIVERGENCE, RATIO, Prompt
from trainer.text.teachers.loading import Teachers
from trainer.text.verifiers import Verifier


@pytest.fixture(scope="module")
def sampler() -> Iterator[SamplerAndJudge]:
    with Verifier(NumericVerifier()) as verifier:
        yield SamplerAndJudge(verifier, "{question}", rows=lambda: 8)


def definition(longest: int = 12, **stage: Any) -> RunSpec:
    rollouts = {
        "generate": {"per_problem": 2, "sampling": {"max_new_tokens": longest}},
        **stage.pop("rollouts", {}),
    }
    confidence = {"kind": "stated", "wording": " conf:{value}", "own_line": False}
    return spec(
        stages=[{"name": "only", "rollouts": rollouts, **stage}], data={"confidence": confidence}
    )


def rounds(
    sampler: SamplerAndJudge, run_spec: RunSpec, held_out: tuple[str, ...] = ()
) -> RolloutPipeline:
    teachers = Teachers(student().vocabulary, view())
    return build_pipeline(
        run_spec,
        run_spec.stages[0],
        ToyEngine(),
        sampler,
        student(),
        teachers,
        held_out,
    )


def asked(sampler: SamplerAndJudge) -> list[Prompt]:
    problems = [Problem(name, "1+1", "2", solution="1+1=2") for name in "ab"]
    return [Prompt(question) for question in sampler.questions(student(), problems, 12)]


@pytest.mark.parametrize(
    ("objective", "kind", "teacher", "advantages"),
    [
        ({"kind": "jsd"}, DIVERGENCE, "teacher", False),
        ({"kind": "policy_gradient"}, RATIO, "teacher", False),
        ({"kind": "grpo"}, RATIO, "", True),
    ],
)
def test_the_objective_says_how_tokens_are_learnt_and_who_reads_them(
    sampler: SamplerAndJudge, objective: dict[str, Any], kind: int, teacher: str, advantages: bool
) -> None:
    for row in (
        rounds(sampler, definition(objective=objective))
        .run_round(asked(sampler), Noise(0, 0), 5)
        .rows
    ):
        assert (
            (row.kinds == kind).all()
            and row.teacher == teacher
            and bool(row.teacher_prompt) == bool(teacher)
        )
        assert (row.advantages is not None) == advantages and row.versions == (5,)


def test_a_calibrated_stage_rewrites_confidences_and_tells_the_teacher(
    sampler: SamplerAndJudge,
) -> None:
    run_spec = definition(
        20,
        objective={"kind": "jsd"},
        rollouts={"filter": {"kind": "calibrated", "note": "note{confidence}"}},
    )
    done = rounds(sampler, run_spec).run_round(asked(sampler), Noise(1, 0), 0)
    edited = [row for row in done.rows if row.edited]
    assert edited and all(row.kinds[-1] == CROSS_ENTROPY for row in edited)
    for row in done.rows:
        teacher_text = student().tokenizer.decode(list(row.teacher_prompt))
        assert (
            teacher_text.count(f" conf:{row.target_confidence:.2f}") == 2
            and "note conf" in teacher_text
        )


def test_an_answer_too_short_for_a_confidence_is_refused(sampler: SamplerAndJudge) -> None:
    run_spec = definition(
        10, objective={"kind": "jsd"}, rollouts={"filter": {"kind": "calibrated"}}
    )
    with pytest.raises(
        ModelError, match="at most 10 tokens, but a stated confidence alone takes 12"
    ):
        rounds(sampler, run_spec)


def test_held_out_problems_are_kept_out(sampler: SamplerAndJudge) -> None:
    with pytest.raises(ValueError, match="Problem b is held out"):
        rounds(sampler, definition(), ("b",)).run_round(asked(sampler), Noise(0, 0), 0)


def test_the_sampler_says_who_samples(sampler: SamplerAndJudge, tmp_path: Path) -> None:
    questions = sampler.questions(
        language_model(), [Problem("a", "1+1", "2"), Problem("b", "12+34", "46")], 24
    )
    with ExitStack() as stack:
        in_process = build_engine(
            spec(),
            language_model(),
            questions,
            tmp_path,
            stack,
            print,
            World(),
            lambda: 7,
        )
        assert isinstance(in_process, InProcessEngine) and in_process.rows() == 7
        server = build_engine(
            spec(compute={"sampler": {"kind": "vllm"}}),
            language_model(),
            questions,
            tmp_path,
            stack,
            print,
            World(),
            lambda: 7,
        )
        assert isinstance(server, VllmEngine) and server.launch.dtype == "float32"
        assert server.launch.longest == len(questions[1].prompt) + 24


class Watching(FixedControl):
    abilities = frozenset[Ability](("step", "fork"))


def test_a_controller_is_refused_where_the_sampler_cannot_do_what_it_needs(
    sampler: SamplerAndJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_spec = definition()
    stage = run_spec.stages[0]
    watched = stage.model_copy(
        update={"rollouts": stage.rollouts.model_copy(update={"control": Watching()})}
    )

    def build(engine: Engine) -> RolloutPipeline:
        teachers = Teachers(student().vocabulary, view())
        return build_pipeline(run_spec, watched, engine, sampler, student(), teachers)

    build(InProcessEngine(student(), lambda: 4))
    with pytest.raises(RunRefused, match="fixed needs a sampler that can do: fork, step"):
        build(ToyEngine())
    monkeypatch.setattr(decoder, "unsupported", lambda model: "told to")
    with pytest.raises(RunRefused, match="fixed needs a sampler that can do: fork, step"):
        build(InProcessEngine(student(), lambda: 4))

"""Distillation of a language model on problems with verifiable answers: PACED (arXiv 2603.11178) and its baselines, as a `Method`.

Stage 0 estimates the student's pass rate p on every problem of the pool from K answers and turns it into a weight w̃ (`weights`).
Each later stage minimises, over B drawn problems i with N_i answers j of the tokens T_ij,

    loss = (1/Z) Σ_i w̃_i (1/N_i) Σ_j (1/|T_ij|) Σ_t D_ijt,    Z = B planned problems (`objectives.reductions`)

where D is the forward or reverse KL divergence at a token, on answers that the teacher wrote before the stage or on fresh answers of
the student. Problems of weight 0 meet the teacher in no way. `docs/engine.md` tells the whole course of a run.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from trainer.engine.checkpoints import Snapshot
from trainer.engine.loop import MethodState, Phase, Report, Runtime
from trainer.engine.optimisers import rate_at
from trainer.engine.outcome import NothingToTrain
from trainer.spec import RunSpec, Stage
from trainer.text import side_files, snr, update
from trainer.text.answers import Answer, tally, truncated_share
from trainer.text.averaging import Average
from trainer.text.costs import count_sampled, count_trained
from trainer.text.held_out import HeldOut
from trainer.text.materials import description, gather
from trainer.text.objectives.distillation import TokenStatistics
from trainer.text.pool import Pool, draw
from trainer.text.recording import record, signals_of, spread
from trainer.text.rollouts.noise import Noise
from trainer.text.scoring import scored
from trainer.text.sentences import nothing_kept, of_pool, of_teacher
from trainer.text.teacher_answers import TeacherAnswers
from trainer.text.update import GROUP, Round, differentiate

COLLECT, STUDENT = Phase("collect"), Phase("student", GROUP)


class Distillation:
    """The method of text runs. Between steps everything that later steps depend on is in `state`."""

    phases: tuple[Phase, ...] = (COLLECT, STUDENT)

    def __init__(self, spec: RunSpec) -> None:
        self.spec, self.total_steps = spec, spec.total_steps
        self._stack = ExitStack()
        self.pool: Pool | None = None
        self.teacher_answers = TeacherAnswers()
        self._finished: tuple[Round, list[TokenStatistics]] | None = None

    def setup(self, rt: Runtime) -> None:
        self.materials = gather(self.spec, rt.device, self._stack)
        self.held_out = HeldOut(self.spec, self.materials)
        parameters = dict(self.materials.student.model.named_parameters())
        rt.group(GROUP, parameters)
        self.average = Average(parameters, self.spec.evaluation.ema_decay)
        self.files = description(self.materials.student)
        rt.stage = self.spec.stages[0].name
        for role, problems in self.materials.sets.items():
            file = side_files.write(rt.folder / "side", side_files.problem_table(problems))
            rt.log.emit("problem_set", role=role, fingerprint=problems.fingerprint, count=len(problems), set_aside=0, file=file)
            for note in problems.notes:
                rt.log.log("info", note)

    def close(self) -> None:
        self._stack.close()

    # A round.

    def batch(self, rt: Runtime) -> tuple[Stage, list[int]]:
        """Stage and places of the B problems of the next step, after whatever has to precede it."""
        stage, begin = self._stage_at(rt.step)
        rt.stage = stage.name
        pool = self._pool_for(rt, begin)
        if not len(pool.kept):
            raise NothingToTrain(*nothing_kept(pool, self.spec))
        if stage.source == "teacher_written":
            self._let_teacher_write(rt, pool, stage)
        group = rt.groups[GROUP]
        if rt.step == begin and stage.optimiser.state == "reset":
            group.reset()
        group.configure(stage.optimiser, rate_at(stage.optimiser, rt.step - begin, stage.until.steps))
        origin = max(begin, pool.step)
        return stage, draw(pool.kept, stage.problems_per_step, rt.step - origin, self.spec.seed, origin)

    def run(self, phase: Phase, batch: tuple[Stage, list[int]], rt: Runtime) -> Mapping[str, float]:
        if phase is COLLECT:
            return self._collect(batch, rt)
        return self._differentiate(rt)

    def after_step(self, rt: Runtime) -> None:
        self.average.follow()
        every, limit = self.spec.record.every, self.spec.record.rollouts
        if every and rt.step % every == 0 and self._finished is not None:
            round, statistics = self._finished
            signals = [signals_of(self.materials.student, part) for part in statistics[:limit]]
            weights = round.answer_weights[:limit]
            record(rt, self.materials.student, "train", round.answers[:limit], len(round.answers), signals, weights)
        self._finished = None

    def evaluate(self, rt: Runtime, when: str) -> Report:
        with self.average.in_place():
            report = self.held_out.evaluate(rt, when)
            if self.pool is not None:
                self.held_out.track(rt, self.pool.shown_weights())
        return report

    # What a checkpoint must hold.

    def state(self) -> MethodState:
        tensors = {"ema": self.average.tensors(), "teacher_answers": self.teacher_answers.tensors()}
        values = {
            "pool": self.pool.state() if self.pool else None,
            "teacher_answers": self.teacher_answers.verdicts(),
            "held_out": self.held_out.state(),
        }
        return MethodState({name: found for name, found in tensors.items() if found}, values, self.files)

    def load(self, snapshot: Snapshot) -> None:
        values = snapshot.state["method"]
        self.pool = Pool.from_state(values["pool"], self.spec.pool.weighting) if values["pool"] else None
        self.teacher_answers.load(snapshot.tensors.get("teacher_answers", {}), values["teacher_answers"], self.materials.train)
        self.held_out.load(values["held_out"])
        self.average.load(snapshot.tensors.get("ema", {}))

    # Stage 0 and its repetitions.

    def _stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage that update `step` (from 0) belongs to, and the step at which it begins."""
        begins = itertools.accumulate((stage.until.steps for stage in self.spec.stages), initial=0)
        return next((stage, begin) for stage, begin in zip(self.spec.stages, begins, strict=False) if step < begin + stage.until.steps)

    def _pool_for(self, rt: Runtime, begin: int) -> Pool:
        """The pool that the next step draws from, measured first if that is due."""
        settings = self.spec.pool
        if self.pool is None:
            self.pool = self._measure(rt, "initial")
            if settings.measure_snr:
                snr.measure(self.materials, self.spec, self.pool, rt)
            rt.wants_checkpoint = True
        if self._refresh_is_due(rt.step, begin) and self.pool.step != rt.step:
            self.pool = self._measure(rt, "refresh")
        return self.pool

    def _refresh_is_due(self, step: int, begin: int) -> bool:
        settings = self.spec.pool
        if settings.refresh == "each_stage":
            return step == begin
        return settings.refresh == "every" and step % settings.refresh_every == 0

    def _measure(self, rt: Runtime, reason: str) -> Pool:
        settings, materials = self.spec.pool, self.materials
        k, problems = settings.rollouts_per_problem, [question.problem for question in materials.train]
        answers = materials.examiner.ask(
            materials.student, materials.train, [tuple(range(k))] * len(problems), settings.sampling,
            Noise(self.spec.seed, rt.step, "pass_rates"), progress=lambda done, of: rt.progress("pass_rates", done, of),
        )  # fmt: skip
        count_sampled(rt, materials.student, answers)
        pool = Pool(*tally(problems, answers), k, rt.step, settings.weighting)
        rt.emit(
            "problems", role="train", reason=reason, k=k, ids=[problem.id for problem in problems],
            passed=pool.passed.tolist(), verdicts=pool.verdicts.tolist(), weights=pool.shown_weights(),
        )  # fmt: skip
        drift = {} if self.pool is None else {"pool/drift": pool.drift(self.pool)}
        rt.metrics({**pool.metrics(), **drift, "pool/truncated": truncated_share(answers)})
        rt.log.log("info", of_pool(pool, truncated_share(answers)))
        kept = spread(answers, self.spec.record.rollouts)
        record(rt, materials.student, "train", kept, len(answers))
        return pool

    def _let_teacher_write(self, rt: Runtime, pool: Pool, stage: Stage) -> None:
        """Have the teacher answer each kept problem that it has not answered yet, once for the whole run."""
        materials, missing = self.materials, self.teacher_answers.missing(pool.kept.tolist())
        if not missing:
            return
        answers = materials.examiner.ask(
            materials.teacher, [materials.train[place] for place in missing], [(0,)] * len(missing), stage.rollouts.generate.sampling,
            Noise(self.spec.seed, 0, "teacher"), "teacher", lambda done, of: rt.progress("teacher_responses", done, of),
        )  # fmt: skip
        count_sampled(rt, materials.teacher, answers)
        self.teacher_answers.add(missing, answers)
        rt.metrics({"teacher/pass_rate": _pass_rate(answers), "teacher/truncated": truncated_share(answers)})
        rt.log.log("info", of_teacher(answers))
        kept = spread(answers, self.spec.record.rollouts)
        record(rt, materials.student, "teacher", kept, len(answers), scored(materials, kept, rt))
        rt.wants_checkpoint = True

    # The phases.

    def _collect(self, batch: tuple[Stage, list[int]], rt: Runtime) -> dict[str, float]:
        stage, places = batch
        assert self.pool is not None
        weights = [float(self.pool.weights[place]) for place in places]
        if stage.source == "teacher_written":
            answers = [self.teacher_answers.by_place[place] for place in places]
            self._round = Round(stage, weights, answers, range(len(places)), 1)
            return {"length/mean": _mean_length(answers), "truncated/share": truncated_share(answers)}
        count = stage.rollouts.generate.per_problem
        answers = self._fresh_answers(places, stage, count, rt)
        self._round = Round(stage, weights, answers, [owner for owner in range(len(places)) for _ in range(count)], count)
        return {
            "pass_rate/train": _pass_rate(answers),
            "length/mean": _mean_length(answers),
            "truncated/share": truncated_share(answers),
        }

    def _fresh_answers(self, places: list[int], stage: Stage, count: int, rt: Runtime) -> list[Answer]:
        """`count` answers to each place; a problem that comes twice gets other answers the second time."""
        turns = [places[:at].count(place) for at, place in enumerate(places)]
        answers = self.materials.examiner.ask(
            self.materials.student, [self.materials.train[place] for place in places],
            [tuple(range(turn * count, (turn + 1) * count)) for turn in turns],
            stage.rollouts.generate.sampling, Noise(self.spec.seed, rt.step, "train"),
        )  # fmt: skip
        count_sampled(rt, self.materials.student, answers)
        return answers

    def _differentiate(self, rt: Runtime) -> dict[str, float]:
        statistics = differentiate(self.materials, self.spec, self._round, rt)
        count_trained(rt, self.materials.student, self.materials.teacher, self._round.answers)
        self._finished = self._round, statistics
        return update.token_metrics(statistics)


def _pass_rate(answers: list[Answer]) -> float:
    verdicts: list[Any] = [answer.verdict for answer in answers if answer.verdict is not None]
    return sum(verdicts) / len(verdicts) if verdicts else float("nan")


def _mean_length(answers: list[Answer]) -> float:
    return sum(len(answer.ids) for answer in answers) / len(answers)

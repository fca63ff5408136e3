"""Distillation of a language model on problems with verifiable answers: the method of all recipes.

A stage minimises, over B drawn problems i of weight w̃_i with N_i answers j and the kept tokens
T_ij of each,

    loss = (1/Z) Σ_i w̃_i (1/N_i) Σ_j (1/|T_ij|) Σ_{t∈T_ij} ℓ_ijt,    Z = B trained problems
    (`objectives.reductions`)

where ℓ is the stage's objective for a token: a divergence to a teacher, a ratio or policy-gradient
term, or cross-entropy. The published systems differ in their answers (`row_collection`), teachers
and contexts (`teachers`), tokens (`score_phase`), problem weights (`pool`) and objectives.
`docs/engine.md` describes the run lifecycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch

from trainer.engine.checkpoints import Snapshot
from trainer.engine.loop import EvaluationReport, MethodState, Phase, Runtime
from trainer.engine.optimisers import rate_at
from trainer.engine.outcome import NothingToTrain
from trainer.spec import LowRankAdapter, Need, RunSpec, Stage
from trainer.text.evaluation.evaluator import Evaluator
from trainer.text.language import adapters
from trainer.text.language.averaging import Average
from trainer.text.lm_head.linear_divergence import TokenStatistics
from trainer.text.recording import side_files
from trainer.text.recording.rollout_files import record_train_rows, token_signals
from trainer.text.recording.token_regions import emit_token_regions
from trainer.text.rollouts.assembly import build_engine
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.records import Prompt
from trainer.text.training import update
from trainer.text.training.components import load_components, model_folder_files
from trainer.text.training.costs import (
    count_answers,
    count_read_by_teachers,
    count_scored,
    count_trained,
)
from trainer.text.training.log_messages import explain_empty_pool
from trainer.text.training.micro_batch_loss import MicroBatchLoss
from trainer.text.training.minibatches import minibatch
from trainer.text.training.pool_measurement import current_pool, stage_at
from trainer.text.training.problem_pool import ProblemPool, draw
from trainer.text.training.row_collection import CollectedRows, RowCollector
from trainer.text.training.score_phase import Selection, score_and_select
from trainer.text.training.teacher_answers import (
    TeacherAnswerStore,
    solution_answer,
    write_teacher_answers,
)
from trainer.text.training.teacher_metrics import TeacherMetrics
from trainer.text.training.teacher_states import compute_teacher_states
from trainer.text.training.unread_rows import set_unread_aside
from trainer.text.training.update import GROUP, TrainRound, compute_gradients, trains_student

COLLECT, SCORE, STUDENT = Phase("collect"), Phase("score"), Phase("student", GROUP)

BatchPlan = tuple[Stage, list[int]]


class Distillation:
    """The method of text runs; `state` holds everything that later steps depend on."""

    phases: tuple[Phase, ...] = (COLLECT, SCORE, STUDENT)

    def __init__(self, spec: RunSpec) -> None:
        self.spec, self.total_steps = spec, spec.total_steps
        self._stack = ExitStack()
        self.pool: ProblemPool | None = None
        self.teacher_answers = TeacherAnswerStore()
        self._collected = CollectedRows([], [], {})
        # Statistics of the first update that learns from a row, by its index.
        self._statistics: dict[int, TokenStatistics] = {}

    def setup(self, rt: Runtime) -> None:
        self.world = rt.world
        self.components = load_components(self.spec, rt, GROUP, self._stack)
        self.evaluator = Evaluator(self.spec, self.components)
        engine = build_engine(
            self.spec,
            self.components.student,
            self.components.train,
            rt.folder / "vllm",
            self._stack,
            partial(rt.log.log, "warning"),
            rt.world,
            lambda: rt.generation_rows,
        )
        self.collector = RowCollector(self.spec, self.components, engine)
        self.teacher_metrics = TeacherMetrics(self.components.teachers)
        self.loss_function = MicroBatchLoss(self.components.student)
        self.average = Average(
            rt.groups[GROUP].parameters, self.spec.evaluation.ema_decay, rt.refresh
        )
        self.files = model_folder_files(self.components.student, self.spec.networks.student.adapter)
        rt.stage = self.spec.stages[0].name
        for role, problems in self.components.sets.items():
            file = side_files.write(rt.folder / "side", side_files.problem_table(problems))
            rt.log.emit(
                "problem_set",
                role=role,
                fingerprint=problems.fingerprint,
                count=len(problems),
                set_aside=0,
                file=file,
            )
            for note in problems.notes:
                rt.log.log("info", note)

    def close(self) -> None:
        self._stack.close()

    # A round.

    def batch(self, rt: Runtime) -> BatchPlan:
        """Return the stage and the indices of the B problems of the next step.

        Measures the pool, has teachers write and resets the optimiser first where that is due.
        Raises NothingToTrain if every problem has weight 0.
        """
        stage, begin = stage_at(self.spec, rt.step)
        rt.stage, rt.updates_per_round = stage.name, stage.updates_per_step
        self.pool = current_pool(self.components, self.spec, rt, begin, self.pool)
        # Checked after every measurement, because a refreshed pool can lose its last problem.
        if not len(self.pool.kept_problems):
            raise NothingToTrain(*explain_empty_pool(self.pool, self.spec))
        if stage.source == "teacher_written":
            # The teacher answers each kept problem once per run.
            missing = self.teacher_answers.missing(self.pool.kept_problems.tolist())
            if missing:
                self.teacher_answers.add(
                    missing, *write_teacher_answers(self.components, self.spec, stage, missing, rt)
                )
                # They may be the longest or the only paid work of a run: a kill must not repeat it.
                rt.checkpoint_requested = True
            if not len(self.teacher_answers.answered(self.pool.kept_problems)):
                raise NothingToTrain(
                    "The teacher has answered none of the problems that are left.",
                    "Look at the reasons in the log.",
                )
        # A resumed run enters the stage at a later step and must keep the moments that it has
        # loaded.
        if rt.step == begin and stage.optimiser.state == "reset":
            rt.groups[GROUP].reset()
        return stage, self._draw_indices(self.pool, stage, begin, rt.step)

    def _draw_indices(self, pool: ProblemPool, stage: Stage, begin: int, step: int) -> list[int]:
        """Indices of the B problems of a step of the stage that began at step `begin`."""
        # A new measurement of the pool starts a new sequence of passes, because other problems are
        # kept.
        origin, problems = max(begin, pool.step), pool.kept_problems
        if stage.source == "teacher_written":
            problems = self.teacher_answers.answered(problems)
        return draw(problems, stage.problems_per_step, step - origin, self.spec.seed, origin)

    def run(self, phase: Phase, batch: BatchPlan, rt: Runtime) -> Mapping[str, float]:
        if phase is COLLECT:
            return self._collect(batch, rt)
        return self._score(batch, rt) if phase is SCORE else self._update_student(rt)

    def after_update(self, rt: Runtime) -> None:
        self.average.update()
        self.components.teachers.after_update()

    def after_step(self, rt: Runtime) -> None:
        interval = self.spec.record.every
        if interval and rt.step % interval == 0:
            statistics = [self._statistics[index] for index in sorted(self._statistics)]
            self._record(self._round, self._selection, statistics, rt)
        if values := self.teacher_metrics.of_step(self._round, self._statistics):
            rt.metrics(values)
        self._statistics = {}

    def evaluate(self, rt: Runtime, when: str) -> EvaluationReport:
        # Evaluations measure the averaged weights.
        with self.average.in_place():
            report = self.evaluator.evaluate(rt, when)
            if self.pool is not None:
                self.evaluator.track(rt, self.pool.weights_or_none())
        return report

    # What a checkpoint must hold.

    def state(self) -> MethodState:
        # The adapter under its published names: peft then opens the folder of the checkpoint.
        exported_adapter = (
            adapters.adapter_weights(self.components.student.model)
            if isinstance(self.spec.networks.student.adapter, LowRankAdapter)
            else {}
        )
        rollouts, rollout_tensors = self.collector.state(self.world)
        tensors = {
            "rollouts": rollout_tensors,
            "ema": self.average.tensors(),
            "teacher": self.components.teachers.tensors(),
            "teacher_answers": self.teacher_answers.tensors(),
            "adapter_model": exported_adapter,
        }
        values = {
            "pool": self.pool.state() if self.pool else None,
            "teacher_answers": self.teacher_answers.verdicts(),
            "teacher_set_aside": self.teacher_answers.reasons(),
            "held_out": self.evaluator.state(),
            "teachers": self.components.teachers.fingerprints(),
            "rollouts": rollouts,
        }
        return MethodState(
            {name: group for name, group in tensors.items() if group}, values, self.files
        )

    def load(self, snapshot: Snapshot) -> None:
        values = snapshot.state["method"]
        self.pool = (
            ProblemPool.from_state(values["pool"], self.spec.pool.weighting)
            if values["pool"]
            else None
        )
        self.teacher_answers.load(
            snapshot.tensors.get("teacher_answers", {}),
            values["teacher_answers"],
            # Checkpoints of older versions have none.
            values.get("teacher_set_aside", {}),
            self.components.train,
        )
        self.evaluator.load(values["held_out"])
        # Checkpoints of older versions have no rollouts.
        self.collector.load(values.get("rollouts"), snapshot.tensors.get("rollouts", {}))
        self.average.load(snapshot.tensors.get("ema", {}))
        self.components.teachers.load(snapshot.tensors.get("teacher", {}))
        # Checkpoints of older versions have none.
        self.components.teachers.require_same(values.get("teachers", {}))

    # The phases.

    def _collect(self, batch: BatchPlan, rt: Runtime) -> dict[str, float]:
        stage, indices = batch
        assert self.pool is not None
        prompts = self._prompts(self.pool, indices)
        if stage.source == "student_rollouts":
            step = rt.step + 1
            next_stage = stage_at(self.spec, step)[0] if step < self.total_steps else None
            self._collected = self.collector.rows_from_student(
                stage, prompts, rt, last=next_stage is not stage
            )
            # Another stage may sample differently, so its first step is not sampled ahead. If the
            # pool is measured before that step, its problems change and `write` discards these
            # answers.
            if self.spec.compute.overlap and next_stage is stage:
                _, begin = stage_at(self.spec, step)
                next_indices = self._draw_indices(self.pool, stage, begin, step)
                self.collector.begin(stage, self._prompts(self.pool, next_indices), step, rt)
            return self._collected.metrics
        if stage.source == "teacher_written":
            answers = [self.teacher_answers.by_index[index] for index in indices]
        else:
            longest = stage.rollouts.generate.sampling.max_new_tokens
            student, train = self.components.student, self.components.train
            answers = [solution_answer(student, train[index], longest) for index in indices]
        self._collected = self.collector.rows_from_answers(stage, prompts, answers)
        count_answers(rt, answers)
        return self._collected.metrics

    def _prompts(self, pool: ProblemPool, indices: list[int]) -> list[Prompt]:
        return [
            Prompt(self.components.train[index], float(pool.weights[index])) for index in indices
        ]

    def _score(self, batch: BatchPlan, rt: Runtime) -> dict[str, float]:
        """Compute teacher states and token scores, and select the tokens to train on."""
        (stage, _), components, tokens = batch, self.components, rt.micro_batch_tokens
        rows = self._collected.rows
        # Longest first, so that the ranks get shares of similar size.
        by_length = sorted(range(len(rows)), key=lambda index: -len(rows[index].answer.ids))
        own_rows = rt.world.divide(by_length)
        # The loop counts the step before `after_step`, which records by the new number.
        record_scores = bool(self.spec.record.every) and (rt.step + 1) % self.spec.record.every == 0
        # Not the noise of sampling: tokens would then be selected by the draws that chose them.
        noise = Noise(self.spec.seed, rt.step, "tokens")
        with torch.autocast(
            rt.device.type, torch.bfloat16, enabled=self.spec.networks.student.dtype == "bfloat16"
        ):
            teacher_states = compute_teacher_states(components.teachers, rows, tokens, own_rows)
            rows = set_unread_aside(rows, teacher_states, rt)
            selection = score_and_select(
                components.student,
                rows,
                teacher_states,
                stage,
                noise,
                tokens,
                record_scores,
                own_rows,
                rt.world,
            )
        count_read_by_teachers(rt, components.teachers, rows)
        if selection.scores is not None:
            count_scored(rt, components.student, [row.answer for row in rows])
        logprobs = (
            [score.teacher_logprob for score in selection.scores or ()]
            if Need.TEACHER_LOGPROB in stage.objective.needs
            else None
        )
        self._selection = selection
        self._round = TrainRound(
            stage,
            self._collected.weights,
            selection.rows,
            teacher_states,
            own_rows,
            logprobs,
        )
        return {}

    def _update_student(self, rt: Runtime) -> dict[str, float]:
        stage, begin = stage_at(self.spec, rt.step)
        index = (rt.step - begin) * stage.updates_per_step + rt.update_in_round
        rt.groups[GROUP].configure(stage.optimiser, rate_at(stage.optimiser, index, stage.updates))
        round = minibatch(self._round, rt.update_in_round, self.spec.seed, rt.step)
        statistics = compute_gradients(self.loss_function, self.spec, round, rt)
        indices = [index for index, row in enumerate(round.rows) if round.includes(row.owner)]
        rows = [round.rows[index] for index in indices]
        count_trained(
            rt, self.components.student, [row.answer for row in rows if trains_student(row)]
        )
        if rt.update_in_round < stage.minibatches:
            self._statistics |= zip(indices, statistics, strict=True)
        return update.token_metrics(round, statistics)

    def _record(
        self,
        round: TrainRound,
        selection: Selection,
        statistics: list[TokenStatistics],
        rt: Runtime,
    ) -> None:
        limit, student = self.spec.record.rollouts, self.components.student
        if telemetry := self._collected.telemetry:
            rt.emit("pipeline", stage=rt.stage, **telemetry.event())
        if not round.rows:
            return
        has_rate = selection.scores or statistics
        record_train_rows(
            rt,
            student,
            round.rows[:limit],
            len(round.rows),
            [token_signals(student, row_measurements) for row_measurements in has_rate[:limit]],
        )
        kept_problems = np.concatenate([row.coefficients != 0 for row in round.rows])
        emit_token_regions(rt, has_rate, kept_problems, round.states.vocabulary)

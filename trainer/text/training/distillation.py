"""Distillation of a language model on problems with verifiable answers: the method of all recipes.

A stage minimises, over B drawn problems i of weight w̃_i with N_i answers j and the kept tokens
T_ij of each,

    loss = (1/Z) Σ_i w̃_i (1/N_i) Σ_j (1/|T_ij|) Σ_{t∈T_ij} ℓ_ijt,    Z = B planned problems
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
from trainer.text.rollouts.records import Prompt, TrainRow
from trainer.text.rollouts.telemetry import Telemetry
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
from trainer.text.training.pool_measurement import current_pool, stage_at
from trainer.text.training.problem_pool import ProblemPool, draw
from trainer.text.training.row_collection import RowCollector
from trainer.text.training.score_phase import Selection, score_and_select
from trainer.text.training.teacher_answers import (
    TeacherAnswerStore,
    solution_answer,
    write_teacher_answers,
)
from trainer.text.training.teacher_states import compute_teacher_states
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
        self._rows: list[TrainRow] = []
        self._telemetry: Telemetry | None = None
        self._last_update: tuple[TrainRound, Selection, list[TokenStatistics]] | None = None

    def setup(self, rt: Runtime) -> None:
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
        rt.stage = stage.name
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
        group = rt.groups[GROUP]
        # A resumed run enters the stage at a later step and must keep the moments that it has
        # loaded.
        if rt.step == begin and stage.optimiser.state == "reset":
            group.reset()
        group.configure(
            stage.optimiser, rate_at(stage.optimiser, rt.step - begin, stage.until.steps)
        )
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

    def after_step(self, rt: Runtime) -> None:
        self.average.update()
        self.components.teachers.after_step()
        interval = self.spec.record.every
        if interval and rt.step % interval == 0 and self._last_update is not None:
            self._record(*self._last_update, rt)
        self._last_update = None

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
        tensors = {
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
        self.average.load(snapshot.tensors.get("ema", {}))
        self.components.teachers.load(snapshot.tensors.get("teacher", {}))

    # The phases.

    def _collect(self, batch: BatchPlan, rt: Runtime) -> dict[str, float]:
        stage, indices = batch
        assert self.pool is not None
        prompts = self._prompts(self.pool, indices)
        if stage.source == "student_rollouts":
            self._rows, values, self._telemetry = self.collector.rows_from_student(
                stage, prompts, rt
            )
            step = rt.step + 1
            if self.spec.compute.overlap and step < self.total_steps:
                next_stage, begin = stage_at(self.spec, step)
                # Another stage may sample differently, so its first step is not sampled ahead.
                # If the pool is measured before that step, its problems change and `write`
                # discards these answers.
                if next_stage is stage:
                    next_indices = self._draw_indices(self.pool, stage, begin, step)
                    self.collector.begin(stage, self._prompts(self.pool, next_indices), step, rt)
            return values
        self._telemetry = None
        if stage.source == "teacher_written":
            answers = [self.teacher_answers.by_index[index] for index in indices]
        else:
            longest = stage.rollouts.generate.sampling.max_new_tokens
            student, train = self.components.student, self.components.train
            answers = [solution_answer(student, train[index], longest) for index in indices]
        self._rows, values = self.collector.rows_from_answers(stage, prompts, answers)
        count_answers(rt, answers)
        return values

    def _prompts(self, pool: ProblemPool, indices: list[int]) -> list[Prompt]:
        return [
            Prompt(self.components.train[index], float(pool.weights[index])) for index in indices
        ]

    def _score(self, batch: BatchPlan, rt: Runtime) -> dict[str, float]:
        """Compute teacher states and token scores, and select the tokens to train on."""
        (stage, indices), components, tokens = batch, self.components, rt.micro_batch_tokens
        assert self.pool is not None
        # Longest first, so that the ranks get shares of similar size.
        by_length = sorted(
            range(len(self._rows)), key=lambda index: -len(self._rows[index].answer.ids)
        )
        own_rows = rt.world.divide(by_length)
        # The loop counts the step before `after_step`, which records by the new number.
        record_scores = bool(self.spec.record.every) and (rt.step + 1) % self.spec.record.every == 0
        # Not the noise of sampling: tokens would then be selected by the draws that chose them.
        noise = Noise(self.spec.seed, rt.step, "tokens")
        with torch.autocast(
            rt.device.type, torch.bfloat16, enabled=self.spec.networks.student.dtype == "bfloat16"
        ):
            teacher_states = compute_teacher_states(
                components.teachers, self._rows, tokens, own_rows
            )
            selection = score_and_select(
                components.student,
                self._rows,
                teacher_states,
                stage,
                noise,
                tokens,
                record_scores,
                own_rows,
                rt.world,
            )
        count_read_by_teachers(rt, components.teachers, self._rows)
        if selection.scores is not None:
            count_scored(rt, components.student, [row.answer for row in self._rows])
        logprobs = (
            [score.teacher_logprob for score in selection.scores or ()]
            if Need.TEACHER_LOGPROB in stage.objective.needs
            else None
        )
        self._selection = selection
        self._round = TrainRound(
            stage,
            [float(self.pool.weights[index]) for index in indices],
            selection.rows,
            teacher_states,
            own_rows,
            logprobs,
        )
        return {}

    def _update_student(self, rt: Runtime) -> dict[str, float]:
        statistics = compute_gradients(self.loss_function, self.spec, self._round, rt)
        count_trained(
            rt,
            self.components.student,
            [row.answer for row in self._round.rows if trains_student(row)],
        )
        self._last_update = self._round, self._selection, statistics
        return update.token_metrics(self._round, statistics)

    def _record(
        self,
        round: TrainRound,
        selection: Selection,
        statistics: list[TokenStatistics],
        rt: Runtime,
    ) -> None:
        limit, student = self.spec.record.rollouts, self.components.student
        if self._telemetry is not None:
            rt.emit("pipeline", stage=rt.stage, **self._telemetry.event())
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

"""One round of rollouts in four stages: generate, filter, control, replay (the GFCR taxonomy).

    plan (control) → requests (generate) → answers (engine) → verdicts (filter)
    → decisions (control) → rows (filter), stored groups (replay)

A round ends with rows to train on and token counts; the optimiser is elsewhere. With the plainest
plug-ins the answers are, bit for bit, those of `SamplerAndJudge.sample_answers` with the same
noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.overlap import OverlapEngine
from trainer.text.rollouts.protocols import Controller, Engine, Filter, Generator, Replay
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import DroppedAnswer, Group, Progress, Prompt, TrainRow
from trainer.text.rollouts.telemetry import Telemetry, account_for_round


@dataclass(frozen=True)
class RolloutRound:
    """Rows to train on.

    `trained` are the groups that they come from, `new_groups` the groups sampled in this round.
    """

    rows: list[TrainRow]
    trained: list[Group]
    new_groups: list[Group]
    telemetry: Telemetry

    @property
    def answers(self) -> list[Answer]:
        """All answers sampled in this round, unchanged."""
        return [answer for group in self.new_groups for answer in group.answers]


@dataclass(frozen=True)
class RolloutPipeline:
    """The five plug-ins of a stage; problems whose id is in `held_out` are refused."""

    engine: Engine
    generate: Generator
    filter: Filter
    control: Controller
    replay: Replay
    held_out: frozenset[str] = frozenset()

    def run_round(
        self,
        prompts: Sequence[Prompt],
        noise: Noise,
        version: int,
        budget: Budget | None = None,
        progress: Progress | None = None,
    ) -> RolloutRound:
        """Sample the student's answers to the planned problems and make rows of them.

        The student's weights have had `version` updates. Without a budget the round may generate
        just what its generator requests. Raises BudgetExceeded and, for a held-out problem,
        ValueError, both before anything is generated; raises ConservationError if a plug-in loses
        an answer or uses it twice.
        """
        # Before anything is sampled: a held-out problem must not cost or teach anything.
        self._refuse_held_out(prompts)
        budget = budget or self._default_budget(len(prompts))
        counts = self.control.plan(prompts, self.generate, budget)
        self.engine.update(version)
        trajectories = self.engine.write(
            self.generate.propose(prompts, counts), self.generate.sampling, noise, progress
        )
        for trajectory in trajectories:
            budget.spend(self.generate.sampling.max_new_tokens, trajectory.length)
        answers = iter(trajectories)
        new_groups = self.filter.judge(prompts, [list(islice(answers, count)) for count in counts])
        return self._finish_round(new_groups, version)

    def begin(self, prompts: Sequence[Prompt], noise: Noise) -> None:
        """Start sampling the next round if the engine can overlap; otherwise do nothing."""
        if isinstance(self.engine, OverlapEngine):
            self._refuse_held_out(prompts)
            counts = self.control.plan(prompts, self.generate, self._default_budget(len(prompts)))
            self.engine.begin(self.generate.propose(prompts, counts), self.generate.sampling, noise)

    def _finish_round(self, new_groups: list[Group], version: int) -> RolloutRound:
        decisions = [(group, self.control.decide(group)) for group in new_groups]
        stored_groups = [group for group, decision in decisions if decision.action == "store"]
        # Taken before `put`, so that a group stored in this round waits for a later one.
        replayed = self.replay.take()
        trained = [
            *replayed,
            *(group for group, decision in decisions if decision.action == "train"),
        ]
        rows, dropped = self.filter.rows(trained)
        dropped += [
            DroppedAnswer(answer, decision.reason)
            for group, decision in decisions
            if decision.action == "drop"
            for answer in group.answers
        ]
        telemetry = account_for_round(new_groups, replayed, stored_groups, rows, dropped, version)
        # After the accounting, so that a round that lost an answer stores none of its groups.
        self.replay.put(stored_groups)
        return RolloutRound(rows, trained, new_groups, telemetry)

    def _default_budget(self, problems: int) -> Budget:
        answers = problems * self.generate.per_problem
        return Budget(answers, answers * self.generate.sampling.max_new_tokens)

    def _refuse_held_out(self, prompts: Sequence[Prompt]) -> None:
        for prompt in prompts:
            if prompt.question.problem.id in self.held_out:
                raise ValueError(
                    f"Problem {prompt.question.problem.id} is held out for evaluation and "
                    "cannot be trained on."
                )

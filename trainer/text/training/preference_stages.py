"""What stages that learn from preference pairs keep: the answers, the pairs and the reference.

All of it is made once. The student's own answers are written before the run or the stage, the
pairs are made when their stage begins, and so are the reference log-probs, with the weights of that
moment. A checkpoint has the answers and the log-probs; the pairs follow from the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.engine.loop import Runtime
from trainer.engine.outcome import NothingToTrain, RunRefused
from trainer.spec import RunSpec, Stage
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import Prompt
from trainer.text.training.answer_store import AnswerStore
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_scored
from trainer.text.training.pair_answers import read_pairs, write_own_answers
from trainer.text.training.pair_loss import PairLoss, both_sides, pair_micro_batches
from trainer.text.training.preference_pairs import (
    Pair,
    describe_pairs,
    pair_rows,
    pairs_of,
    texts_of,
)
from trainer.text.training.row_collection import CollectedRows
from trainer.text.training.teacher_answers import solution_answer

CHOSEN, REJECTED = "chosen", "rejected"


@dataclass
class PreferenceStages:
    """The pairs of the stage that runs, and the stored answers of all stages with pairs."""

    spec: RunSpec
    components: RunComponents
    # By the name of the stage and the side.
    stores: dict[tuple[str, str], AnswerStore] = field(default_factory=dict)
    stage: str = ""
    pairs: list[Pair] = field(default_factory=list)
    # Log-probs of the chosen and the rejected answers, float64 [P, 2].
    references: Tensor | None = None
    _by_problem: dict[int, list[int]] = field(default_factory=dict)

    def write_own_answers(
        self, stage: Stage, begin: int, kept_problems: NDArray[np.int64], rt: Runtime
    ) -> bool:
        """Write the next part of the student's own answers; return whether all are written.

        Those of before the run are written at its first step, for whichever stage they are, those
        of before a stage at its first step.
        """
        indices = kept_problems.tolist()
        for later in self.spec.stages:
            if not later.student_answers_before:
                continue
            moment = {"student_before_run": 0, "student_before_stage": begin}[later.pairs.rejected]
            is_now = later is stage or later.pairs.rejected == "student_before_run"
            store = self._store(later, REJECTED, "student")
            if rt.step == moment and is_now and store.missing(indices):
                write_own_answers(self.components, self.spec, later, indices, store, rt)
                rt.checkpoint_requested = True
                return False
        return True

    def begin(
        self,
        stage: Stage,
        kept_problems: NDArray[np.int64],
        teacher_answers: AnswerStore,
        rt: Runtime,
    ) -> None:
        """Make the pairs of the stage and compute their reference log-probs, once.

        Raises NothingToTrain without any pair, and RunRefused if the reference log-probs of a
        checkpoint are those of other pairs.
        """
        if self.stage == stage.name and self.pairs:
            return
        if self.stage != stage.name:
            self.references = None
        indices = kept_problems.tolist()
        if stage.reads_pairs:
            self._read_pairs(stage, indices, rt)
        left_out: Counter[str] = Counter()
        self.stage, self.pairs, self._by_problem = stage.name, [], {}
        rejected = self._store(stage, REJECTED, "student").by_index
        for index in indices:
            chosen = self._chosen(stage, index, teacher_answers)
            pairs, reasons = pairs_of(index, chosen, rejected.get(index, ()))
            left_out += reasons
            numbers = range(len(self.pairs), len(self.pairs) + len(pairs))
            self._by_problem[index] = list(numbers)
            self.pairs += pairs
        if not self.pairs:
            raise NothingToTrain(
                describe_pairs(0, left_out), "Look at the recorded answers; raise max_new_tokens."
            )
        if self.references is None:
            self._compute_references(left_out, rt)
        elif len(self.references) != len(self.pairs):
            raise RunRefused(
                f"The checkpoint has the reference log-probs of {len(self.references):,} pairs, "
                f"but stage {stage.name} has {len(self.pairs):,}.",
                "Resume with the definition and the data that the run was started with.",
            )

    def with_pairs(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of the problems that have a pair, in their order."""
        return indices[[bool(self._by_problem.get(index)) for index in indices.tolist()]]

    def rows(self, prompts: Sequence[Prompt], indices: Sequence[int]) -> CollectedRows:
        """Return the rows of all pairs of the problems at `indices`."""
        assert self.references is not None
        numbers = [self._by_problem[index] for index in indices]
        rows = pair_rows(
            prompts,
            [[self.pairs[number] for number in group] for group in numbers],
            [[tuple(self.references[number].tolist()) for number in group] for group in numbers],
        )
        return CollectedRows(rows, [prompt.weight for prompt in prompts], {})

    # What a checkpoint must hold.

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        answers = {
            f"{stage}/{side}/{name}": tensor
            for (stage, side), store in self.stores.items()
            for name, tensor in store.tensors().items()
        }
        references = {} if self.references is None else {"logprobs": self.references}
        return {"pair_answers": answers, "pair_references": references}

    def values(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "answers": [
                {"stage": stage, "side": side, "source": store.source, "texts": store.verdicts()}
                for (stage, side), store in self.stores.items()
            ],
        }

    def load(
        self, values: Mapping[str, Any] | None, tensors: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        # Checkpoints of older versions have none.
        values = values or {"stage": "", "answers": []}
        self.stage, self.pairs, self._by_problem, self.stores = values["stage"], [], {}, {}
        self.references = tensors.get("pair_references", {}).get("logprobs")
        stored = tensors.get("pair_answers", {})
        for entry in values["answers"]:
            prefix = f"{entry['stage']}/{entry['side']}/"
            columns = {
                name.removeprefix(prefix): tensor
                for name, tensor in stored.items()
                if name.startswith(prefix)
            }
            store = AnswerStore(entry["source"])
            store.load(columns, entry["texts"], {}, self.components.train)
            self.stores[entry["stage"], entry["side"]] = store

    def _store(self, stage: Stage, side: str, source: Any) -> AnswerStore:
        return self.stores.setdefault((stage.name, side), AnswerStore(source))

    def _read_pairs(self, stage: Stage, indices: Sequence[int], rt: Runtime) -> None:
        chosen = self._store(stage, CHOSEN, "teacher")
        # The answers of a checkpoint stay, whatever the file has become.
        if not chosen.missing(indices):
            return
        rejected = self._store(stage, REJECTED, "teacher")
        for store, answers in zip(
            (chosen, rejected), read_pairs(self.components, stage, indices, rt), strict=True
        ):
            store.add({index: group for index, group in answers.items() if group}, {})

    def _chosen(self, stage: Stage, index: int, teacher_answers: AnswerStore) -> Sequence[Answer]:
        if stage.pairs.chosen == "solutions":
            longest = stage.rollouts.generate.sampling.max_new_tokens
            question = self.components.train[index]
            return (solution_answer(self.components.student, question, longest),)
        store = self.stores[stage.name, CHOSEN] if stage.reads_pairs else teacher_answers
        return store.by_index.get(index, ())[: stage.rollouts.generate.per_problem]

    @torch.no_grad()
    def _compute_references(self, left_out: Counter[str], rt: Runtime) -> None:
        """Compute the log-probs of all pairs under the student's present weights."""
        world, student = rt.world, self.components.student
        loss = PairLoss(student, self.components.teachers.vocabulary)
        own = world.divide(range(len(self.pairs)))
        texts = texts_of(self.pairs[number] for number in own)
        computed: list[tuple[int, list[float]]] = []
        with torch.autocast(
            rt.device.type, torch.bfloat16, enabled=self.spec.networks.student.dtype == "bfloat16"
        ):
            for batch in pair_micro_batches(texts, rt.micro_batch_tokens):
                logprobs = loss.logprobs(both_sides(texts, batch)).view(-1, 2).tolist()
                computed += zip((own[place] for place in batch), logprobs, strict=True)
                rt.progress("references", len(computed), len(own))
        by_number = dict(world.concatenate(computed))
        self.references = torch.tensor(
            [by_number[number] for number in range(len(self.pairs))], dtype=torch.float64
        )
        answers = [answer for pair in self.pairs for answer in (pair.chosen, pair.rejected)]
        count_scored(rt, student, answers)
        rt.metrics(
            {
                "pairs/count": float(len(self.pairs)),
                "pairs/left_out": float(sum(left_out.values())),
            }
        )
        rt.log.log("info", describe_pairs(len(self.pairs), left_out))
        # They belong to the weights of this moment, which no later attempt has.
        rt.checkpoint_requested = True

"""The material of the measurements: the built-in pair and its own problems."""

from __future__ import annotations

from trainer.spec.networks import Network
from trainer.text.language.chat import prompt_ids
from trainer.text.language.models import LanguageModel, load
from trainer.text.problems.arithmetic import POOL_FAMILIES, make
from trainer.text.rollouts.records import SampleRequest

LONGEST_ANSWER = 80


def model(name: str) -> LanguageModel:
    return load(Network(model=f"builtin:{name}"))


def requests(language_model: LanguageModel, problems: int, samples: int) -> list[SampleRequest]:
    """Problems of all levels of the pool's families, `samples` answers wanted to each."""
    drawn = make(POOL_FAMILIES, (1, 2, 3), problems, seed=0)
    return [
        SampleRequest(
            problem.id, prompt_ids(language_model, problem.question), tuple(range(samples))
        )
        for problem in drawn
    ]

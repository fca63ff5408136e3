"""The inputs of the measurements: the built-in student and teacher, and arithmetic problems."""

from __future__ import annotations

from dataclasses import replace

from trainer.spec.networks import Network
from trainer.text.language.chat import prompt_ids
from trainer.text.language.models import LanguageModel, load
from trainer.text.problems.arithmetic import POOL_FAMILIES, make
from trainer.text.rollouts.records import SampleRequest

LONGEST_ANSWER = 80
# In the ragged setting one answer in ten is four times as long as the others.
SHORT_ANSWER, ONE_IN = LONGEST_ANSWER // 4, 10


def model(name: str) -> LanguageModel:
    return load(Network(model=f"builtin:{name}"))


def requests(language_model: LanguageModel, problems: int, samples: int) -> list[SampleRequest]:
    """Requests for `samples` answers each, of problems of all levels of the pool's families."""
    selected_problems = make(POOL_FAMILIES, (1, 2, 3), problems, seed=0)
    return [
        SampleRequest(
            problem.id, prompt_ids(language_model, problem.question), tuple(range(samples))
        )
        for problem in selected_problems
    ]


def endless(language_model: LanguageModel) -> LanguageModel:
    """The model without end tokens, whose answers are as long as they may be."""
    return replace(language_model, eos_ids=())


def ragged(requests: list[SampleRequest]) -> list[SampleRequest]:
    """One request for each answer, with its length as allowance."""
    answers = [(request, sample) for request in requests for sample in request.samples]
    return [
        replace(
            request,
            samples=(sample,),
            allowance=SHORT_ANSWER if index % ONE_IN else LONGEST_ANSWER,
        )
        for index, (request, sample) in enumerate(answers)
    ]

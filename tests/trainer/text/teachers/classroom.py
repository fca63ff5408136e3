"""Small models that can read prose, and run definitions that name teachers."""

from __future__ import annotations

import string
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.trainer.text.tiny import BOS, EOS, PAD, character_tokenizer, save_folder
from trainer.spec import Network, RunSpec, load
from trainer.text.language.chat import prompt_ids
from trainer.text.language.models import LanguageModel
from trainer.text.language.models import load as load_model
from trainer.text.problems import Problem
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.teachers.loading import Teachers, open_teachers

CHAT = (
    "{{ bos_token }}{% for m in messages %}({{ m['content'] }}){% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)
THINKING = (
    CHAT + "{% if enable_thinking is defined %}"
    "{% if enable_thinking %}on{% else %}off{% endif %}{% endif %}"
)
PROSE = string.printable + "…"
PLAIN: dict[str, Any] = {"kind": "plain"}
SHOWN: dict[str, Any] = {"kind": "privileged", "template": "{question}|{privileged}|again"}


def prose_folder(
    folder: Path | None = None,
    seed: int = 0,
    characters: str = PROSE,
    template: str = "",
    **changes: Any,
) -> Path:
    tokenizer = character_tokenizer(characters)
    if template:
        tokenizer.chat_template = template
    return save_folder(
        folder or Path(mkdtemp()),
        "llama",
        seed,
        tokenizer,
        **{"vocab_size": 3 + len(characters)} | changes,
    )


def merging_folder(folder: Path) -> Path:
    """Return a model with subword tokens: the tokens of a text are not those of its parts."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<pad>", "<eos>", "<bos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    core.train_from_iterator(
        ["the solution of the problem is the sum of all the numbers; then the answer is the sum"]
        * 4,
        trainer,
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    )
    assert [tokenizer.convert_tokens_to_ids(token) for token in special] == [PAD, EOS, BOS]
    return save_folder(folder, "llama", 0, tokenizer, vocab_size=320)


@cache
def student_folder() -> Path:
    return prose_folder()


def student() -> LanguageModel:
    """A fresh copy, for tests that change its weights."""
    return load_model(Network(model=f"file:{student_folder()}"))


@cache
def reader() -> LanguageModel:
    """One copy for all tests that leave its weights alone."""
    return student()


def definition(
    teacher: dict[str, Any], stages: list[dict[str, Any]] | None = None, **networks: Any
) -> RunSpec:
    sampling = {"max_new_tokens": 16}
    stage = {"name": "own", "until": {"steps": 4}, "rollouts": {"generate": {"sampling": sampling}}}
    return load(
        {
            "networks": {
                "student": {"model": f"file:{student_folder()}"},
                "teacher": teacher,
                **networks,
            },
            "stages": [{**stage, **changes} for changes in stages or [{}]],
        }
    )


def opened(spec: RunSpec, of: LanguageModel | None = None) -> Teachers:
    return open_teachers(spec, of or reader(), torch.device("cpu"))


def question(
    text: str = "1+1=", answer: str = "2", solution: str = "1+1 is 2", domain: str = ""
) -> Question:
    problem = Problem(f"id of {text}", text, answer, solution, domain)
    return Question(problem, prompt_ids(reader(), text), text)


def an_answer(text: str, verdict: bool | None, sample: int = 0, truncated: bool = False) -> Answer:
    return Answer(question().problem, sample, "student", (3,), (3, 1), truncated, text, verdict, "")

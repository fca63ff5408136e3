"""The jobs: models and questions in a folder.

    tiny     the built-in pair, 0.16 and 0.66 million parameters, on 48 built-in problems
    ragged   random models of 50 and 120 million parameters, 8 rows; prompts and answers of 64
             tokens on average and 128 at most
    fixed    the same models, 128 tokens of prompt and 128 of answer

The next token of a random model is almost uniform, so with a share q of end tokens an answer has a
geometric length: q = 1/80 gives a mean of 64 under a limit of 128. With one end token of 32,000,
answers reach the limit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from bench.step.job import Job
from trainer.text.language.model_folders import BUILTIN
from trainer.text.problems.arithmetic import POOL_FAMILIES, make

VOCABULARY, LONGEST, MEAN_LIFE, ROWS = 32_000, 128, 80, 8
# Hidden size, width of the MLP, layers, heads.
MIDDLE = {"student": (512, 1536, 10, 8), "teacher": (768, 2048, 14, 12)}


def tiny(steps: int, questions: int = 48) -> Job:
    question_texts = tuple(
        problem.question for problem in make(POOL_FAMILIES, (1, 2, 3), questions, seed=0)
    )
    return Job(
        str(BUILTIN / "student"),
        str(BUILTIN / "teacher"),
        question_texts,
        "1+1=?",
        longest=80,
        steps=steps,
        threads=1,
    )


def middle(folder: Path, *, ragged: bool, bfloat16: bool, steps: int, threads: int) -> Job:
    """The job on random models, which are written to `folder` if they do not exist."""
    # 0 is the padding.
    ends = range(1, VOCABULARY // MEAN_LIFE if ragged else 2)
    for seed, (role, shape) in enumerate(MIDDLE.items()):
        if not (folder / role).exists():
            _random(folder / role, seed, shape, list(ends))
    generator = np.random.default_rng(0)
    lives = (
        np.minimum(generator.geometric(1 / MEAN_LIFE, ROWS + 1), LONGEST)
        if ragged
        else np.full(ROWS + 1, LONGEST)
    )
    first = max(ends) + 1
    *question_texts, held_out = (
        " ".join(f"w{id}" for id in generator.integers(first, VOCABULARY, life)) for life in lives
    )
    return Job(
        str(folder / "student"),
        str(folder / "teacher"),
        tuple(question_texts),
        held_out,
        LONGEST,
        steps,
        threads,
        bfloat16,
    )


def _random(folder: Path, seed: int, shape: tuple[int, int, int, int], ends: list[int]) -> None:
    torch.manual_seed(seed)
    hidden, inner, layers, heads = shape
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=ends[0],
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=0)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(
        models.WordLevel({f"w{id}": id for id in range(VOCABULARY)}, unk_token="w0")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=f"w{ends[0]}", pad_token="w0"
    ).save_pretrained(folder)

"""What every verifier declares."""

from __future__ import annotations

from trainer.spec.base import option
from trainer.spec.mechanisms import Mechanism

THINKING = "think, thinking, thought, reasoning"
NEXT_QUESTION = (
    "Question, Q, Problem, Exercise, Example, Human, User, Instruction, Input, 问题, 題目, 题目, "
    "問題, 例题, 문제, 질문, Frage, Aufgabe, Problème, Pregunta, Problema, Pergunta, Domanda, "
    "Esercizio, Вопрос, Задача, Pytanie, Soru, Câu hỏi, Pertanyaan, Vraag"
)


class Verifier(Mechanism):
    """Decides whether an answer is right.

    `function` makes a `Judge` (`trainer.text.verifiers.records`) from these settings, in the
    verifier's own process, so it must import without torch. `answered_text` of
    `trainer.text.verifiers.answer_regions` applies the settings below.
    """

    thinking: str = option(
        THINKING,
        title="Thinking tags",
        help="Names of the tags around reasoning, such as `<think> … </think>`. The answer is "
        "after the last closed block; after a block that is never closed there is none. Empty: "
        "reasoning is read too.",
        expert=True,
        max_length=500,
    )
    next_question: str = option(
        NEXT_QUESTION,
        title="Headings of a next question",
        help="A line that begins with one of these words and a colon, after the answer, or is such "
        "a heading, starts a question that the model invents; it is not read, nor is what follows, "
        "nor what follows the end of a turn, such as `<|im_end|>`. Empty: everything is read.",
        expert=True,
        max_length=1000,
    )

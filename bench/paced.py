"""Tokens of one pass with PACED's problem weights and with equal weights.

40 % of the pool's problems are always or never solved. The pool is chosen by the built-in student's
pass rates, K = 8 answers per problem. Both runs measure them again before training (stage 0) and
draw the same answers, because noise depends on seed, problem and answer number only. PACED gives
weight 0 to pass rates 0 and 1; such problems are not sampled, read by the teacher or trained on.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from trainer.events import read
from trainer.text import run
from trainer.text.problems.arithmetic import POOL_FAMILIES, make
from trainer.text.rollouts.answers import tokens_of
from trainer.text.training import costs, distillation, pool_measurement, row_collection

K, BATCH, POOL, SEARCHED = 8, 10, 50, 240
SAMPLING = {"max_new_tokens": 80}


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paced_problems = _write_pool(folder)
        uniform = _tokens_of_a_pass(folder, "uniform", POOL)
        paced = _tokens_of_a_pass(folder, "paced", paced_problems)
    totals = [sum(tokens.values()) for tokens in (uniform, paced)]
    rows = [
        (category, uniform[category], paced[category])
        for category in ("stage 0, sampled", "sampled", "read by the teacher", "trained")
    ]
    return [
        _row(category, uniform_tokens, paced_tokens, paced_problems)
        for category, uniform_tokens, paced_tokens in [*rows, ("all", totals[0], totals[1])]
    ]


def _row(
    category: str, uniform_tokens: int, paced_tokens: int, paced_problems: int
) -> dict[str, Any]:
    return {
        "tokens of a pass": category,
        f"uniform, {POOL} problems": uniform_tokens,
        f"PACED, {paced_problems} problems": paced_tokens,
        "share": paced_tokens / uniform_tokens,
    }


def _write_pool(folder: Path) -> int:
    """Write 30 problems with pass rates between 0 and 1 and 20 at 0 or 1.

    Returns how many PACED keeps.
    """
    problems = make(POOL_FAMILIES, (1, 2, 3), SEARCHED, seed=0)
    _write(folder / "train.jsonl", problems)
    _write(folder / "held_out.jsonl", make(POOL_FAMILIES, (1,), 1, seed=99))
    _start(folder, "uniform", 1)
    event = next(
        event
        for event in read(folder / "uniform" / "attempts" / "1" / "events")
        if event["type"] == "problems"
    )
    rates = {
        id: passed / verdicts
        for id, passed, verdicts in zip(
            event["ids"], event["passed"], event["verdicts"], strict=True
        )
    }
    ends = [problem for problem in problems if rates[problem.id] in (0, 1)][: POOL * 2 // 5]
    between = [problem for problem in problems if 0 < rates[problem.id] < 1][: POOL - len(ends)]
    _write(folder / "train.jsonl", between + ends)
    return len(between)


def _tokens_of_a_pass(folder: Path, weighting: str, problem_count: int) -> Counter[str]:
    token_counts: Counter[str] = Counter()

    def counting(category: str, name: str, tokens: Callable[..., int]) -> Callable[..., None]:
        original = getattr(costs, name)

        def count(*arguments: Any) -> None:
            token_counts[category] += tokens(*arguments)
            original(*arguments)

        return count

    with contextlib.ExitStack() as stack:
        for module, name, category, tokens in (
            (
                pool_measurement,
                "count_sampled",
                "stage 0, sampled",
                lambda _, __, answers: _new(answers),
            ),
            (row_collection, "count_sampled", "sampled", lambda _, __, answers: _new(answers)),
            (
                distillation,
                "count_read_by_teachers",
                "read by the teacher",
                lambda _, __, rows: tokens_of(row.answer for row in rows),
            ),
            (distillation, "count_trained", "trained", lambda _, __, answers: tokens_of(answers)),
        ):
            # Each module has imported the function by name, so it is replaced in the module that
            # calls it.
            stack.enter_context(patch.object(module, name, counting(category, name, tokens)))
        _start(folder, weighting, -(-problem_count // BATCH), suffix="again")
    return token_counts


def _new(answers: Sequence[Any]) -> int:
    return sum(len(answer.ids) for answer in answers)


def _write(path: Path, problems: Sequence[Any]) -> None:
    lines = [
        json.dumps({"id": problem.id, "question": problem.question, "answer": problem.answer})
        for problem in problems
    ]
    path.write_text("\n".join(lines))


def _start(folder: Path, weighting: str, steps: int, suffix: str = "") -> None:
    columns = {"id": "id"}
    definition = {
        "version": 2,
        "networks": {
            "student": {"model": "builtin:student"},
            "teacher": {"kind": "model", "model": "builtin:teacher"},
        },
        "data": {
            "train": {"kind": "file", "path": f"file:{folder / 'train.jsonl'}", "columns": columns},
            "evaluation": {
                "kind": "file",
                "path": f"file:{folder / 'held_out.jsonl'}",
                "columns": columns,
            },
        },
        "pool": {
            "rollouts_per_problem": K,
            "weighting": {"kind": weighting},
            "track_problems": 0,
            "sampling": SAMPLING,
        },
        "stages": [
            {
                "name": "own",
                "problems_per_step": BATCH,
                "rollouts": {"generate": {"sampling": SAMPLING}},
                # Practically 0, so that answers keep their lengths over the pass.
                "optimiser": {"learning_rate": 1e-12},
                "until": {"steps": steps},
            }
        ],
        "compute": {"device": "cpu"},
        "evaluation": {"every": 0, "final_samples": 1, "pass_at": [1], "sampling": SAMPLING},
        "checkpoints": {"every": 0},
    }
    target = folder / f"{weighting}{suffix}"
    target.mkdir()
    (target / "definition.json").write_text(json.dumps(definition))
    with contextlib.redirect_stdout(sys.stderr):
        code = run.start(target / "definition.json", target)
    if code:
        raise SystemExit(code)

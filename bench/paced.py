"""What problem weights save: tokens of one pass over a pool of which 40 % is always or never
solved, by PACED and with equal weights.

The pool is chosen by the built-in student's own pass rates, K = 8 answers to each problem; both
runs measure them again before they train (stage 0), and draw the same answers, because noise
follows from seed, problem and answer number. PACED gives weight 0 to pass rates 0 and 1, and such a
problem is neither sampled nor read by the teacher nor trained on.
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
        kept = _write_pool(folder)
        uniform = _tokens_of_a_pass(folder, "uniform", POOL)
        paced = _tokens_of_a_pass(folder, "paced", kept)
    whole = [sum(tokens.values()) for tokens in (uniform, paced)]
    rows = [
        (what, uniform[what], paced[what])
        for what in ("stage 0, sampled", "sampled", "read by the teacher", "trained")
    ]
    return [
        _row(what, even, weighted, kept)
        for what, even, weighted in [*rows, ("all", whole[0], whole[1])]
    ]


def _row(what: str, even: int, weighted: int, kept: int) -> dict[str, Any]:
    return {
        "tokens of a pass": what,
        f"uniform, {POOL} problems": even,
        f"PACED, {kept} problems": weighted,
        "share": weighted / even,
    }


def _write_pool(folder: Path) -> int:
    """30 problems between 0 and 1, and as many of either end as make 40 %; returns how many PACED
    keeps.
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


def _tokens_of_a_pass(folder: Path, weighting: str, kept: int) -> Counter[str]:
    found: Counter[str] = Counter()

    def counting(what: str, name: str, tokens: Callable[..., int]) -> Callable[..., None]:
        original = getattr(costs, name)

        def count(*arguments: Any) -> None:
            found[what] += tokens(*arguments)
            original(*arguments)

        return count

    with contextlib.ExitStack() as stack:
        for module, name, what, tokens in (
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
            stack.enter_context(patch.object(module, name, counting(what, name, tokens)))
        _start(folder, weighting, -(-kept // BATCH), again="again")
    return found


def _new(answers: Sequence[Any]) -> int:
    return sum(len(answer.ids) for answer in answers)


def _write(path: Path, problems: Sequence[Any]) -> None:
    lines = [
        json.dumps({"id": problem.id, "question": problem.question, "answer": problem.answer})
        for problem in problems
    ]
    path.write_text("\n".join(lines))


def _start(folder: Path, weighting: str, steps: int, again: str = "") -> None:
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
                "optimiser": {"learning_rate": 1e-12},
                "until": {"steps": steps},
            }
        ],
        "compute": {"device": "cpu"},
        "evaluation": {"every": 0, "final_samples": 1, "pass_at": [1], "sampling": SAMPLING},
        "checkpoints": {"every": 0},
    }
    target = folder / f"{weighting}{again}"
    target.mkdir()
    (target / "definition.json").write_text(json.dumps(definition))
    with contextlib.redirect_stdout(sys.stderr):
        code = run.start(target / "definition.json", target)
    if code:
        raise SystemExit(code)

"""Published formats are recognised, and what they mean is read: a table of many instances."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.shared_cases import CASES, needs_cases
from trainer.spec import Columns, Data, FileProblems
from trainer.text.problems import (
    Message,
    Problem,
    ProblemError,
    inspect,
    load,
    load_all,
    preview,
    survey,
)

Values = Mapping[str, Any]

USER = {"role": "user", "content": "2+3?"}
REPLY = {"role": "assistant", "content": "5"}
SYSTEM = {"role": "system", "content": "Be brief."}
EARLIER = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
TURNS = (Message("user", "1+1?"), Message("assistant", "2"))
BRIEF = Message("system", "Be brief.")


def write_jsonl(path: Path, *rows: Values) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def guessed(path: Path) -> Columns:
    return Columns.model_validate(
        {name: value for name, value in inspect(path).guess.items() if value}
    )


def read(path: Path, **columns: object) -> tuple[Problem, ...]:
    source = (
        FileProblems(path=f"file:{path}", columns=Columns.model_validate(columns))
        if columns
        else FileProblems(path=f"file:{path}", shape="auto")
    )
    return load(source, Data()).items


def refusal(path: Path, **columns: object) -> str:
    with pytest.raises(ProblemError) as caught:
        read(path, **columns)
    return str(caught.value)


# Name of the shape, a row, and what it asks: question, answer, history.
SHAPES: list[tuple[str, Values, tuple[str, str, tuple[Message, ...]]]] = [
    ("messages", {"messages": [USER, REPLY]}, ("2+3?", "5", ())),
    ("messages", {"messages": [SYSTEM, USER, REPLY]}, ("2+3?", "5", (BRIEF,))),
    ("messages", {"messages": [SYSTEM, *EARLIER, USER, REPLY]}, ("2+3?", "5", (BRIEF, *TURNS))),
    ("messages", {"conversation": [USER, REPLY], "note": "a"}, ("2+3?", "5", ())),
    (
        "ShareGPT",
        {"conversations": [{"from": "human", "value": "2+3?"}, {"from": "gpt", "value": "5"}]},
        ("2+3?", "5", ()),
    ),
    (
        "ShareGPT",
        {
            "system": "Be brief.",
            "conversations": [
                {"from": "human", "value": "1+1?"},
                {"from": "gpt", "value": "2"},
                {"from": "human", "value": "2+3?"},
                {"from": "gpt", "value": "5"},
            ],
        },
        ("2+3?", "5", (BRIEF, *TURNS)),
    ),
    (
        "verl",
        {
            "data_source": "openai/gsm8k",
            "prompt": [USER],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "5"},
            "extra_info": {"answer": "2+3=5\n#### 5", "question": "2+3?", "index": 0},
        },
        ("2+3?", "5", ()),
    ),
    (
        "verl",
        {"prompt": [SYSTEM, USER], "reward_model": {"style": "rule", "ground_truth": ["5"]}},
        ("2+3?", "5", (BRIEF,)),
    ),
    ("prompt as messages", {"prompt": [USER], "completion": [REPLY]}, ("2+3?", "5", ())),
    (
        "prompt as messages",
        {"prompt": [USER], "completion": [REPLY], "label": True},
        ("2+3?", "5", ()),
    ),
    ("prompt as messages", {"prompt": [SYSTEM, USER], "answer": 5}, ("2+3?", "5", (BRIEF,))),
    ("messages", {"prompt": "2+3?", "messages": [USER, REPLY]}, ("2+3?", "5", ())),
    (
        "Alpaca",
        {"instruction": "Add the numbers.", "input": "2 and 3", "output": "5"},
        ("Add the numbers.\n\n2 and 3", "5", ()),
    ),
    (
        "Alpaca",
        {"instruction": "Add 2 and 3.", "input": "", "output": "5"},
        ("Add 2 and 3.", "5", ()),
    ),
    ("Alpaca", {"instruction": "Add 2 and 3.", "output": "5"}, ("Add 2 and 3.", "5", ())),
    (
        "Alpaca",
        {
            "instruction": "2+3?",
            "input": "",
            "output": "5",
            "system": "Be brief.",
            "history": [["1+1?", "2"]],
        },
        ("2+3?", "5", (BRIEF, *TURNS)),
    ),
    ("GSM8K", {"question": "2+3?", "answer": "2+3=5\n#### 5"}, ("2+3?", "5", ())),
    (
        "MATH",
        {
            "problem": "2+3?",
            "level": "Level 1",
            "type": "Prealgebra",
            "solution": "It is $\\boxed{1}$, no, $\\boxed{\\frac{10}{2}}$.",
        },
        ("2+3?", "\\frac{10}{2}", ()),
    ),
    (
        "MATH",
        {"query": "2+3?", "response": "So \\boxed{\\{5\\}}."},
        ("2+3?", "\\{5\\}", ()),
    ),
    (
        "",
        {"problem": "2+3?", "solution": "It is $\\boxed{5}$.", "answer": "5"},
        ("2+3?", "5", ()),
    ),
    ("", {"data": {"question": "2+3?", "answer": 5}}, ("2+3?", "5", ())),
    ("", {"question": "2+3?", "answer": ["5"]}, ("2+3?", "5", ())),
    ("", {"query": "2+3?", "meta": {"final_answer": "5"}}, ("2+3?", "5", ())),
    # Preference pairs (TRL, UltraFeedback, Orca).
    (
        "preference pairs",
        {"prompt": "2+3?", "chosen": "5", "rejected": "6"},
        ("2+3?", "5", ()),
    ),
    (
        "preference pairs",
        {"system": "Be brief.", "question": "2+3?", "chosen": "5", "rejected": "6"},
        ("2+3?", "5", (BRIEF,)),
    ),
    (
        "preference pairs",
        {"prompt": [SYSTEM, USER], "chosen": [REPLY], "rejected": [{**REPLY, "content": "6"}]},
        ("2+3?", "5", (BRIEF,)),
    ),
    (
        "preference pairs",
        {"chosen": [USER, REPLY], "rejected": [USER, {**REPLY, "content": "6"}], "score": 1.0},
        ("2+3?", "5", ()),
    ),
    # OpenR1-Math, NuminaMath and DeepMath.
    (
        "",
        {
            "problem": "2+3?",
            "solution": "It is $\\boxed{5}$.",
            "answer": "5",
            "generations": ["a", "b"],
            "correctness": [True, False],
            "messages": [USER, {**REPLY, "content": "<think>2+3</think>5"}],
        },
        ("2+3?", "5", ()),
    ),
    (
        "prompt as messages",
        {"messages": [USER, {**REPLY, "content": "It is 5."}], "answer": "5", "solution": "5."},
        ("2+3?", "5", ()),
    ),
    (
        "MATH",
        {
            "source": "amc",
            "problem": "2+3?",
            "solution": "So $\\boxed{5}$.",
            "messages": [USER, REPLY],
        },
        ("2+3?", "5", ()),
    ),
    (
        "",
        {"question": "2+3?", "final_answer": "5", "difficulty": 5.0, "r1_solution_1": "…"},
        ("2+3?", "5", ()),
    ),
    # A tool is called before the reply.
    (
        "messages",
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
                {"role": "tool", "content": "5"},
                REPLY,
            ]
        },
        ("2+3?", "5", ()),
    ),
    (
        "messages",
        {"messages": [{"role": "developer", "content": "Be brief."}, USER, REPLY]},
        ("2+3?", "5", (BRIEF,)),
    ),
]


@pytest.mark.parametrize(("name", "row", "expected"), SHAPES)
def test_a_published_format_is_recognised(
    tmp_path: Path, name: str, row: Values, expected: tuple[str, str, tuple[Message, ...]]
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", row, {**row, "more": 1})
    assert inspect(path).shape.name == name
    problems = preview(path, guessed(path))
    assert [(p.question, p.answer, p.history) for p in problems] == [expected] * 2
    assert read(path)[0] == problems[0]


@pytest.mark.parametrize(("name", "row", "expected"), SHAPES)
def test_it_is_the_same_from_every_file_format(
    tmp_path: Path, name: str, row: Values, expected: tuple[str, str, tuple[Message, ...]]
) -> None:
    lines = read(write_jsonl(tmp_path / "a.jsonl", row))
    (tmp_path / "b.json").write_text(json.dumps([row], indent=1))
    (tmp_path / "c.json").write_text(json.dumps({"version": 1.5, "data": [row]}))
    pq.write_table(pa.Table.from_pylist([dict(row)]), tmp_path / "d.parquet")
    assert lines == read(tmp_path / "b.json") == read(tmp_path / "c.json")
    assert lines == read(tmp_path / "d.parquet")


def test_nested_values_in_the_cells_of_a_table_are_found(tmp_path: Path) -> None:
    cells = [json.dumps([SYSTEM, USER]), json.dumps({"ground_truth": "5"})]
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    (tmp_path / "a.csv").write_text(f"prompt,reward_model\n{quoted}\n")
    (problem,) = read(tmp_path / "a.csv")
    assert (problem.question, problem.answer, problem.history) == ("2+3?", "5", (BRIEF,))


def test_math_keeps_its_solution_level_and_subject(tmp_path: Path) -> None:
    row = {"problem": "2+3?", "level": "Level 1", "type": "Algebra", "solution": "\\boxed{5}"}
    (problem,) = read(write_jsonl(tmp_path / "a.jsonl", row))
    assert (problem.solution, problem.domain, problem.difficulty) == (
        "\\boxed{5}",
        "Algebra",
        "Level 1",
    )
    assert inspect(tmp_path / "a.jsonl").shape.verifier == "math"


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("\\boxed{5}", "5"),
        ("\\fbox{5}", ""),
        ("\\boxed {x^{2}}", "x^{2}"),
        ("\\boxed{5} then \\boxed{6", "5"),
        ("\\boxed{\\text{a \\} b}}", "\\text{a \\} b}"),
        ("\\boxed{\\frac{1}{2}} and \\boxed{\\left\\{1\\right\\}}", "\\left\\{1\\right\\}"),
        ("\\boxed{a\\\\}", "a\\\\"),
        ("no box", ""),
        ("\\boxed 5", ""),
    ],
)
def test_the_last_complete_box_is_the_answer(tmp_path: Path, text: str, box: str) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"question": "?", "answer": text})
    columns = {"question": "question", "answer": "answer", "answer_from": "last_box"}
    if box:
        assert read(path, **columns)[0].answer == box
    else:
        assert "row 1 of a.jsonl has no answer" in refusal(path, **columns)


ROW = {
    "a.b": {"c": "dotted"},
    "a": {"b": {"c": "inner"}},
    "list": [{"x": "first"}, {"x": "last"}],
    "rows[0]": "bracketed",
    "text": '{"inside": ["0", {"deep": "json"}]}',
    "answer": "5",
}


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("a.b.c", "dotted"),
        ("list[0].x", "first"),
        ("list[-1].x", "last"),
        ("rows[0]", "bracketed"),
        ("text.inside[1].deep", "json"),
        ("text.inside[0]", "0"),
    ],
)
def test_a_nested_value_is_named_by_its_address(tmp_path: Path, address: str, text: str) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ROW)
    assert read(path, question=address)[0].question == text


@pytest.mark.parametrize(
    "address",
    ["a.b.d", "list[2].x", "list.x", "list[x]", "a[0]", "answer.x", "text.inside[-3]", "none"],
)
def test_an_address_that_leads_nowhere_is_named(tmp_path: Path, address: str) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ROW)
    assert f"row 1 of a.jsonl has no column “{address}”; it has “a.b”" in refusal(
        path, question=address
    )


def test_a_group_of_values_is_refused_with_a_value_inside_it(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ROW)
    assert "such as “a.b”" in refusal(path, question="a")
    assert "such as “list[0]”" in refusal(path, question="list")


def test_every_address_that_is_offered_can_be_read(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"answer": "5", "deep": {"x": [1, {"y": "z"}]}, **ROW})
    addresses = inspect(path).addresses
    assert {"answer", "deep.x[0]", "list[0].x"} <= set(addresses)
    # A list of several values is offered for choices and histories.
    for address in set(addresses) - {"deep.x", "list", "text.inside"}:
        assert preview(path, Columns(question=address))[0].question


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{q}", "why?"),
        ("{q}\n\n{none}", "why?"),
        ("{none}\n\n{q}", "why?"),
        ("Context: {none}\nQuestion: {q}", "Question: why?"),
        ("{q} ({group.x})", "why? (deep)"),
        ("{q}\n{none}\n{group.x}", "why?\ndeep"),
        ("Say {{x}}: {q}", "Say {x}: why?"),
        ("Put it in \\boxed{}. {q}", "Put it in \\boxed{}. why?"),
        ("{q}\n\nfixed words", "why?\n\nfixed words"),
        ("{ q }", "why?"),
        ("  indented\n\n    {q}", "indented\n\n    why?"),
    ],
)
def test_several_columns_are_joined_by_a_template(tmp_path: Path, template: str, text: str) -> None:
    row = {"q": "why?", "none": " ", "group": {"x": "deep"}, "answer": "5"}
    path = write_jsonl(tmp_path / "a.jsonl", row)
    assert read(path, question=template)[0].question == text


def test_a_column_whose_name_has_braces_is_a_column(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"{q}": "why?", "answer": "5"})
    assert read(path, question="{q}")[0].question == "why?"


def test_braces_in_the_values_are_left_alone(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"q": "{answer} {{x}}", "answer": "5"})
    assert read(path, question="{q}!")[0].question == "{answer} {{x}}!"


def test_a_column_of_a_template_that_no_row_has_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl", {"q": "why?", "answer": "5"}, {"q": "a", "answer": "1"}
    )
    sentence = "no row of a.jsonl has a column “contxt”; choose another or none"
    assert sentence in refusal(path, question="{q}\n{contxt}")
    with pytest.raises(ProblemError, match="has a column “contxt”"):
        preview(path, Columns(question="{q}\n{contxt}"))
    assert "has a column “nr”" in refusal(path, question="q", id="nr")


def test_a_value_that_some_rows_lack_is_empty(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl",
        {"instruction": "Add.", "input": "2, 3", "output": "5", "domain": "sums"},
        {"instruction": "Name a planet.", "output": "Mars"},
    )
    assert [(p.question, p.domain) for p in read(path)] == [
        ("Add.\n\n2, 3", "sums"),
        ("Name a planet.", ""),
    ]


def test_parts_of_text_are_one_message(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "2+3?"}, {"type": "text", "text": "Say why."}]
    row = {"messages": [{"role": "user", "content": parts}, REPLY]}
    assert read(write_jsonl(tmp_path / "a.jsonl", row))[0].question == "2+3?\nSay why."


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([REPLY], "row 1 of a.jsonl has no question"),
        ([SYSTEM, REPLY], "row 1 of a.jsonl has no question"),
        ([USER], "row 1 of a.jsonl has no answer"),
        ([REPLY, USER], "row 1 of a.jsonl has no answer"),
        ([{"role": "alien", "content": "x"}, REPLY], "has the role “alien”; known are system"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, REPLY],
            "message 1 in row 1 of a.jsonl holds more than text (image_url)",
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image"}]}],
            "holds more than text (image), for example a picture; only text can be used",
        ),
        ([{"role": "user", "content": {"audio": "x"}}, REPLY], "holds more than text (no text)"),
    ],
)
def test_a_conversation_that_is_no_problem_is_refused(
    tmp_path: Path, messages: Sequence[Values], sentence: str
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"messages": messages})
    assert sentence in refusal(path, question="messages", answer="messages")


def test_a_system_column_replaces_that_of_the_conversation(tmp_path: Path) -> None:
    row = {"messages": [SYSTEM, *EARLIER, USER, REPLY], "persona": "a poet"}
    path = write_jsonl(tmp_path / "a.jsonl", row)
    columns = {"question": "messages", "answer": "messages", "system": "You are {persona}."}
    assert read(path, **columns)[0].history == (Message("system", "You are a poet."), *TURNS)


def test_problems_that_differ_in_their_history_are_different(tmp_path: Path) -> None:
    rows = [{"messages": [*before, USER, REPLY]} for before in ([], EARLIER, [SYSTEM], [SYSTEM])]
    path = write_jsonl(tmp_path / "a.jsonl", *rows)
    problems = read(path)
    assert [problem.history for problem in problems] == [(), TURNS, (BRIEF,)]
    assert len({problem.id for problem in problems}) == 3
    found = survey(FileProblems(path=f"file:{path}", shape="auto"), path)
    assert (found.count, found.rows) == (3, 4)


def test_a_follow_up_after_another_conversation_is_no_leak(tmp_path: Path) -> None:
    more = {"role": "user", "content": "And doubled?"}
    train = write_jsonl(tmp_path / "a.jsonl", {"messages": [*EARLIER, more, REPLY]})
    others = [USER, REPLY, more, REPLY]
    held_out = write_jsonl(tmp_path / "b.jsonl", {"messages": others})
    same = write_jsonl(tmp_path / "c.jsonl", {"messages": [SYSTEM, *EARLIER, more, REPLY]})

    def both(path: Path) -> Data:
        sources = [FileProblems(path=f"file:{file}", shape="auto") for file in (train, path)]
        return Data(train=sources[0], evaluation=sources[1])

    assert len(load_all(both(held_out)).evaluation) == 1
    # The system prompt is no part of what is asked.
    with pytest.raises(ProblemError, match="1 of the held-out problems are training problems"):
        load_all(both(same))


@needs_cases
@pytest.mark.parametrize(
    ("file", "questions", "answers"),
    [
        ("10-alpaca/alpaca.json", ["Add the numbers.\n\n2 and 3"], ["5"]),
        (
            "10-alpaca/alpaca.jsonl",
            ["Add the numbers.\n\n2 and 3", "Name the largest planet."],
            ["5", "Jupiter"],
        ),
        ("11-nested-prompts/messages.jsonl", ["2+3?"], ["5"]),
        ("11-nested-prompts/sharegpt.jsonl", ["2+3?"], ["5"]),
        ("11-nested-prompts/verl.jsonl", ["2+3?"], ["5"]),
        (
            "13-long-group-names/topics.jsonl",
            ["How many legs have 3 cats?", "What is 7*6?"],
            ["12", "42"],
        ),
    ],
)
def test_the_cases_give_their_right_results(
    file: str, questions: list[str], answers: list[str]
) -> None:
    problems = read(CASES / file)
    assert [problem.question for problem in problems] == questions
    assert [problem.answer for problem in problems] == answers

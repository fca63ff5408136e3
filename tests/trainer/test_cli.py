"""The command line of the trainer: output and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer import recipes
from trainer.cli import main
from trainer.events import reference
from trainer.events.event_types import EVENT_TYPES
from trainer.spec import fields, load
from trainer.spec.fields.field_table import markdown

STAGE = {"name": "only", "until": {"steps": 30}, "problems_per_step": 4}
ROOT = Path(__file__).resolve().parents[2]


def write_definition(folder: Path, **settings: object) -> str:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({"stages": [STAGE], **settings}))
    return str(path)


def test_a_valid_definition_is_confirmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_definition(tmp_path, name="mine")
    assert main(["validate", path]) == 0
    assert capsys.readouterr().out == f"{path} can run: mine, 30 steps.\n"


def test_every_issue_of_a_definition_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_definition(tmp_path, sed=1, pool={"rollouts_per_problem": 0})
    assert main(["validate", path]) == 64
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{path} cannot run:"
    assert sorted(lines[1:]) == [
        "- pool.rollouts_per_problem must be at least 1, got “0”",
        "- sed is not a setting here; did you mean seed?",
    ]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.yaml", None, "cannot be read: no such file or directory."),
        ("latin.yaml", b"name: caf\xe9", "is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_gives_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    sentence: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["validate", str(tmp_path / name)]) == 64
    assert sentence in capsys.readouterr().err


def test_validation_reads_the_problems_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nwhy?,\n")
    path = write_definition(
        tmp_path, data={"train": {"kind": "file", "path": f"file:{tmp_path / 'a.csv'}"}}
    )
    assert main(["validate", path]) == 0
    assert main(["validate", path, "--data"]) == 64
    assert "row 2 of a.csv has no answer" in capsys.readouterr().err


def test_a_definition_is_explained_in_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sampling = {"max_new_tokens": 10}
    stages = [
        {
            **STAGE,
            "name": "warm",
            "source": "teacher_written",
            "rollouts": {"generate": {"kind": "plain", "sampling": sampling}},
        },
        {
            **STAGE,
            "rollouts": {"generate": {"kind": "plain", "per_problem": 2, "sampling": sampling}},
        },
    ]
    path = write_definition(
        tmp_path,
        stages=stages,
        data={
            "train": {"kind": "arithmetic", "count": 50},
            "evaluation": {"kind": "arithmetic", "families": ["mul"], "count": 40},
        },
        pool={"sampling": sampling, "track_problems": 20, "refresh": "each_stage"},
        evaluation={"every": 30, "sampling": sampling},
    )
    assert main(["explain", path]) == 0
    text = capsys.readouterr().out
    assert (
        "Problems: 50 to train on, 40 held out; judged by the verifier numeric (the same number)."
        in text
    )
    assert (
        "8 answers of the student to each of 50 problems; the weight of a problem is "
        "w(p) = p^1 (1 − p)^1." in text
    )
    assert (
        "Stage 1, warm: 30 steps of 4 problems, one answer of the teacher to each, "
        "at most 50 written before the stage" in text
    )
    assert (
        "Stage 2, only: 30 steps of 4 problems, 2 new answers of the student to each, "
        "of at most 10 tokens; reverse KL" in text
    )
    tokens = 10 * (2 * 50 * 8 + 50 + 30 * 4 * 2 + 2 * 4 * 40 + 40 + 20 * 8)
    assert f"At most {tokens:,} tokens" in text


def test_shapers_are_explained_and_answers_of_a_controller_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage: dict[str, Any] = {
        **STAGE,
        "objective": {"kind": "grpo", "ratio": "sequence_token"},
        "shapers": {"kl": {"to": "teacher", "coefficient": 0.5}},
        "rollouts": {
            "generate": {"per_problem": 2, "sampling": {"max_new_tokens": 10}},
            "control": {"kind": "dynamic_sampling", "most_answers": 8},
        },
    }
    texts = []
    for control in (stage["rollouts"]["control"], {"kind": "fixed"}):
        stage["rollouts"]["control"] = control
        path = write_definition(
            tmp_path, stages=[stage], pool={"estimate": "never", "weighting": {"kind": "uniform"}}
        )
        assert main(["explain", path]) == 0
        texts.append(capsys.readouterr().out)
    assert "GSPO-token on the verdicts, advantages lowered by 0.5 KL to the teacher" in texts[0]
    bounds = [int(text.split("At most ")[1].split()[0].replace(",", "")) for text in texts]
    assert bounds[0] - bounds[1] == 30 * 4 * (8 - 2) * 10


def test_one_answer_is_written_in_the_singular(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_definition(tmp_path, evaluation={"final_samples": 1, "pass_at": [1]})
    assert main(["explain", path]) == 0
    assert "Evaluation: 1 answer to each of " in capsys.readouterr().out


@pytest.mark.parametrize("preset", recipes.load("paced").presets)
def test_a_preset_can_be_printed_and_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], preset: str
) -> None:
    assert main(["recipes", "paced", "--preset", preset]) == 0
    definition = capsys.readouterr().out
    assert load(definition) == recipes.load("paced").spec(preset)
    (tmp_path / "run.yaml").write_text(definition)
    assert main(["explain", str(tmp_path / "run.yaml")]) == 0


def test_recipes_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    assert "paced: PACED, arXiv 2603.11178" in capsys.readouterr().out
    assert main(["recipes", "paced"]) == 0
    assert "https://arxiv.org/abs/2603.11178" in capsys.readouterr().out
    assert main(["recipes", "unknown"]) == 64
    assert (
        capsys.readouterr().err
        == f"there is no recipe unknown; there is {', '.join(recipes.names())}\n"
    )


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["stages"]["title"] == "Stages"


def test_the_reference_of_settings_is_current_and_complete() -> None:
    page = (ROOT / "docs" / "run-definition.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: python -m trainer schema --markdown > docs/run-definition.md"
    assert all(f"| `{info.path}`" in page for info in fields())


def test_the_reference_of_events_is_current_and_complete(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["events", "--markdown"]) == 0
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert page == capsys.readouterr().out, (
        "run: python -m trainer events --markdown > docs/events.md"
    )
    assert all(f"### `{name}`" in page for name in EVENT_TYPES)
    for name, event in EVENT_TYPES.items():
        assert event.__doc__, f"{name} has no description"
        undescribed = [
            path
            for path, field in reference.fields(event)
            if path not in ("type", "wall_time", "step") and not field.description
        ]
        assert undescribed == [], name


def test_a_definition_is_validated_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from trainer.cli import main; "
        "main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program, "validate", write_definition(tmp_path), "--data"],
            check=False,
        ).returncode
        == 0
    )


def test_run_and_resume_return_the_exit_code_of_the_trainer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_definition(tmp_path, pool={"rollouts_per_problem": 0})
    assert main(["run", path, "--dir", str(tmp_path / "a")]) == 64
    assert "pool.rollouts_per_problem must be at least 1" in capsys.readouterr().err
    assert main(["resume", str(tmp_path / "b"), "--attempt", "2"]) == 64
    assert "holds no run: it has no spec.json" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_the_package_can_be_executed(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "trainer", "validate", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (
        64,
        f"{tmp_path} cannot be read: is a directory.\n",
    )

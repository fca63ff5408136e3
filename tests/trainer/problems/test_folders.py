"""Data sets in folders: saved by Hugging Face `datasets`, or laid out as on the hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from trainer.spec import Data, FileProblems
from trainer.text.problems import ProblemError, inspect, load

ROWS = [{"question": f"What is {n}?", "answer": str(n)} for n in range(3000)]


def answers(folder: Path, split: str | None = None) -> list[str]:
    return [
        problem.answer
        for problem in load(FileProblems(path=f"file:{folder}", split=split), Data()).items
    ]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    parts = DatasetDict(
        {
            "train": Dataset.from_list(ROWS),
            "test": Dataset.from_list([{"question": "last?", "answer": "x"}]),
        }
    )
    parts.save_to_disk(tmp_path / "saved", num_shards={"train": 2, "test": 1})
    return tmp_path / "saved"


def test_a_saved_data_set_is_read_split_by_split(saved: Path) -> None:
    assert answers(saved, "train") == [row["answer"] for row in ROWS]
    assert answers(saved, "test") == ["x"]
    assert answers(saved / "test") == ["x"]
    assert inspect(saved, split="train").format == "arrow"


def test_a_split_must_be_chosen_among_several(saved: Path) -> None:
    with pytest.raises(ProblemError, match="has several splits; choose one: test, train"):
        answers(saved)
    with pytest.raises(ProblemError, match="has no split “dev”; it has test, train"):
        answers(saved, "dev")


def test_a_hub_folder_is_read_by_configuration_and_split(tmp_path: Path) -> None:
    for name, rows in {
        "main/train-00000-of-00001": ROWS[:5],
        "main/test-00000-of-00001": ROWS[5:7],
        "socratic/train-00000": ROWS[7:9],
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Dataset.from_list(rows).to_parquet(str(tmp_path / f"{name}.parquet"))
    (tmp_path / "dataset_infos.json").write_text(json.dumps({"main": {}}))
    assert answers(tmp_path, "main/train") == ["0", "1", "2", "3", "4"]
    assert answers(tmp_path, "main/test") == ["5", "6"]
    with pytest.raises(ProblemError, match="choose one: main/test, main/train, socratic/train"):
        answers(tmp_path)


def test_an_id_or_question_may_stand_in_several_files(tmp_path: Path) -> None:
    for name in ("part-1.jsonl", "part-2.jsonl"):
        (tmp_path / name).write_text(json.dumps({"question": "the same?", "answer": "1"}) + "\n")
    assert answers(tmp_path) == ["1"]


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(ProblemError, match="has no data files"):
        answers(tmp_path)

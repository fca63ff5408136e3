"""A comparison with a recording reports a changed bit, a missing key and a new one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.golden import recording
from tests.golden.__main__ import report
from tests.golden.comparison import EXACT, NEAR, compare, header_differences, rule_for
from tests.golden.recording import Header, Recording
from tests.golden.runs import Numbers, Reading, read_numbers

HEADER: Header = {"torch": "2.13.0", "instruction_set": "AVX2"}
RECORDINGS = sorted(recording.FOLDER.glob("*.json"))


def recorded() -> Numbers:
    return recording.load(recording.path_of("opsd")).numbers


def with_value(numbers: Numbers, key: str, index: int, value: float) -> Numbers:
    readings = list(numbers[key])
    readings[index] = Reading(readings[index].step, (value,))
    return {**numbers, key: readings}


def value_of(numbers: Numbers, key: str, index: int) -> float:
    value = numbers[key][index].values[0]
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_is_the_same_as_itself(path: Path, tmp_path: Path) -> None:
    original = recording.load(path)
    recording.save(original, tmp_path / "again.json")
    reloaded = recording.load(tmp_path / "again.json")
    comparison = compare(original.numbers, reloaded.numbers, EXACT)

    assert (reloaded.header, reloaded.seconds) == (original.header, original.seconds)
    assert comparison.differences == []
    assert comparison.keys > 100 and comparison.values > 1000
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_a_changed_last_bit_is_reported_with_recipe_step_and_key() -> None:
    numbers = recorded()
    old = value_of(numbers, "loss", 2)
    new = math.nextafter(old, math.inf)
    comparison = compare(numbers, with_value(numbers, "loss", 2, new), EXACT)

    assert len(comparison.differences) == 1
    text = report("opsd", comparison, EXACT)
    assert "opsd: " in text
    assert f"1 differ, first at step 3, loss: recorded {old}, now {new}" in text


def test_a_zero_that_lost_its_sign_is_reported() -> None:
    zero, negative = {"gap": [Reading(1, (0.0,))]}, {"gap": [Reading(1, (-0.0,))]}

    assert len(compare(zero, negative, EXACT).differences) == 1


def test_the_first_of_several_differences_is_that_of_the_earliest_step() -> None:
    numbers = recorded()
    current = with_value(with_value(numbers, "loss", 9, 1.0), "grad_norm", 4, 1.0)

    assert compare(numbers, current, EXACT).differences[0].key == "grad_norm"


def test_a_missing_key_and_a_new_one_are_reported() -> None:
    numbers = recorded()
    fewer = {key: readings for key, readings in numbers.items() if key != "grad_norm"}

    norm = value_of(numbers, "grad_norm", 0)
    missing, new = compare(numbers, fewer, EXACT), compare(fewer, numbers, EXACT)

    assert f"step 1, grad_norm: recorded {norm}, now missing" in report("opsd", missing, EXACT)
    assert f"step 1, grad_norm: not recorded, now {norm}" in report("opsd", new, EXACT)
    assert len(missing.differences) == len(new.differences) == len(numbers["grad_norm"])


def test_on_another_machine_the_first_losses_are_compared_within_a_tolerance() -> None:
    numbers = recorded()
    loss = value_of(numbers, "loss", 2)
    other_header = HEADER | {"instruction_set": "AVX512"}

    assert rule_for(HEADER, HEADER) is EXACT
    assert rule_for(HEADER, other_header) is NEAR
    assert header_differences(HEADER, other_header) == ["instruction_set AVX2 → AVX512"]
    near = with_value(numbers, "loss", 2, loss * 1.0001)
    assert compare(numbers, near, NEAR).differences == []
    far = with_value(numbers, "loss", 2, loss * 1.01)
    assert [difference.step for difference in compare(numbers, far, NEAR).differences] == [3]
    late = with_value(numbers, "loss", 9, loss * 1.01)
    assert compare(numbers, late, NEAR).differences == []


def test_numbers_are_read_from_an_event_log_without_clocks_and_memory(tmp_path: Path) -> None:
    metrics = {"loss": 0.5, "time/step_s": 2.0, "tokens_per_second": 9.0, "memory/rss_bytes": 1.0}
    events = [
        {"type": "metrics", "step": 1, "tokens": 7, "compute": 3.0, "values": metrics},
        {"type": "log", "level": "info", "message": "Step 1 is done."},
        {
            "type": "calibration",
            "step": 2,
            "when": "during",
            "readout": "stated",
            "spr": "NaN",
            "bins": [{"n": 3, "low": 0.0}, {"n": 4, "low": None}],
        },
    ]
    lines = [json.dumps(event) for event in events]
    (tmp_path / "000001.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    assert read_numbers(tmp_path) == {
        "loss": [Reading(1, (0.5,))],
        "tokens": [Reading(1, (7,))],
        "compute": [Reading(1, (3.0,))],
        "calibration[during,stated].spr": [Reading(2, ("NaN",))],
        "calibration[during,stated].bins": [Reading(2, (0.0, 3, None, 4))],
    }


def test_a_recording_holds_floats_exactly(tmp_path: Path) -> None:
    numbers: Numbers = {"loss": [Reading(1, (0.1 + 0.2,)), Reading(2, (math.nextafter(1, 2),))]}
    recording.save(Recording(HEADER, 1.5, numbers), tmp_path / "a.json")

    assert recording.load(tmp_path / "a.json").numbers == numbers

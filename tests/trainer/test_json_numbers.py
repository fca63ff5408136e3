"""NaN and the infinities survive JSON in every format that names them."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from trainer import json_numbers
from trainer.events import to_json_value
from trainer.events.values import none_unless_finite
from webapp.clients import values
from webapp.runs.event_rows import storable
from webapp.series.series_store import json_number

floats = st.one_of(st.floats(), st.sampled_from([math.nan, math.inf, -math.inf]))


def bits(value: float) -> bytes:
    return b"NaN" if math.isnan(value) else struct.pack("<d", value)


def decoded(value: Any) -> float:
    """The number that strict JSON holds as `value`."""
    number = json.loads(json.dumps(value, allow_nan=False))
    number = json_numbers.decode(number) if isinstance(number, str) else number
    assert number is not None
    return float(number)


@given(floats)
def test_every_writer_keeps_every_number(value: float) -> None:
    for written in (json_numbers.encode(value), to_json_value(value), storable(value)):
        assert bits(decoded(written)) == bits(value)
    assert decoded(json_number(value)) == value or math.isnan(value)
    pydantic = json.loads(to_json(value, inf_nan_mode=json_numbers.PYDANTIC_MODE))
    assert bits(decoded(pydantic)) == bits(value)


@given(floats)
def test_clients_send_what_the_pages_get(value: float) -> None:
    number_by_key, others = values.numbers({"loss": json_numbers.encode(value)})

    assert bits(number_by_key["loss"]) == bits(value)
    assert others == []


@given(st.text())
def test_other_text_is_no_number(text: str) -> None:
    assert json_numbers.decode(text) is None or text in ("NaN", "Infinity", "-Infinity")


@given(floats)
def test_every_spelling_of_a_number_that_is_not_finite_is_recognised(value: float) -> None:
    for text in (str(value), f"+{value}".replace("+-", "-"), str(json_numbers.encode(value))):
        assert json_numbers.is_name(text) is not math.isfinite(value)
        assert (none_unless_finite(text) is None) is not math.isfinite(value)

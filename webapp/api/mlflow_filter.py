"""MLflow's language for filters and orders, read into conditions.

    filter     condition [AND condition]…
    condition  field sign value | field [NOT] IN ('a', 'b') | field IS [NOT] NULL
    field      [metrics. | params. | tags. | attributes. | datasets.] name, `name` or "name"
    sign       = != of everything, < <= > >= of numbers, LIKE ILIKE of text
    order      field [ASC | DESC]

Text is in single or double quotes, and is taken as it is, without escapes. These are MLflow's rules
(`mlflow/utils/search_utils.py`, 3.17); beyond them IN, NOT IN and IS NULL may follow any text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from webapp.api.requests import ApiError
from webapp.runs.event_rows import storable

Kind = Literal["metric", "param", "tag", "attribute", "dataset"]
KINDS: dict[str, Kind] = {
    "metric": "metric",
    "metrics": "metric",
    "param": "param",
    "params": "param",
    "parameter": "param",
    "parameters": "param",
    "tag": "tag",
    "tags": "tag",
    "attribute": "attribute",
    "attributes": "attribute",
    "attr": "attribute",
    "run": "attribute",
    "runs": "attribute",
    "dataset": "dataset",
    "datasets": "dataset",
}
# Other names of attributes, as MLflow's pages show them.
ALIASES = {
    "created": "start_time",
    "Created": "start_time",
    "run name": "run_name",
    "Run name": "run_name",
    "Run Name": "run_name",
}
DATASET_NAMES = ("name", "digest", "context")

FIELD = r"""(?:`?(?P<kind>[a-zA-Z]+)`?\.)?(?P<name>[\w.\-/]+|`[^`]+`|"[^"]+")"""
TEXT = r"""(?:'(?:''|\\'|[^'])*'|"(?:""|\\"|[^"])*")"""
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
LIST = rf"\(\s*{TEXT}(?:\s*,\s*{TEXT})*\s*,?\s*\)"
CONDITION = re.compile(
    rf"\s*{FIELD}(?:"
    rf"(?:\s*(?P<sign>!=|<=|>=|=|<|>)|\s+(?P<like>i?like))\s*(?P<value>{TEXT}|{NUMBER})"
    rf"|\s+(?P<within>(?:not\s+)?in)\s*(?P<list>{LIST})"
    rf"|\s+(?P<null>is\s+(?:not\s+)?null)(?!\w))\s*",
    re.IGNORECASE,
)
AND = re.compile(r"and(?=\s)", re.IGNORECASE)
ORDER = re.compile(rf"\s*{FIELD}(?:\s+(?P<direction>asc|desc))?\s*", re.IGNORECASE)
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# Each condition may make Postgres search the parameters or tags of all runs.
LONGEST_FILTER, MOST_CONDITIONS, MOST_ORDERS = 5000, 50, 10


@dataclass(frozen=True)
class Field:
    """What is compared or ordered by, such as metric `loss` or attribute `status`."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Condition:
    """A comparison of a field; the value is a number for fields that are numbers, else text.

    `sign` is one of COMPARISONS, LIKE, ILIKE, IN, NOT IN, IS NULL and IS NOT NULL. The value of IN
    is a tuple, and that of IS NULL is None.
    """

    field: Field
    sign: str
    value: str | float | tuple[str, ...] | None

    def holds(self, value: str | float | None) -> bool:
        """Whether it is true of a value of the field; None if there is none."""
        if self.value is None:
            return (value is None) == (self.sign == "IS NULL")
        match value, self.value:
            case (float() | int(), float()):
                return COMPARISONS[self.sign](value, self.value)
            case (str(), tuple()):
                return (value in self.value) == (self.sign == "IN")
            case (str(), str()) if self.sign in ("LIKE", "ILIKE"):
                return _pattern(self.value, self.sign).fullmatch(value) is not None
            case (str(), str()):
                return (value == self.value) == (self.sign == "=")
        return False


def _pattern(text: str, sign: str) -> re.Pattern[str]:
    """The pattern of LIKE, in which % stands for any text and _ for one character."""
    expression, *others = (
        "".join("." if character == "_" else re.escape(character) for character in part)
        for part in text.split("%")
    )
    if others:
        *middle, last = others
        # The first match of each part is as good as any later one. An atomic group keeps to it:
        # otherwise ten % in a pattern take hours.
        expression += "".join(f"(?>.*?{part})" for part in middle) + f".*{last}"
    return re.compile(expression, re.DOTALL | (re.IGNORECASE if sign == "ILIKE" else 0))


@dataclass(frozen=True)
class Order:
    field: Field
    is_descending: bool


@dataclass(frozen=True)
class Language:
    """What can be asked of one sort of things, such as runs; `numbers` and `texts` are attributes.

    `things` is their name in errors.
    """

    things: str
    numbers: Collection[str]
    texts: Collection[str]
    kinds: Collection[Kind]

    def conditions(self, filter: str) -> list[Condition]:
        """Read a filter; an empty one has no conditions. Raises ApiError."""
        if len(filter) > LONGEST_FILTER:
            raise _refused(f"A filter may have {LONGEST_FILTER:,} characters.")
        conditions: list[Condition] = []
        position = 0
        while filter.strip():
            match = CONDITION.match(filter, position)
            if match is None:
                raise self._not_understood(filter[position:])
            if len(conditions) == MOST_CONDITIONS:
                raise _refused(f"A filter may have {MOST_CONDITIONS} conditions.")
            conditions.append(self._condition(match))
            if match.end() == len(filter):
                break
            # A condition takes the spaces behind it, so that the character before AND is one.
            joint = AND.match(filter, match.end())
            if joint is None or not filter[match.end() - 1].isspace():
                raise self._not_understood(filter[match.start() :])
            position = joint.end()
        return conditions

    def orders(self, order_by: Sequence[str]) -> list[Order]:
        """Read the parts of an order. Raises ApiError."""
        if len(order_by) > MOST_ORDERS:
            raise _refused(f"An order may have {MOST_ORDERS} parts.")
        orders = []
        for text in order_by:
            match = ORDER.fullmatch(text)
            field = None if match is None else self._field(match)
            if match is None or field is None or field.kind == "dataset":
                raise _refused(
                    f"The order {text[:100]!r} is not understood. {self._fields()} "
                    "ASC or DESC may follow."
                )
            orders.append(Order(field, (match["direction"] or "").lower() == "desc"))
        return orders

    def _condition(self, match: re.Match[str]) -> Condition:
        field = self._field(match)
        if field is None:
            raise self._not_understood(match[0])
        sign = " ".join(
            (match["sign"] or match["like"] or match["within"] or match["null"]).split()
        )
        sign = sign.upper()
        if match["null"]:
            return Condition(field, sign, None)
        is_number = field.kind == "metric" or self._is_number(field)
        if match["list"] is not None and not is_number:
            texts = re.findall(TEXT, match["list"])
            return Condition(field, sign, tuple(storable(text[1:-1]) for text in texts))
        value = match["value"] or ""
        if is_number and sign in COMPARISONS and value[:1] not in ("'", '"'):
            return Condition(field, sign, float(value))
        if not is_number and sign in ("=", "!=", "LIKE", "ILIKE") and value[:1] in ("'", '"'):
            return Condition(field, sign, storable(value[1:-1]))
        raise _refused(
            f"The condition {match[0].strip()[:200]!r} does not fit its field. "
            + (
                f"{field.name[:60]} is a number: compare it by =, !=, <, <=, > or >= with a "
                "number without quotes."
                if is_number
                else f"{field.name[:60]} is text: compare it by =, !=, LIKE, ILIKE, IN or NOT IN "
                "with text in quotes."
            )
        )

    def _field(self, match: re.Match[str]) -> Field | None:
        """The field that a match names; None if there is no such field."""
        kind = KINDS.get(match["kind"].lower()) if match["kind"] else "attribute"
        name = storable(match["name"])
        if name[0] in '`"':
            name = name[1:-1]
        if kind is None or kind not in self.kinds:
            return None
        if kind == "attribute":
            name = ALIASES.get(name, name)
            return Field(kind, name) if name in (*self.numbers, *self.texts) else None
        return Field(kind, name) if kind != "dataset" or name in DATASET_NAMES else None

    def _is_number(self, field: Field) -> bool:
        return field.kind == "attribute" and field.name in self.numbers

    def _not_understood(self, text: str) -> ApiError:
        return _refused(
            f"The filter is not understood from {text.strip()[:200]!r} on. {self._fields()} "
            "Conditions are joined by AND."
        )

    def _fields(self) -> str:
        attributes = ", ".join([*self.texts, *self.numbers])
        others = [f"{kind}s.<name>" for kind in self.kinds if kind != "attribute"]
        return f"{self.things.capitalize()} have {attributes}, {' and '.join(others)}."


def _refused(message: str) -> ApiError:
    return ApiError(400, "INVALID_PARAMETER_VALUE", message)

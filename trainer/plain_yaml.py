"""YAML, read and written in one way everywhere: the plain values of YAML 1.2's core schema.

There are no dates and no base 60, `1e-3` is a number, `on` is text, and `<<` is an ordinary name. A
name given twice is an error; PyYAML would silently take the last. A text is refused before anything
is built from it if it has too many characters or values, is nested too deeply, or has aliases that
stand for too much: ten lines of aliases to aliases can stand for billions of values.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
from yaml.composer import Composer

# A text of this length takes half a second, and a web page waits for it.
MAX_CHARACTERS = 256 * 1024
# A whole run definition has a few hundred values. PyYAML needs about 1.5 KB for each.
MAX_VALUES = 50_000
# All aliases together may stand for as much as a text may have.
MAX_ALIASED_CHARACTERS = MAX_CHARACTERS
CHARACTERS_OF_A_VALUE = 8
# PyYAML recurses; this is far below Python's own limit.
MAX_DEPTH = 100
# Of a whole number. Python refuses to print one of more than 4,300.
MAX_DIGITS = 400

TAG = "tag:yaml.org,2002:"
# (pattern, first characters) of the plain scalars of YAML 1.2's core schema, by tag.
PLAIN_VALUES = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"|~|null|Null|NULL", ["~", "n", "N", ""]),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
NULLS = ("", "~", "null", "Null", "NULL")
NOT_PLAIN = "a value is neither text, a number of ordinary size, true or false"


class UnreadableYaml(ValueError):
    """A text is not YAML of plain values, or exceeds a limit; the message says why and where."""


def load(text: str, longest: int = MAX_CHARACTERS, as_text: bool = False) -> Any:
    """Return the plain value of a YAML text; None of an empty one. Raises UnreadableYaml.

    `as_text`: numbers, true and false are the text that is written, whatever version of YAML its
    writer followed: to YAML 1.1, `1e3` is text.
    """
    if len(text) > longest:
        raise UnreadableYaml(f"it has {len(text):,} characters; at most {longest:,} are read")
    try:
        node = _Composer(text).get_single_node()
        return None if node is None else _value(node, as_text)
    except yaml.YAMLError as error:
        raise UnreadableYaml(_cause(error)) from None
    # Half of a surrogate pair, which libyaml cannot be given.
    except UnicodeEncodeError:
        raise UnreadableYaml(NOT_PLAIN) from None


def dump(value: Any) -> str:
    """Return plain values as YAML that `load` reads back as the same values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Composer(Composer, yaml.CSafeLoader):
    """Makes nodes of a text, within the limits. `_value` makes values of nodes.

    The parser is libyaml, which PyYAML's wheels have: the one in Python takes five times as long.
    """

    # Empty, so that the resolvers of YAML 1.1 are not inherited; those of 1.2 are added below.
    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def __init__(self, text: str) -> None:
        Composer.__init__(self)
        yaml.CSafeLoader.__init__(self, text)
        # (characters, levels) of nodes that aliases name, by identity.
        self._sizes: dict[int, tuple[int, int]] = {}
        self._values = self._aliased = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        self._values += 1
        if self._values > MAX_VALUES:
            raise _refused(f"there are more than {MAX_VALUES:,} values", event.start_mark)
        self._depth += 1
        self._check_depth(self._depth, event)
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent) and node is not None:
            # Only a node that is still open has no end.
            if node.end_mark is None:
                raise _refused("a list or a mapping contains itself", event.start_mark)
            characters, levels = self._size(node)
            self._aliased += characters
            if self._aliased > MAX_ALIASED_CHARACTERS:
                raise _refused("aliases (`*name`) stand for too many values", event.start_mark)
            self._check_depth(self._depth + levels, event)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        names = set()
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise _refused("a name is a list or a mapping instead of text", name.start_mark)
            if name.value in names:
                raise _refused(f"“{name.value[:100]}” is given twice", node.start_mark)
            names.add(name.value)
        return node

    def _size(self, node: yaml.Node) -> tuple[int, int]:
        """Return the characters and the levels of `node` with aliases expanded."""
        # By identity, so that a node that many aliases name is counted through once.
        if id(node) not in self._sizes:
            sizes = [self._size(child) for child in _children(node)]
            own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
            self._sizes[id(node)] = (
                CHARACTERS_OF_A_VALUE + own + sum(characters for characters, _ in sizes),
                1 + max((levels for _, levels in sizes), default=0),
            )
        return self._sizes[id(node)]

    @staticmethod
    def _check_depth(depth: int, event: yaml.Event) -> None:
        if depth > MAX_DEPTH:
            raise _refused("it is nested too deeply", event.start_mark)


for _name, (_pattern, _first) in PLAIN_VALUES.items():
    _Composer.add_implicit_resolver(TAG + _name, re.compile(f"^(?:{_pattern})$"), list(_first))


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _value(node: yaml.Node, as_text: bool) -> Any:
    """Return what a node stands for. Raises YAMLError for what is no plain value."""
    kind = node.tag.removeprefix(TAG)
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return {_value(name, as_text): _value(value, as_text) for name, value in node.value}
    if isinstance(node, yaml.SequenceNode) and kind == "seq":
        return [_value(child, as_text) for child in node.value]
    text = node.value
    if not isinstance(node, yaml.ScalarNode) or kind not in {"str", *PLAIN_VALUES}:
        raise _refused(NOT_PLAIN, node.start_mark)
    if kind == "null" and text in NULLS:
        return None
    if as_text or kind == "str":
        return text
    # A tag may be written before any text, as in `!!int many`.
    if not re.fullmatch(PLAIN_VALUES[kind][0], text) or (kind == "int" and len(text) > MAX_DIGITS):
        raise _refused(NOT_PLAIN, node.start_mark)
    if kind == "bool":
        return text.lower() == "true"
    return int(text) if kind == "int" else _float(text.lower())


def _float(text: str) -> float:
    if text.endswith(".nan"):
        return math.nan
    return float(text.replace(".inf", "inf"))


class _Dumper(yaml.SafeDumper):
    """Quotes strings that `load` would not read back as the same string.

    These are strings that look like numbers or booleans, and the rare line breaks of Unicode, which
    plain YAML folds into spaces.
    """

    yaml_implicit_resolvers = {
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
            *_Composer.yaml_implicit_resolvers.get(first, []),
        ]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Composer.yaml_implicit_resolvers}
    }

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if set(data) & set("\x85\u2028\u2029") else None
        return self.represent_scalar(TAG + "str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _refused(problem: str, mark: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _cause(error: yaml.YAMLError) -> str:
    cause = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    mark, start = (getattr(error, name, None) for name in ("problem_mark", "context_mark"))
    if mark is None:
        return str(cause)
    # libyaml finds that a bracket or a quote is not closed at the end of the text.
    since = f", {getattr(error, 'context', '')} from line {start.line + 1} on" if start else ""
    return f"{cause} in line {mark.line + 1}, column {mark.column + 1}{since}"

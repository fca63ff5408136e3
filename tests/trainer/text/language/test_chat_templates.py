"""A chat template is a program of its author; nothing that it does harms the trainer."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from trainer.text.language import chat_templates
from trainer.text.language.chat_templates import TemplateError, render

ASKED = [{"role": "user", "content": "2+3"}]
PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
# A loop, without and with text; texts built by doubling, by repetition, by padding, by a format and
# by replacement.
ENDLESS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}"
    "{% endfor %}{% endfor %}",
    "a recursive macro of loops": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}"
    "{% endif %}{% endmacro %}{{ f(60) }}",
    "a long power": "{{ 9 ** (9 ** 9) }}",
}
HUGE = {
    "doubling": "{% set n = namespace(x='x' * 999) %}{% for i in range(60) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "repetition": "{{ 'x' * 10 ** 12 }}",
    "padding": "{{ 'x' | center(10 ** 12) }}",
    "a format": "{{ '%1000000000000d' % 1 }}",
    "replacement": "{{ ('x' * 10 ** 6).replace('x', 'y' * 10 ** 7) }}",
    "loops with text": "{% for a in range(99999) %}{% for b in range(9999) %}{{ 'x' * 99 }}"
    "{% endfor %}{% endfor %}",
    "a long list": "{{ (range(99999) | list) * 10 ** 6 }}",
}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """A tenth of the processor time, which a real template does not need either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat_templates, "CPU_SECONDS", 0.5)
        patch.setattr(chat_templates, "_child", None)
        yield


def test_a_template_is_rendered_with_its_options() -> None:
    assert render(PLAIN + "{{ eos }}", ASKED, {"eos": "</s>"}) == "<user>2+3</s>"


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_a_template_that_does_not_end_is_ended(template: str) -> None:
    with pytest.raises(TemplateError, match=r"processor time|memory|recursion|digits"):
        render(template, ASKED, {})
    assert render(PLAIN, ASKED, {}) == "<user>2+3", "the next template has a process"


@pytest.mark.parametrize("template", HUGE.values(), ids=HUGE)
def test_a_template_that_builds_a_huge_text_is_refused(template: str) -> None:
    with pytest.raises(TemplateError, match=r"memory|characters|processor time|too large|too long"):
        render(template, ASKED, {})
    assert render(PLAIN, ASKED, {}) == "<user>2+3"


def test_a_text_of_the_longest_prompts_is_rendered() -> None:
    question = "number " * 200_000
    assert render(PLAIN, [{"role": "user", "content": question}], {}) == f"<user>{question}"


@pytest.mark.parametrize(
    "template", ["{{ messages.append(1) }}", "{{ ''.__class__.__mro__ }}", "{% include 'x' %}"]
)
def test_the_sandbox_holds(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template, ASKED, {})


def test_a_process_that_was_killed_is_replaced() -> None:
    render(PLAIN, ASKED, {})
    child = chat_templates._child
    assert child is not None
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()

    assert render(PLAIN, ASKED, {}) == "<user>2+3"


def test_any_text_arrives_as_it_is() -> None:
    text = 'a\nb\r\u2028"\\\ud800\x00ü'
    assert render("{{ messages[0].content }}", [{"role": "user", "content": text}], {}) == text

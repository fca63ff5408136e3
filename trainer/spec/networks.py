"""The networks of a run by role, and the context of a teacher."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from trainer.spec.base import (
    CAOPD,
    OPSD,
    DataURI,
    EndpointURL,
    ModelURI,
    Name,
    Section,
    check_uri,
    option,
    quoted,
)

LONGEST_DOMAIN = 200
Thinking = Literal["as_the_template", "on", "off"]


def _thinking() -> Thinking:
    field: Thinking = option(
        "as_the_template",
        title="Thinking mode",
        help="Value of `enable_thinking` for the chat template, for models with a thinking mode.",
        expert=True,
        paper=OPSD,
    )
    return field


class Network(Section):
    """One language model and how it is loaded."""

    model: ModelURI = option(
        title="Model",
        help="`builtin:student`, `builtin:teacher`, `model:<name>@<hash>`, "
        "`hub:<org>/<name>@<revision>` or `file:<folder>`. "
        "Weights are read from safetensors only.",
    )
    dtype: Literal["float32", "bfloat16", "float64"] = option(
        "float32",
        title="Precision",
        help="Number format of the weights.",
        expert=True,
    )
    random_init: bool = option(
        False,
        title="Random weights",
        help="Replace the stored weights by random ones, drawn by the seed of the run.",
        expert=True,
    )
    chat_template: bool = option(
        True,
        title="Chat template",
        help="Format prompts with the tokenizer's chat template if it has one.",
        expert=True,
    )
    thinking: Thinking = _thinking()


class NoAdapter(Section):
    """All weights of the student are trained."""

    kind: Literal["none"] = "none"


class LowRankAdapter(Section):
    """LoRA: the student's weights are frozen, low-rank updates of linear layers are trained."""

    kind: Literal["lora"] = "lora"
    # Rank 64, α 128 and all linear layers are the setting of OPSD's reference code.
    rank: int = option(64, title="Rank", help="Rank of each update.", ge=1, le=4096, paper=OPSD)
    alpha: float = option(
        128.0, title="α", help="Updates are scaled by α / rank.", gt=0, le=65_536, paper=OPSD
    )
    # Architectures name their layers differently: Phi-3 has qkv_proj and gate_up_proj.
    layers: tuple[Name, ...] = option(
        (),
        title="Layers",
        help="Names of the linear layers that have an update, such as q_proj. Empty: every linear "
        "layer of the blocks, without the router of a mixture of experts.",
        max_length=256,
        expert=True,
        paper=OPSD,
    )


Adapter = Annotated[NoAdapter | LowRankAdapter, Field(discriminator="kind")]


class Student(Network):
    """The model that is trained."""

    adapter: Adapter = option(
        title="Adapter", help="Which weights of the student are trained.", factory=NoAdapter
    )


class PlainContext(Section):
    """The teacher reads the same prompt as the student."""

    kind: Literal["plain"] = "plain"


class PrivilegedContext(Section):
    """The teacher also reads a text that the student does not see."""

    kind: Literal["privileged"] = "privileged"
    # OPSD shows the whole worked solution, not only its answer.
    shows: Literal["solution", "answer", "demonstration", "feedback"] = option(
        "solution",
        title="Privileged text",
        help="solution: the worked solution. answer: the reference answer. demonstration: a right "
        "answer of the student in this step, "
        "else the solution. feedback: the student's answer with its verdict.",
        paper=OPSD,
    )
    template: str = option(
        "{question}\n\nHere is a reference solution:\n{privileged}\n\nUnderstand it, then solve "
        "the problem in your own way.",
        title="Teacher's prompt",
        help="`{question}` stands for the student's prompt, `{privileged}` for the privileged "
        "text.",
        expert=True,
        multiline=True,
    )
    most_tokens: int = option(
        2048,
        title="Longest privileged text",
        help="A longer text is cut in its middle; the question is never cut.",
        unit="tokens",
        ge=1,
        le=1_000_000,
        expert=True,
    )

    @field_validator("template")
    @classmethod
    def _has_both(cls, template: str) -> str:
        for name in ("{question}", "{privileged}"):
            if name not in template:
                raise ValueError(f"must contain {name}, or the teacher does not read it")
        return template


Context = Annotated[PlainContext | PrivilegedContext, Field(discriminator="kind")]


def _context() -> Context:
    field: Context = option(title="Context", help="What the teacher reads.", factory=PlainContext)
    return field


class ModelTeacher(Network):
    """Another model with frozen weights."""

    kind: Literal["model"] = "model"
    context: Context = _context()


class SelfTeacher(Section):
    """The student itself, with other weights or another context."""

    kind: Literal["self"] = "self"
    # OPSD keeps the initial weights: they stabilise the training and hold the student near its
    # start.
    weights: Literal["initial", "ema", "adapter_off", "live"] = option(
        "initial",
        title="Weights",
        help="initial: those before the run. ema: a moving average of the student's. adapter_off: "
        "the student without its adapter, which "
        "needs no copy. live: the student's own at each step.",
        paper=OPSD,
    )
    # 0.05 is the rate of CaOPD's Table 6; its reference code takes 0.01.
    ema_rate: float = option(
        0.05,
        title="Moving-average rate",
        help="Only for the weights `ema`: after every step, average ← (1 − rate) · average + rate "
        "· student.",
        gt=0,
        le=1,
        paper=CAOPD,
        when={"weights": ("ema",)},
    )
    thinking: Thinking = _thinking()
    context: Context = _context()


class TextTeacher(Section):
    """A file of answers that a teacher wrote earlier; its probabilities are not known."""

    kind: Literal["texts"] = "texts"
    path: DataURI = option(
        title="Answers",
        help="`dataset:<name>@<fingerprint>`, `file:<path>` or `hub:<org>/<name>@<revision>`.",
    )
    question: str = option(
        "question",
        title="Question column",
        help="Column that is matched with the questions of the problems.",
        min_length=1,
    )
    response: str = option(
        "response", title="Answer column", help="Column with the teacher's answer.", min_length=1
    )
    rejected: str | None = option(
        None,
        title="Rejected column",
        help="Column with a worse answer, where the rows of the file are preference pairs.",
    )
    history: str | None = option(
        None,
        title="History column",
        help="Column with the turns before the question, where problems have a history.",
        expert=True,
    )


class EndpointTeacher(Section):
    """A model behind an OpenAI-compatible endpoint; only its texts are known, not probabilities."""

    kind: Literal["endpoint"] = "endpoint"
    url: EndpointURL = option(
        title="URL",
        help="URL up to and including `/v1`. A server allows only URLs that its operator lists.",
        min_length=1,
    )
    model: str = option(
        title="Model name", help="Name of the model at the endpoint.", min_length=1, max_length=200
    )
    key: str | None = option(
        None,
        title="Key",
        help="`secret:<name>`: name of a secret of the worker, never its value.",
    )
    seconds: float = option(
        120.0,
        title="Time limit",
        help="Time limit of one answer.",
        unit="s",
        gt=0,
        le=3600,
        expert=True,
    )
    retries: int = option(
        5,
        title="Retries",
        help="Retries after an error, a time-out or an invalid response, with growing pauses.",
        ge=0,
        le=50,
        expert=True,
    )
    at_once: int = option(
        8, title="Concurrent requests", help="Requests at the same time.", ge=1, le=256, expert=True
    )
    most_unanswered: float = option(
        0.5,
        title="Largest share without answer",
        help="A problem whose request is refused or answered with nothing is set aside; the run "
        "ends if this share of them is exceeded.",
        ge=0,
        le=1,
        expert=True,
    )
    reasoning: Literal["leave_out", "think_tags"] = option(
        "leave_out",
        title="Reasoning",
        help="Reasoning that the endpoint returns beside the answer. leave_out: it is stored but "
        "not trained on. think_tags: it stands before the answer, as <think>…</think>.",
        expert=True,
    )
    price: float = option(
        0.0,
        title="Price",
        help="Price of a million written tokens, in any currency, to show the cost of the run.",
        ge=0,
        expert=True,
    )
    context: Context = _context()

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if any(character.isspace() or not character.isprintable() for character in url):
            raise ValueError("must have no white space and no control characters")
        # urlsplit drops tabs and line breaks, so white space is refused before. It raises
        # ValueError for brackets that do not match, and `port` does for one above 65535.
        try:
            split_url = urlsplit(url)
            is_valid = (
                split_url.scheme in ("http", "https")
                and bool(split_url.hostname)
                and split_url.port != 0
            )
        except ValueError:
            is_valid = False
        if not is_valid:
            raise ValueError(
                "must start with http:// or https:// and have a host, and a port from 1 to 65535 "
                "if any"
            )
        # The URL is shown on pages and stored with the run, where a password must not be.
        if split_url.username or split_url.password or split_url.query or split_url.fragment:
            raise ValueError(
                "must have no user name, password, ? or #; put a key into `key`, as secret:<name>"
            )
        # Paths such as /chat/completions are appended to it.
        return url.rstrip("/")

    @field_validator("key")
    @classmethod
    def _is_a_name(cls, key: str | None) -> str | None:
        return key if key is None else check_uri(key, "secret")


Teacher = Annotated[
    ModelTeacher | SelfTeacher | TextTeacher | EndpointTeacher, Field(discriminator="kind")
]


class Specialist(Section):
    """A teacher for the problems of some domains."""

    domains: tuple[str, ...] = option(
        title="Domains", help="Values of the data's domain column.", min_length=1
    )
    teacher: ModelTeacher = option(title="Teacher", help="The model that teaches these domains.")

    @field_validator("domains")
    @classmethod
    def _are_names(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        for domain in domains:
            if not domain.strip() or len(domain) > LONGEST_DOMAIN:
                raise ValueError(
                    f"must be names of 1 to {LONGEST_DOMAIN} characters, got {quoted(domain)}"
                )
        return domains


class Networks(Section):
    """The networks of a text run by role."""

    student: Student = option(
        title="Student",
        help="The model that is trained.",
        factory=lambda: Student(model="builtin:student"),
        heading=True,
    )
    teacher: Teacher = option(
        title="Teacher",
        help="What the student learns from.",
        factory=lambda: ModelTeacher(model="builtin:teacher"),
        heading=True,
    )
    specialists: tuple[Specialist, ...] = option(
        (),
        title="Specialists",
        help="Additional teachers for the problems of some domains.",
        max_length=16,
        expert=True,
    )

    @model_validator(mode="after")
    def _one_teacher_a_domain(self) -> Networks:
        domains = [domain for specialist in self.specialists for domain in specialist.domains]
        duplicate = next((domain for domain in domains if domains.count(domain) > 1), None)
        if duplicate:
            raise ValueError(
                f"gives the domain {quoted(duplicate)} to two specialists; give it to one"
            )
        return self

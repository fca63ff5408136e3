"""The networks of a run, by role, and what a teacher reads beside the question."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from trainer.spec.base import DataURI, ModelURI, Section, check_uri, option, shown

OPSD = "OPSD, arXiv 2601.18734"
CAOPD = "CaOPD, arXiv 2604.16830"

LONGEST_DOMAIN = 200

Thinking = Literal["as_the_template", "on", "off"]


def _thinking() -> Thinking:
    chosen: Thinking = option(
        "as_the_template",
        title="Thinking mode",
        help="What the chat template is told of thinking (`enable_thinking`), for models that have such a mode.",
        expert=True,
        paper=OPSD,
    )
    return chosen


class Network(Section):
    """One language model and how it is loaded."""

    model: ModelURI = option(
        title="Model",
        help="`builtin:student`, `builtin:teacher`, `model:<name>@<hash>`, `hub:<org>/<name>@<revision>` or `file:<folder>`. "
        "Weights are read from safetensors only.",
    )
    dtype: Literal["float32", "bfloat16", "float64"] = option(
        "float32",
        title="Precision",
        help="Number format that the weights are held in.",
        expert=True,
    )
    random_init: bool = option(
        False,
        title="Random weights",
        help="Ignore the stored weights and draw new ones from the run's seed.",
        expert=True,
    )
    chat_template: bool = option(
        True,
        title="Chat template",
        help="Format prompts with the tokenizer's chat template where it has one.",
        expert=True,
    )
    thinking: Thinking = _thinking()


class NoAdapter(Section):
    """Every weight of the student is trained."""

    kind: Literal["none"] = "none"


class LowRankAdapter(Section):
    """LoRA: the student's weights stay, low-rank updates of its linear layers are trained."""

    kind: Literal["lora"] = "lora"
    rank: int = option(64, title="Rank", help="Of each update.", ge=1, le=4096, paper=OPSD)
    alpha: float = option(
        128.0, title="α", help="Updates are scaled by α / rank.", gt=0, le=65_536, paper=OPSD
    )
    layers: tuple[
        Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], ...
    ] = option(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        title="Layers",
        help="Linear layers that get an update.",
        min_length=1,
        expert=True,
        paper=OPSD,
    )


Adapter = Annotated[NoAdapter | LowRankAdapter, Field(discriminator="kind")]


class Student(Network):
    """The model that is trained."""

    adapter: Adapter = option(
        title="Adapter", help="What of the student is trained.", factory=NoAdapter
    )


class PlainContext(Section):
    """The teacher is asked just what the student is asked."""

    kind: Literal["plain"] = "plain"


class PrivilegedContext(Section):
    """The teacher is shown something beside the question that the student does not see."""

    kind: Literal["privileged"] = "privileged"
    shows: Literal["solution", "answer", "demonstration", "feedback"] = option(
        "solution",
        title="Shows",
        help="solution: the worked solution. answer: the short reference answer. demonstration: an accepted answer of this step's student, "
        "else the solution. feedback: the student's own answer with the verdict on it.",
        paper=OPSD,
    )
    template: str = option(
        "{question}\n\nHere is a reference solution:\n{privileged}\n\nUnderstand it, then solve the problem in your own way.",
        title="Teacher's prompt",
        help="`{question}` stands for what the student is asked, `{privileged}` for what only the teacher is shown.",
        expert=True,
    )
    most_tokens: int = option(
        2048,
        title="Longest privileged text",
        help="A longer one is cut in its middle; the question never is.",
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
                raise ValueError(f"must contain {name}, or the teacher does not see it")
        return template


Context = Annotated[PlainContext | PrivilegedContext, Field(discriminator="kind")]


def _context() -> Context:
    chosen: Context = option(title="Context", help="What the teacher reads.", factory=PlainContext)
    return chosen


class ModelTeacher(Network):
    """Another model, frozen."""

    kind: Literal["model"] = "model"
    context: Context = _context()


class SelfTeacher(Section):
    """The student itself, with other weights or another context."""

    kind: Literal["self"] = "self"
    weights: Literal["initial", "ema", "adapter_off", "live"] = option(
        "initial",
        title="Weights",
        help="initial: as before the run. ema: a moving average of the student's. adapter_off: the student without its adapter, which "
        "needs no copy. live: the student's own at each step.",
        paper=OPSD,
    )
    ema_rate: float = option(
        0.05,
        title="Moving-average rate",
        help="For the weights `ema`: after every step, average ← (1 − rate) · average + rate · student.",
        gt=0,
        le=1,
        paper=CAOPD,
    )
    thinking: Thinking = _thinking()
    context: Context = _context()


class TextTeacher(Section):
    """Answers that some teacher wrote before, in a file; its probabilities are not known."""

    kind: Literal["texts"] = "texts"
    path: DataURI = option(
        title="Answers",
        help="`dataset:<name>@<fingerprint>`, `file:<path>` or `hub:<org>/<name>@<revision>`.",
    )
    question: str = option(
        "question",
        title="Question column",
        help="Matched with the problems' questions.",
        min_length=1,
    )
    response: str = option(
        "response", title="Answer column", help="What the teacher wrote.", min_length=1
    )


class EndpointTeacher(Section):
    """A model behind an OpenAI-compatible endpoint, asked for texts; its probabilities are not
    known.
    """

    kind: Literal["endpoint"] = "endpoint"
    url: str = option(
        title="URL",
        help="Up to and including `/v1`. A server allows only what its operator lists.",
        min_length=1,
    )
    model: str = option(
        title="Model name", help="As the endpoint calls it.", min_length=1, max_length=200
    )
    key: str | None = option(
        None,
        title="Key",
        help="`secret:<name>`: the name of a secret that the worker knows, never its value.",
    )
    seconds: float = option(
        120.0, title="Time limit", help="For one answer.", unit="s", gt=0, le=3600, expert=True
    )
    retries: int = option(
        5,
        title="Retries",
        help="After a refusal, a time-out or rubbish, with growing pauses.",
        ge=0,
        le=50,
        expert=True,
    )
    at_once: int = option(8, title="At once", help="Requests in flight.", ge=1, le=256, expert=True)
    price: float = option(
        0.0,
        title="Price",
        help="Of a million written tokens, in any currency, to show what the run has cost.",
        ge=0,
        expert=True,
    )
    context: Context = _context()

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if any(character.isspace() or not character.isprintable() for character in url):
            raise ValueError("must hold no white space and no control characters")
        try:
            parts = urlsplit(url)
            named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            named = False
        if not named:
            raise ValueError(
                "must begin with http:// or https:// and name a host, and a port from 1 to 65535 if any"
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "must hold no name, password, ? or #; a key belongs into `key`, as secret:<name>"
            )
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
        title="Domains", help="As in the data's domain column.", min_length=1
    )
    teacher: ModelTeacher = option(title="Teacher", help="The model that teaches these domains.")

    @field_validator("domains")
    @classmethod
    def _are_names(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        for domain in domains:
            if not domain.strip() or len(domain) > LONGEST_DOMAIN:
                raise ValueError(
                    f"must be names of 1 to {LONGEST_DOMAIN} characters, got {shown(domain)}"
                )
        return domains


class Networks(Section):
    """Roles of a text run."""

    student: Student = option(
        title="Student",
        help="The model that is trained.",
        factory=lambda: Student(model="builtin:student"),
    )
    teacher: Teacher = option(
        title="Teacher",
        help="Whom the student learns from.",
        factory=lambda: ModelTeacher(model="builtin:teacher"),
    )
    specialists: tuple[Specialist, ...] = option(
        (),
        title="Specialists",
        help="Further teachers, each for its domains.",
        max_length=16,
        expert=True,
    )

    @model_validator(mode="after")
    def _one_teacher_a_domain(self) -> Networks:
        domains = [domain for specialist in self.specialists for domain in specialist.domains]
        if twice := next((domain for domain in domains if domains.count(domain) > 1), None):
            raise ValueError(f"gives the domain {shown(twice)} to two specialists; leave it to one")
        return self

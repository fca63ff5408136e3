"""The networks of a run by role, and the context of a teacher."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from trainer.spec.base import (
    CAOPD,
    OPSD,
    DataURI,
    EndpointURL,
    Name,
    SecretURI,
    Section,
    option,
    quoted,
)
from trainer.spec.contexts import (
    Context,
    PlainContext,
    PrivilegedContext,
    Thinking,
    teacher_context,
    thinking_mode,
)
from trainer.spec.network import Network
from trainer.spec.served_teacher import ServedTeacher

__all__ = [
    "Adapter",
    "Context",
    "EndpointTeacher",
    "LowRankAdapter",
    "ModelTeacher",
    "Network",
    "Networks",
    "NoAdapter",
    "PlainContext",
    "PrivilegedContext",
    "SelfTeacher",
    "ServedTeacher",
    "Specialist",
    "Student",
    "Teacher",
    "TextTeacher",
    "Thinking",
]

LONGEST_DOMAIN = 200


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


class ModelTeacher(Network):
    """Another model with frozen weights."""

    kind: Literal["model"] = "model"
    context: Context = teacher_context()


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
    thinking: Thinking = thinking_mode()
    context: Context = teacher_context()


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
    key: SecretURI | None = option(
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
    context: Context = teacher_context()


Teacher = Annotated[
    ModelTeacher | SelfTeacher | TextTeacher | EndpointTeacher | ServedTeacher,
    Field(discriminator="kind"),
]
SpecialistTeacher = Annotated[ModelTeacher | ServedTeacher, Field(discriminator="kind")]


class Specialist(Section):
    """A teacher for the problems of some domains."""

    domains: tuple[str, ...] = option(
        title="Domains", help="Values of the data's domain column.", min_length=1
    )
    teacher: SpecialistTeacher = option(
        title="Teacher",
        help="The model that teaches these domains.",
        factory=lambda: ModelTeacher(model="builtin:teacher"),
    )

    @model_validator(mode="before")
    @classmethod
    def _of_older_definitions(cls, data: Any) -> Any:
        # There was one kind of specialist, whose kind definitions need not name.
        if isinstance(data, dict) and isinstance(data.get("teacher"), dict):
            return {**data, "teacher": {"kind": "model", **data["teacher"]}}
        return data

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

"""A teacher on a server that scores given token ids, and what its server can tell of a token."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainer.spec.base import EndpointURL, ModelURI, SecretURI, Section, option, quoted
from trainer.spec.contexts import Context, Thinking, teacher_context, thinking_mode
from trainer.spec.network import Network


class SampledLogprobs(Section):
    """The log-prob of each written token: enough for ratio and policy-gradient objectives."""

    kind: Literal["sampled"] = "sampled"


class TopLogprobs(Section):
    """The k likeliest tokens at each position with their log-probs; the rest is one number.

    Enough for divergences over the teacher's top tokens, too.
    """

    kind: Literal["top_k"] = "top_k"
    k: int = option(
        20,
        title="k",
        help="Number of tokens. vLLM refuses more than its option --max-logprobs (20 by default).",
        ge=1,
        le=100_000,
    )


class HiddenStates(Section):
    """Hidden states after the final norm, from the worker extension for vLLM.

    The last layer is applied here, so that every objective is possible.
    """

    kind: Literal["hidden_states"] = "hidden_states"
    head: ModelURI = option(
        title="Head",
        help="Model whose last layer (weights, bias, soft cap and scale) is loaded here: the "
        "teacher's own, `file:<folder>`, `model:<name>@<hash>` or `hub:<org>/<name>@<revision>`.",
    )


Gives = Annotated[SampledLogprobs | TopLogprobs | HiddenStates, Field(discriminator="kind")]


class RecordedReading(Section):
    """The server is compared with its own first answers in this run.

    This finds every later change, but not a server that is wrong from the start.
    """

    kind: Literal["recorded"] = "recorded"


class LocalReading(Section):
    """The server is compared with the same weights, loaded here to score a few texts."""

    kind: Literal["local"] = "local"
    model: ModelURI = option(
        title="Model", help="The teacher's weights; they are read at each check, on the CPU."
    )


class ServerLogprobs(Section):
    """Hidden states with the local head are compared with the server's own log-probs."""

    kind: Literal["server"] = "server"


Check = Annotated[RecordedReading | LocalReading | ServerLogprobs, Field(discriminator="kind")]


class ServedTeacher(Section):
    """A model on a vLLM or SGLang server, which scores the student's answers token by token."""

    kind: Literal["served"] = "served"
    program: Literal["vllm", "sglang"] = option(
        "vllm",
        title="Server program",
        help="vllm: scores by /v1/completions. sglang: scores by /generate.",
    )
    urls: tuple[EndpointURL, ...] = option(
        title="URLs",
        help="URLs of servers with the same model, without `/v1`; requests are divided among them. "
        "A server allows only URLs that its operator lists.",
        min_length=1,
        max_length=64,
    )
    model: str = option(
        title="Model name", help="Name of the model at the server.", min_length=1, max_length=200
    )
    key: SecretURI | None = option(
        None,
        title="Key",
        help="`secret:<name>`: name of a secret of the worker, never its value.",
    )
    tokenizer: ModelURI = option(
        title="Tokenizer",
        help="Model whose tokenizer and configuration are loaded here for the token ids of "
        "prompts: the teacher's own. Its weights are not loaded.",
    )
    gives: Gives = option(
        title="What the server gives",
        help="What is known of the teacher's distribution at each token of an answer.",
        factory=TopLogprobs,
    )
    check: Check = option(
        title="Check",
        help="What the server's scores of a few fixed texts are compared with: when the run "
        "starts, after each failure, and at intervals.",
        factory=RecordedReading,
    )
    check_every: int = option(
        50,
        title="Check interval",
        help="Steps between two checks of the server.",
        unit="steps",
        ge=1,
        le=1_000_000,
        expert=True,
    )
    # Rounding of bfloat16 changes a log-prob by about 0.02 nats, other weights by more.
    tolerance: float = option(
        0.05,
        title="Tolerance",
        help="Mean difference of two scores of the same texts up to which they count as equal.",
        unit="nats",
        gt=0,
        le=10,
        expert=True,
    )
    seconds: float = option(
        120.0,
        title="Time limit",
        help="Time limit of one request.",
        unit="s",
        gt=0,
        le=3600,
        expert=True,
    )
    retries: int = option(
        3,
        title="Retries",
        help="Retries of an answer that the server, while it works, does not score.",
        ge=0,
        le=50,
        expert=True,
    )
    longest_wait: float = option(
        1800.0,
        title="Longest wait",
        help="How long the run waits for a server that is down, until it ends; resume it then.",
        unit="s",
        gt=0,
        le=604_800,
        expert=True,
    )
    at_once: int = option(
        32,
        title="Concurrent requests",
        help="Requests at the same time at each server.",
        ge=1,
        le=1024,
        expert=True,
    )
    most_unscored: float = option(
        0.1,
        title="Largest share without scores",
        help="An answer that the server refuses to score is set aside; the run ends if this share "
        "of a step's answers is exceeded.",
        ge=0,
        le=1,
        expert=True,
    )
    chat_template: bool = option(
        True,
        title="Chat template",
        help="Format prompts with the tokenizer's chat template if it has one.",
        expert=True,
    )
    thinking: Thinking = thinking_mode()
    context: Context = teacher_context()

    @field_validator("urls")
    @classmethod
    def _are_roots_of_different_servers(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        routed = next((url for url in urls if url.endswith("/v1")), None)
        if routed:
            raise ValueError(
                f"has {quoted(routed)}; leave out /v1, which is added where it belongs"
            )
        duplicate = next((url for url in urls if urls.count(url) > 1), None)
        if duplicate:
            raise ValueError(f"names {quoted(duplicate)} twice; name each server once")
        return urls

    @property
    def tokenizer_network(self) -> Network:
        """The network whose tokenizer is loaded, with the format of the teacher's prompts."""
        return Network(
            model=self.tokenizer, chat_template=self.chat_template, thinking=self.thinking
        )

    @property
    def local_models(self) -> dict[str, str]:
        """The models that are opened here: their URIs by the setting that names them."""
        models = {"tokenizer": self.tokenizer}
        if isinstance(self.gives, HiddenStates):
            models["gives.head"] = self.gives.head
        if isinstance(self.check, LocalReading):
            models["check.model"] = self.check.model
        return models

"""From a question and the messages before it to the token ids of the prompt.

After this step a prompt is ids: answers are sampled, scored and trained on as ids and never read
back from text, because encoding a decoded text again may give other ids.

System prompt and earlier turns are messages of the chat template. A template that takes no system
message gets its text at the head of the first user message. Without a template the messages are
plain text: the system prompt, then each turn after its speaker's name, then `Assistant:`.

    You are a teacher.

    User: What is 2+3?

    Assistant: 5

    User: And 2+4?

    Assistant:
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.text.language import chat_templates
from trainer.text.language.characters import unknown_id, unwritable
from trainer.text.language.control_tokens import ChatMessage, encode_parts, mark_spelled
from trainer.text.language.model_folders import ModelError
from trainer.text.language.text_models import TextModel

# An answer that no template changes, to find what the template writes behind it.
SAMPLE_ANSWER = "answer 4711"
PLAIN_NAMES = {"user": "User", "assistant": "Assistant", "tool": "Tool"}


class TemplateFailed(ModelError):
    """A chat template cannot format a message."""


class TemplateTooSlow(TemplateFailed):
    """A chat template has not formatted a message in its time; another message may take as long."""


class PromptTooLong(ModelError):
    """A prompt and the longest answer do not fit the model."""


def prompt_ids(
    language_model: TextModel, text: str, history: Sequence[ChatMessage] = ()
) -> tuple[int, ...]:
    """Encode a question with the chat template if the run uses it, else with the tokenizer's BOS.

    `history` has the (role, text) of the messages before it. Control tokens that a text spells out
    stay text. Raises ModelError if the tokenizer lacks a character of the text, or if the template
    lacks the thinking mode that the run chooses or leaves out the history.
    """
    if language_model.thinking != "as_the_template":
        _check_thinking(language_model)
    messages = [*history, ("user", text)]
    ids = (
        _from_template(language_model, messages)
        if language_model.chat_template
        else _plain(language_model, plain_text(messages))
    )
    if unknown_id(language_model) in ids:
        raise unwritable(language_model, text)
    _require_embedded(language_model, ids, text)
    if not ids:
        raise ModelError(
            f"A prompt is empty for {language_model.name}. Give the problem a question."
        )
    return tuple(ids)


def plain_text(messages: Sequence[ChatMessage]) -> str:
    """Messages as the text for a model without a chat template; a question alone stays as it is."""
    systems = [text for role, text in messages if role == "system"]
    turns = [(role, text) for role, text in messages if role != "system"]
    if len(turns) == 1:
        return "\n\n".join([*systems, turns[0][1]])
    named = [f"{PLAIN_NAMES[role]}: {text}" for role, text in turns]
    return "\n\n".join([*systems, *named, f"{PLAIN_NAMES['assistant']}:"])


def text_ids(language_model: TextModel, text: str) -> tuple[int, ...]:
    """Encode a text without template, BOS or end token; special tokens in it are plain text.

    Raises ModelError if the tokenizer lacks a character of the text.
    """
    try:
        ids = language_model.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True
        ).input_ids
    # tokenizers raises a plain Exception where a vocabulary without an unknown token lacks a
    # character.
    except Exception as error:
        raise unwritable(language_model, text) from error
    if unknown_id(language_model) in ids:
        raise unwritable(language_model, text)
    _require_embedded(language_model, ids, text)
    return tuple(ids)


def turn_end(language_model: TextModel) -> str:
    """Return the control token that the chat template writes behind an answer, empty for none."""
    if not language_model.chat_template:
        return ""
    messages = [("user", "question"), ("assistant", SAMPLE_ANSWER)]
    try:
        rendered = _render(language_model, messages)
    # Some templates format single questions only.
    except ModelError:
        return ""
    behind = rendered.rpartition(SAMPLE_ANSWER)[2]
    tokens = [token.content for token in language_model.tokenizer.added_tokens_decoder.values()]
    return min((token for token in tokens if token in behind), key=behind.index, default="")


def check_length(language_model: TextModel, prompt: Sequence[int], max_new_tokens: int) -> None:
    """Raise ModelError if the prompt and the longest answer do not fit the model."""
    if len(prompt) + max_new_tokens > language_model.max_length:
        room = language_model.max_length - len(prompt)
        remedy = (
            f"Lower the longest answer to {room} or choose a model that reads more."
            if room > 0
            else "Choose a model that reads more, or leave out such problems."
        )
        raise PromptTooLong(
            f"A prompt of {len(prompt)} tokens and an answer of up to {max_new_tokens} do "
            f"not fit {language_model.name}, "
            f"which reads {language_model.max_length} tokens. {remedy}"
        )


def _from_template(language_model: TextModel, messages: Sequence[ChatMessage]) -> list[int]:
    marked, mark = mark_spelled(language_model.tokenizer, messages)
    if len(marked) > 1:
        marked = _accepted(language_model, marked)
    rendered = _render(language_model, marked)
    try:
        if not mark:
            return list(language_model.tokenizer(rendered, add_special_tokens=False).input_ids)
        return encode_parts(language_model.tokenizer, rendered.split(mark))
    # tokenizers raises a plain Exception where a vocabulary without an unknown token lacks a
    # character: of the question, or else of what the template writes.
    except Exception as error:
        of_question = unwritable(language_model, messages[-1][1])
        raise (
            of_question if of_question.pieces else unwritable(language_model, rendered)
        ) from error


def _accepted(language_model: TextModel, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The messages as the template takes them. Raises ModelError if it leaves turns out."""
    accepted = list(messages)
    if messages[0][0] == "system" and not _shows_system(language_model, messages):
        accepted = _with_system_in_first_turn(messages)
    rendered = _render(language_model, accepted)
    for role, text in accepted:
        # What the assistant has said may lose its thinking.
        if role != "assistant" and text.strip() not in rendered:
            raise ModelError(
                f"The chat template of {language_model.name} leaves out the message "
                f"“{_short(text)}” ({role}). Choose a model whose template takes a history, or "
                "turn the template off."
            )
    return accepted


def _shows_system(language_model: TextModel, messages: Sequence[ChatMessage]) -> bool:
    try:
        return messages[0][1].strip() in _render(language_model, messages)
    # Some templates refuse a system message.
    except ModelError:
        return False


def _with_system_in_first_turn(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    (_, system), *turns = messages
    first = next(index for index, (role, _) in enumerate(turns) if role == "user")
    turns[first] = ("user", f"{system}\n\n{turns[first][1]}")
    return turns


def _render(language_model: TextModel, messages: Sequence[ChatMessage]) -> str:
    """Format messages with the chat template. Raises ModelError if it cannot do that."""
    tokenizer = language_model.tokenizer
    thinking: dict[str, Any] = (
        {}
        if language_model.thinking == "as_the_template"
        else {"enable_thinking": language_model.thinking == "on"}
    )
    try:
        return chat_templates.render(
            tokenizer.get_chat_template(),
            [{"role": role, "content": text} for role, text in messages],
            {**tokenizer.special_tokens_map, "add_generation_prompt": True, **thinking},
        )
    # ValueError: a tokenizer with several templates, none of which is its default.
    except (chat_templates.TemplateError, ValueError) as error:
        cause = str(error).strip().partition("\n")[0]
        is_slow = isinstance(error, chat_templates.TemplateTooSlow)
        raise (TemplateTooSlow if is_slow else TemplateFailed)(
            f"The chat template of {language_model.name} cannot format "
            f"“{_short(messages[-1][1])}” "
            f"({cause}). Fix the template or turn it off."
        ) from error


def _check_thinking(language_model: TextModel) -> None:
    if not language_model.chat_template or "enable_thinking" not in str(
        language_model.tokenizer.chat_template
    ):
        raise ModelError(
            f"The thinking mode of {language_model.name} is “{language_model.thinking}”, "
            "but its chat template knows no `enable_thinking` "
            "(or is not used), so nothing would change. Set its `thinking` to "
            "as_the_template, or choose a model with such a mode."
        )


def _plain(language_model: TextModel, text: str) -> list[int]:
    """Encode without a template.

    Some tokenizers append an end token, after which the model would not answer; it is removed.
    """
    ((_, marked),), mark = mark_spelled(language_model.tokenizer, [("user", text)])
    first, *parts = marked.split(mark) if mark else [text]
    try:
        ids = language_model.tokenizer(first).input_ids
        further_ids = encode_parts(language_model.tokenizer, parts)
    except Exception as error:
        raise unwritable(language_model, text) from error
    while ids and ids[-1] in language_model.eos_ids:
        ids = ids[:-1]
    return [*ids, *further_ids]


def _require_embedded(language_model: TextModel, ids: Sequence[int], text: str) -> None:
    """Raise ModelError if the text has a token of the tokenizer that the model does not embed."""
    surplus = next((id for id in ids if id >= language_model.vocabulary), None)
    if surplus is not None:
        token = language_model.tokenizer.convert_ids_to_tokens(surplus)
        raise ModelError(
            f"“{_short(text)}” has the token “{token}”, which the tokenizer of "
            f"{language_model.name} knows but the model does not embed (it has more tokens than "
            "the model embeds). Leave it out of the data, or use the model's own tokenizer."
        )


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"

"""What people change about runs: name, notes, tags, pin, archive.

An `Edit` changes one run; `carry_out` applies it to any number of them in one transaction. Each
change counts a batch, so that open pages notice it, and is recorded as a `Transition` without a
state: it is listed in the run's history with its actor.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from webapp.access.models import Team, User
from webapp.base import notify
from webapp.base.database_clock import database_now
from webapp.runs import search_words
from webapp.runs.models import Run, Transition

LONGEST_NAME = 120
LONGEST_NOTES = 20_000
LONGEST_TAG = 40
MOST_TAGS = 20
# Runs of one transaction, all of which it locks.
MOST_AT_ONCE = 500
MOST_SUGGESTIONS = 200
# `\w` is letters and digits of any script, and the underscore.
TAG = re.compile(r"[\w./+-]+")
TAG_RULE = (
    f"A tag has up to {LONGEST_TAG} letters, digits and the characters - _ . / +, without spaces. "
    "Several are separated by commas."
)
SUGGESTIONS = """
SELECT tag FROM runs_run, jsonb_array_elements_text(tags) AS tag
WHERE team_id = %s AND tags <> '[]' AND deleted_at IS NULL
GROUP BY tag ORDER BY count(*) DESC, tag LIMIT %s
"""


class EditRefused(Exception):
    """The change is not possible; the message says why and what to do."""


class NotesChanged(EditRefused):
    """Somebody else changed the notes since the text that was edited had been read."""


@dataclass(frozen=True)
class Edit:
    """A change of `fields` of a run.

    `change` sets them and returns the sentence for the history, empty if the run was so already.
    It raises EditRefused if this run cannot be changed so.
    """

    fields: tuple[str, ...]
    change: Callable[[Run], str]


@dataclass
class Outcome:
    """What came of an edit. The runs in `accepted` are now as asked, those in `changed` since.

    `before` has the earlier values of the edit's fields by the primary key of each changed run.
    """

    accepted: list[Run] = field(default_factory=list)
    changed: list[Run] = field(default_factory=list)
    before: dict[int, dict[str, Any]] = field(default_factory=dict)
    refused: list[tuple[Run, EditRefused]] = field(default_factory=list)


def carry_out(edit: Edit, runs: QuerySet[Run], actor: User | None) -> Outcome:
    """Apply `edit` to each of `runs` in one transaction; a refused run does not keep the others."""
    outcome = Outcome()
    history = []
    with transaction.atomic():
        # In the order of their ids, so that two edits of the same runs cannot deadlock.
        for run in runs.select_for_update().order_by("pk").defer("spec", "summary"):
            before = {name: getattr(run, name) for name in edit.fields}
            try:
                sentence = edit.change(run)
            except EditRefused as refusal:
                outcome.refused.append((run, refusal))
                continue
            outcome.accepted.append(run)
            if sentence:
                outcome.changed.append(run)
                outcome.before[run.pk] = before
                run.edits += 1
                run.batch_count += 1
                history.append(
                    Transition(run=run, attempt=run.attempt, reason=sentence, actor=actor)
                )
        if outcome.changed:
            Transition.objects.bulk_create(history)
            Run.objects.bulk_update(outcome.changed, [*edit.fields, "edits", "batch_count"])
            if not set(search_words.FIELDS).isdisjoint(edit.fields):
                for run in outcome.changed:
                    search_words.write_words(run)
            batch_counts = {run.public_id: run.batch_count for run in outcome.changed}
            transaction.on_commit(lambda: notify.publish_all(batch_counts))
    return outcome


def carry_out_one(edit: Edit, run: Run, actor: User | None) -> None:
    """Apply `edit` to one run. Raises EditRefused."""
    outcome = carry_out(edit, Run.objects.filter(pk=run.pk, deleted_at=None), actor)
    for _, refusal in outcome.refused:
        raise refusal


def rename(name: str) -> Edit:
    """Return the edit that gives a run this name. Raises EditRefused."""
    name = _one_line(name)
    if not name:
        raise EditRefused("A run needs a name. Type one and save again.")
    if len(name) > LONGEST_NAME:
        raise EditRefused(
            f"A name has up to {LONGEST_NAME} characters; this one has {len(name)}. Shorten it."
        )

    def change(run: Run) -> str:
        before, run.name = run.name, name
        return "" if before == name else f"Renamed from “{before}”."

    return Edit(("name",), change)


def write_notes(notes: str, before: str) -> Edit:
    """Return the edit that replaces notes of the digest `before`. Raises EditRefused.

    Applied to a run with other notes it raises NotesChanged: somebody else wrote in between.
    """
    # Browsers send line ends as CR LF.
    notes = notes.replace("\0", "").replace("\r\n", "\n").rstrip()
    if len(notes) > LONGEST_NOTES:
        raise EditRefused(
            f"Notes have up to {LONGEST_NOTES:,} characters; these have {len(notes):,}. "
            "Shorten them."
        )

    def change(run: Run) -> str:
        if run.notes == notes:
            return ""
        if digest_of(run.notes) != before:
            raise NotesChanged(
                "Somebody else changed these notes while you were writing. Nothing is saved yet."
            )
        run.notes = notes
        return "Notes changed." if notes else "Notes removed."

    return Edit(("notes",), change)


def digest_of(notes: str) -> str:
    """Return what identifies a text of notes in a form."""
    return hashlib.sha256(notes.encode()).hexdigest()


def add_tags(text: str) -> Edit:
    """Return the edit that adds the tags in `text`. Raises EditRefused."""
    tags = tags_in(text)

    def change(run: Run) -> str:
        new = [tag for tag in tags if tag not in run.tags]
        if len(run.tags) + len(new) > MOST_TAGS:
            raise EditRefused(
                f"It would have {len(run.tags) + len(new)} tags; a run has up to {MOST_TAGS}. "
                "Remove some first."
            )
        run.tags = [*run.tags, *new]
        return f"Tagged {_listed(new)}." if new else ""

    return Edit(("tags",), change)


def remove_tags(text: str) -> Edit:
    """Return the edit that removes the tags in `text`. Raises EditRefused."""
    tags = tags_in(text)

    def change(run: Run) -> str:
        gone = [tag for tag in run.tags if tag in tags]
        run.tags = [tag for tag in run.tags if tag not in tags]
        return f"Tag {_listed(gone)} removed." if gone else ""

    return Edit(("tags",), change)


def of_each(edits: Sequence[tuple[Edit, Container[str]]]) -> Edit:
    """Return the edit that applies each of `edits` to the runs of its public ids only."""

    def change(run: Run) -> str:
        sentences = [edit.change(run) for edit, ids in edits if run.public_id in ids]
        return " ".join(filter(None, sentences))

    return Edit(tuple({name for edit, _ in edits for name in edit.fields}), change)


def tags_in(text: str) -> list[str]:
    """Return the tags in a text, separated by commas. Raises EditRefused."""
    typed = (tag.strip() for tag in unicodedata.normalize("NFC", text).split(","))
    tags = list(dict.fromkeys(tag for tag in typed if tag))
    if not tags:
        raise EditRefused(f"Type a tag. {TAG_RULE}")
    for tag in tags:
        words = tag.split()
        if len(words) > 1 and all(map(TAG.fullmatch, words)):
            raise EditRefused(
                f"“{tag[: LONGEST_TAG + 1]}” has a space. Write one tag as "
                f"“{'-'.join(words)[: LONGEST_TAG + 1]}”, or several as "
                f"“{', '.join(words)[: LONGEST_TAG + 1]}”."
            )
        if len(tag) > LONGEST_TAG or not TAG.fullmatch(tag):
            raise EditRefused(f"“{tag[: LONGEST_TAG + 1]}” is not a tag. {TAG_RULE}")
    return tags


def suggested_tags(team: Team) -> list[str]:
    """Return the tags of the team's runs, the most frequent first."""
    with connection.cursor() as cursor:
        cursor.execute(SUGGESTIONS, [team.pk, MOST_SUGGESTIONS])
        return [tag for (tag,) in cursor.fetchall()]


def pin() -> Edit:
    """Return the edit that shows a run above the others in its team's list."""
    return _set_pinned(True, "Pinned.")


def unpin() -> Edit:
    return _set_pinned(False, "Unpinned.")


def archive() -> Edit:
    """Return the edit that takes a run out of lists; for clients of MLflow it is deleted."""
    now = database_now()

    def change(run: Run) -> str:
        if run.archived_at is not None:
            return ""
        run.archived_at = now
        return "Archived."

    return Edit(("archived_at",), change)


def restore() -> Edit:
    """Return the edit that undoes `archive`."""

    def change(run: Run) -> str:
        if run.archived_at is None:
            return ""
        run.archived_at = None
        return "Restored from the archive."

    return Edit(("archived_at",), change)


def _set_pinned(is_pinned: bool, sentence: str) -> Edit:
    def change(run: Run) -> str:
        before, run.pinned = run.pinned, is_pinned
        return "" if before == is_pinned else sentence

    return Edit(("pinned",), change)


def _one_line(text: str) -> str:
    """Return the text without control characters, its spaces and line ends as single spaces."""
    printable = "".join(
        character if unicodedata.category(character) != "Cc" else " " for character in text
    )
    return " ".join(printable.split())


def _listed(tags: Sequence[str]) -> str:
    return ", ".join(f"“{tag}”" for tag in tags)

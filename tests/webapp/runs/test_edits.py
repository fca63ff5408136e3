"""Name, notes, tags, pin and archive: what is accepted, refused, recorded and told."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from hypothesis import given
from hypothesis import strategies as st

from webapp.access.models import Team, User
from webapp.runs import edits, leases, lifecycle, status_text
from webapp.runs.edits import EditRefused, NotesChanged
from webapp.runs.models import Run, State, Transition

pytestmark = pytest.mark.django_db


def edited(run: Run, *changes: edits.Edit, actor: User | None = None) -> Run:
    for change in changes:
        edits.carry_out_one(change, run, actor)
    run.refresh_from_db()
    return run


def test_a_change_is_counted_told_and_listed_with_its_actor(run: Run, erin: User) -> None:
    before = run.batch_count
    edited(run, edits.rename("better"), edits.add_tags("ablation"), actor=erin)
    assert (run.name, run.tags, run.edits, run.batch_count) == (
        "better",
        ["ablation"],
        2,
        before + 2,
    )
    history = Transition.objects.filter(run=run, state="").order_by("pk")
    assert list(history.values_list("reason", "actor")) == [
        ("Renamed from “first distillation”.", erin.pk),
        ("Tagged “ablation”.", erin.pk),
    ]


def test_what_changes_nothing_is_not_recorded(run: Run) -> None:
    edited(run, edits.rename(run.name), edits.unpin(), edits.restore(), edits.remove_tags("x"))
    assert run.edits == 0 and not Transition.objects.filter(run=run, state="").exists()


@pytest.mark.parametrize(
    ("typed", "stored"),
    [("  two   words ", "two words"), ("a\r\nb\0c\x1b", "a b c"), ("n" * 120, "n" * 120)],
)
def test_a_name_is_one_line(run: Run, typed: str, stored: str) -> None:
    assert edited(run, edits.rename(typed)).name == stored


@pytest.mark.parametrize("typed", ["", " \n ", "\0", "n" * 121])
def test_a_name_that_is_empty_or_too_long_is_refused(typed: str) -> None:
    with pytest.raises(EditRefused, match=r"Type one|Shorten it"):
        edits.rename(typed)


def test_tags_are_separated_by_commas_and_kept_once(run: Run) -> None:
    edited(run, edits.add_tags(" lr-1e-4,ablation , ablation,"), edits.add_tags("ablation, größe"))
    assert run.tags == ["lr-1e-4", "ablation", "größe"]
    assert edited(run, edits.remove_tags("ablation,lr-1e-4")).tags == ["größe"]


def test_a_tag_with_a_space_does_not_become_two(run: Run) -> None:
    with pytest.raises(EditRefused, match="one tag as “my-tag”, or several as “my, tag”"):
        edits.add_tags("my tag")


@pytest.mark.parametrize("typed", ["", " , ", "a:b", "<b>", "t" * 41, "\0", "a\u202eb"])
def test_other_characters_are_no_tags(typed: str) -> None:
    with pytest.raises(EditRefused, match="letters, digits and the characters"):
        edits.tags_in(typed)


@given(st.text(max_size=60))
def test_a_text_gives_tags_by_the_rule_or_is_refused(text: str) -> None:
    try:
        tags = edits.tags_in(text)
    except EditRefused:
        return
    assert tags and edits.tags_in(",".join(tags)) == tags
    assert all(len(tag) <= 40 and not set(tag) & set(" ,:\"'<>\0") for tag in tags)


def test_a_run_has_up_to_twenty_tags(run: Run) -> None:
    edited(run, edits.add_tags(",".join(f"t{i}" for i in range(20))))
    with pytest.raises(EditRefused, match="21 tags; a run has up to 20"):
        edits.carry_out_one(edits.add_tags("t0,more"), run, None)


def test_notes_that_somebody_changed_in_between_are_not_overwritten(run: Run) -> None:
    empty = edits.digest_of("")
    edited(run, edits.write_notes("first\r\nline\n\n", empty))
    assert run.notes == "first\nline"
    with pytest.raises(NotesChanged, match="Somebody else changed"):
        edits.carry_out_one(edits.write_notes("second", empty), run, None)
    assert Run.objects.get(pk=run.pk).notes == "first\nline"
    # The same text is no conflict, and who has read the present notes may replace them.
    edited(run, edits.write_notes("first\nline", empty))
    assert edited(run, edits.write_notes("both", edits.digest_of(run.notes))).notes == "both"


def test_notes_have_a_longest_length() -> None:
    edits.write_notes("n" * 20_000, "")
    with pytest.raises(EditRefused, match="20,000 characters; these have 20,001"):
        edits.write_notes("n" * 20_001, "")


def test_archiving_twice_keeps_the_first_time(run: Run) -> None:
    first = edited(run, edits.archive()).archived_at
    assert first is not None and edited(run, edits.archive()).archived_at == first
    assert edited(run, edits.restore()).archived_at is None


def test_a_refused_run_does_not_keep_the_others(still: Team, run: Run) -> None:
    full = lifecycle.create_run(still, None, None, name="full", tags=[f"t{i}" for i in range(20)])
    outcome = edits.carry_out(edits.add_tags("new"), Run.objects.all(), None)
    assert [run.name for run in outcome.changed] == ["first distillation"]
    assert [(run.pk, "21 tags" in str(why)) for run, why in outcome.refused] == [(full.pk, True)]
    run.refresh_from_db()
    assert run.tags == ["new"]


def test_an_edit_of_many_runs_needs_no_query_per_run(
    still: Team, django_assert_num_queries: object
) -> None:
    for _ in range(12):
        lifecycle.create_run(still, None, None)
    # Savepoint and its release, lock, the history and the runs.
    with django_assert_num_queries(5):  # type: ignore[operator]
        edits.carry_out(edits.add_tags("new"), Run.objects.all(), None)


def test_the_most_frequent_tags_of_the_team_are_suggested_first(still: Team) -> None:
    other = Team.objects.create(name="Other", slug="other")
    for team, tags in ((still, ["a", "b"]), (still, ["b"]), (still, []), (other, ["theirs"])):
        lifecycle.create_run(team, None, None, tags=tags)
    assert edits.suggested_tags(still) == ["b", "a"]


def test_an_edit_does_not_hide_the_cause_of_an_automatic_restart(run: Run, erin: User) -> None:
    leases.claim(run.pk, "host-a")
    assert leases.requeue(run.pk, 1, "Its machine is gone.")
    edited(run, edits.add_tags("new"), actor=erin)
    leases.claim(run.pk, "host-b")
    run.refresh_from_db()
    assert status_text.resumption_of(run).startswith("Its machine is gone.")


def test_a_clone_has_the_tags_and_the_name_but_not_the_notes(run: Run, still: Team) -> None:
    changes = (edits.rename("better"), edits.add_tags("a"), edits.write_notes("n", _EMPTY))
    copy = lifecycle.clone(edited(run, *changes, edits.pin(), edits.archive()), still, None)
    assert (copy.name, copy.tags, copy.notes, copy.pinned, copy.archived_at, copy.state) == (
        "better",
        ["a"],
        "",
        False,
        None,
        State.QUEUED,
    )


_EMPTY = edits.digest_of("")


def test_a_sample_run_that_was_renamed_and_untagged_is_not_queued_again(still: Team) -> None:
    call_command("sample_run")
    edited(Run.objects.get(), edits.rename("mine"), edits.remove_tags("sample"))
    call_command("sample_run")
    assert Run.objects.count() == 1

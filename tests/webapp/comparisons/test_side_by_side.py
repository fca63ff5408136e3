"""Answers to one problem beside each other: which are shown, how problems are matched, and what is
said where there are none.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.webapp.compared import ANSWERS, compared, definition
from tests.webapp.pages.test_checkpoint_evaluations import job_of
from tests.webapp.recorded import problem, recorded
from trainer.text.problems import Problem, problem_set
from trainer.text.recording import side_files
from trainer.text.recording.evaluation_answers import kept_answer
from webapp.access.models import Team, User
from webapp.comparisons import saving
from webapp.comparisons.choices import Choices
from webapp.library import artifacts
from webapp.library.models import Artifact
from webapp.runs.models import RolloutRow, Run
from webapp.sharing import links
from workers.shards.placement import complete_job

pytestmark = pytest.mark.django_db

# How many of the answers to each problem are right; they differ most at the third.
FIRST = [4, 3, 0, 2]
SECOND = [4, 2, 4, 1]
Question = Callable[[int], str]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def answers(passed: Sequence[int], author: str) -> list[list[dict[str, Any]]]:
    """Answers that begin alike; the wrong ones end in the author's name."""
    return [
        [
            kept_answer(
                k, k < right, False, 7, str(2 * i), f"The sum is {2 * i if k < right else author}"
            )
            for k in range(ANSWERS)
        ]
        for i, right in enumerate(passed)
    ]


def asked(i: int) -> str:
    return f"What is {i} + {i}?"


def evaluated(
    team: Team,
    owner: User,
    folder: Path,
    name: str,
    passed: Sequence[int],
    fingerprint: str = "f1" * 16,
    question: Question = asked,
    with_answers: bool = True,
) -> Run:
    """A run with one final evaluation of four problems."""
    problems = [Problem(problem(i), question(i), str(2 * i)) for i in range(len(passed))]
    table = side_files.problem_table(problem_set(problems))
    file = side_files.write(folder / "side", table)
    known = {"role": "evaluation", "fingerprint": fingerprint, "count": 4, "set_aside": 0}
    return compared(
        team,
        owner,
        folder,
        passed,
        definition(0, float(sum(passed))),
        name,
        fingerprint=fingerprint,
        extra=[{"type": "problem_set", **known, "file": file}],
        answers=answers(passed, name) if with_answers else None,
    )


@pytest.fixture
def pair(still: Team, alice: User, tmp_path: Path) -> tuple[Run, Run]:
    return (
        evaluated(still, alice, tmp_path / "a", "plain", FIRST),
        evaluated(still, alice, tmp_path / "b", "sharp", SECOND),
    )


@pytest.fixture
def trained(still: Team, alice: User, tmp_path: Path) -> Run:
    """A run with rollouts of four problems at each tenth step, by tokens."""
    return recorded(still, alice, tmp_path / "trained")


def address_of(*columns: tuple[Run, str, object], problem: str = "") -> str:
    query = "&".join(f"run={run.public_id}&kind={kind}&step={step}" for run, kind, step in columns)
    return f"/compare/answers/?{query}" + (f"&problem={problem}" if problem else "")


def evaluations_of(*runs: Run, problem: str = "") -> str:
    return address_of(*((run, "evaluation", 3) for run in runs), problem=problem)


def html_of(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, address
    return response.content.decode()


def text_of(client: Client, address: str) -> str:
    """The words of the page, without its tags."""
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", html_of(client, address)).split()))


def test_problems_of_two_evaluations_are_listed_by_their_difference(
    bob: User, pair: tuple[Run, Run]
) -> None:
    rows = signed_in(bob).get(evaluations_of(*pair)).context["rows"]
    assert [row.id for row, *_ in rows] == ["p02", "p01", "p03", "p00"]
    assert rows[0][3] == ["0.0 %", "100.0 %"] and rows[0][4] == "100.0"
    text = text_of(signed_in(bob), evaluations_of(*pair))
    assert "plain After training, step 3" in text and "largest difference first" in text
    assert "What is 2 + 2? = 4" in text


def test_a_problem_shows_the_answers_and_where_they_first_differ(
    bob: User, pair: tuple[Run, Run]
) -> None:
    client = signed_in(bob)
    page = html_of(client, evaluations_of(*pair, problem="p02"))
    assert page.count("What is 2 + 2?") == 1
    assert page.count('<span class="shared">The sum is </span><span class="differs"></span>') == 8
    text = text_of(client, evaluations_of(*pair, problem="p02"))
    assert "problem 1 of 4" in text
    assert "4 answers stored, 0.0 % right" in text and "4 answers stored, 100.0 % right" in text
    assert "wrong 7 tokens · read as 4 The sum is plain" in text
    # Where both are right, they are the same.
    assert "The same answer as the first of this row." in text_of(
        client, evaluations_of(*pair, problem="p00")
    )


def test_links_lead_to_the_next_problem_and_back(bob: User, pair: tuple[Run, Run]) -> None:
    client, visited = signed_in(bob), []
    response = client.get(evaluations_of(*pair, problem="p02"))
    while response.context["next"]:
        visited.append(response.context["problem"])
        response = client.get(response.context["next"])
    assert [*visited, response.context["problem"]] == ["p02", "p01", "p03", "p00"]
    assert client.get(response.context["previous"]).context["problem"] == "p03"


def test_steps_of_a_run_are_beside_each_other_token_by_token(bob: User, trained: Run) -> None:
    """The student answers problem p01 wrongly at both steps, in the same words."""
    client = signed_in(bob)
    columns = [(trained, "train", 20), (trained, "train", 40)]
    page = html_of(client, address_of(*columns, problem="p01"))
    first_row = page.split('aria-label="Row 1, column 2"')[1].split("</section>")[0]
    assert first_row.count("tok s0 shared") == 1 and "The same answer" in first_row
    assert "divergence 0.656 · weight 1.00" in first_row
    # The teacher's answer is a row of its own.
    assert "teacher · 4 tokens" in page.split('aria-label="Row 2, column 1"')[1]
    context = client.get(address_of(*columns, problem="p01")).context
    assert [(column.before[0], column.after[0]) for column in context["columns"]] == [
        (10, 30),
        (30, 50),
    ]
    stepped = client.get(context["all_after"]).context["columns"]
    assert [column.source.step for column in stepped] == [30, 50]
    assert context["columns"][0].after[1].endswith("#column-1")


def test_a_different_answer_is_marked_at_its_first_different_token(bob: User, trained: Run) -> None:
    """At step 40 the two authors are exchanged: the teacher's last but one token is another."""
    client = signed_in(bob)
    other = trained.rollouts.get(step=40, problem="p01", source="teacher")
    own = trained.rollouts.get(step=40, problem="p01", source="student")
    RolloutRow.objects.filter(pk=own.pk).update(source="teacher")
    RolloutRow.objects.filter(pk=other.pk).update(source="student")
    page = html_of(
        client, address_of((trained, "train", 20), (trained, "train", 40), problem="p01")
    )
    tokens = re.findall(r'class="tok([^"]*)"[^>]*data-text="([^"]*)"', page)
    marks = [(text, "differs" in kind, "shared" in kind) for kind, text in tokens[:3]]
    assert marks == [("The", False, True), (" sum", False, True), (" 3", True, False)]


def test_kept_answers_have_the_tokens_of_recorded_rollouts(
    bob: User, still: Team, alice: User, tmp_path: Path
) -> None:
    """An evaluation records some of its answers by tokens; of the others the texts are kept."""
    folder = tmp_path / "a"
    row = {
        "problem": "p00",
        "question": asked(0),
        "reference": "0",
        "sample": 1,
        "source": "student",
        "prompt_ids": [1],
        "ids": [3, 4],
        "tokens": ["The sum", " is 0"],
        "text": "The sum is 0",
        "answer": "0",
        "verdict": True,
        "truncated": False,
        "divergence": [0.1, 2.5],
    }
    file = side_files.write(folder / "side", side_files.rollout_table([row]))
    entry = {name: row[name] for name in ("problem", "source", "sample", "verdict", "truncated")}
    index = [{**entry, "length": 2, "excerpt": "The sum is 0"}]
    rollouts = {"type": "rollouts", "step": 3, "role": "evaluation", "file": file, "index": index}
    passed = [4, 4]
    run = compared(
        still,
        alice,
        folder,
        passed,
        extra=[{**rollouts, "kept": 1, "of": 8}],
        answers=answers(passed, "a"),
    )
    page = html_of(signed_in(bob), evaluations_of(run, problem="p00"))
    assert page.count('class="tok s') == 2 + page.count('<i class="tok s')
    assert page.count("The sum is 0") == 3
    assert page.count("Read it token by token") == 1


@pytest.mark.parametrize("question", [asked, lambda i: f"  what is {i} + {i} "])
def test_another_set_is_matched_by_question(
    bob: User, still: Team, alice: User, pair: tuple[Run, Run], tmp_path: Path, question: Question
) -> None:
    """Its ids name other questions: they are in the opposite order."""
    other = evaluated(
        still, alice, tmp_path / "c", "c", SECOND[::-1], "f2" * 16, lambda i: question(3 - i)
    )
    address = evaluations_of(pair[0], other)
    response = signed_in(bob).get(address)
    rows = response.context["rows"]
    assert rows[0][0].ids == ("p02", "p01") and rows[0][3] == ["0.0 %", "100.0 %"]
    assert "Column 2: another set of problems" in text_of(signed_in(bob), address)


def test_sets_without_a_common_question_say_so(
    bob: User, still: Team, alice: User, pair: tuple[Run, Run], tmp_path: Path
) -> None:
    other = evaluated(
        still, alice, tmp_path / "c", "c", SECOND, "f2" * 16, lambda i: f"How much is {i} * 7?"
    )
    for problem_id in ("", "p02"):
        text = text_of(signed_in(bob), evaluations_of(pair[0], other, problem=problem_id))
        assert "Column 2 has no problem of the first column's set" in text
    assert "No common problem" in text_of(signed_in(bob), evaluations_of(pair[0], other))


def test_an_evaluation_of_an_earlier_version_says_that_it_kept_no_answers(
    bob: User, still: Team, alice: User, pair: tuple[Run, Run], tmp_path: Path
) -> None:
    old = evaluated(still, alice, tmp_path / "c", "old", SECOND, with_answers=False)
    text = text_of(signed_in(bob), evaluations_of(pair[0], old, problem="p02"))
    assert "No answers to this problem are stored, only how many were right: 100.0 %" in text
    assert "The sum is plain" in text
    listed = text_of(signed_in(bob), evaluations_of(pair[0], old))
    assert "4 without answers to read in every column come last" in listed


def test_files_that_are_missing_or_damaged_leave_a_sentence(
    bob: User, pair: tuple[Run, Run], trained: Run
) -> None:
    client = signed_in(bob)
    path = artifacts.local_path(pair[1].evaluations.get().artifact)
    content = path.read_bytes()
    path.unlink()
    for damage in (None, b"no Parquet", content[: len(content) // 2]):
        if damage is not None:
            path.write_bytes(damage)
        text = text_of(client, evaluations_of(*pair, problem="p02"))
        assert "This problem has no answers stored at this evaluation" in text
        assert "The sum is plain" in text
        text_of(client, evaluations_of(*pair))
    Artifact.objects.filter(sha256=trained.rollouts.filter(step=20)[0].artifact).delete()
    text = text_of(client, address_of((trained, "train", 20), problem="p01"))
    assert "The tokens of this rollout are not in the store. This is its beginning." in text


def test_a_step_without_answers_names_the_nearest(bob: User, trained: Run) -> None:
    client = signed_in(bob)
    text = text_of(client, address_of((trained, "train", 20), (trained, "train", 34)))
    assert "No answers of training are stored at step 34. The nearest: step 30 and 40." in text
    text = text_of(client, address_of((trained, "retained", 34)))
    assert "This run has no answers stored of an evaluation of the retained skill." in text
    # Without a step it is the last one.
    assert "Step 60" in text_of(client, address_of((trained, "train", "")))


def test_a_deleted_run_leaves_the_other_columns(
    bob: User, charlie: User, pair: tuple[Run, Run]
) -> None:
    address = evaluations_of(*pair, problem="p02")
    Run.objects.filter(pk=pair[0].pk).update(deleted_at=timezone.now())
    text = text_of(signed_in(bob), address)
    assert "This run does not exist, was deleted, or is not shared with you." in text
    assert "The sum is 4" in text and "The sum is plain" not in text
    assert signed_in(charlie).get(address).status_code == 404
    Run.objects.update(deleted_at=timezone.now())
    assert signed_in(bob).get(address).status_code == 404


def test_a_link_to_a_run_shows_its_column_alone(alice: User, pair: tuple[Run, Run]) -> None:
    guest = Client()
    guest.get(f"/s/{links.share(pair[0], alice, timedelta(days=1))}/")
    text = text_of(guest, evaluations_of(*pair, problem="p02"))
    assert "The sum is plain" in text and "The sum is 4" not in text
    assert "This run does not exist, was deleted, or is not shared with you." in text
    assert "sharp" not in text


def test_a_link_to_a_comparison_opens_no_answers(
    still: Team, alice: User, pair: tuple[Run, Run]
) -> None:
    saved = saving.save(still, alice, "both", pair, Choices())
    guest = Client()
    guest.get(f"/s/{links.share(saved, alice, timedelta(days=1))}/")
    page = html_of(guest, f"/compare/{saved.public_id}/")
    assert "/compare/answers/" not in page
    assert guest.get(evaluations_of(*pair, problem="p02")).status_code == 404


def test_a_comparison_links_to_the_answers_of_its_runs(alice: User, pair: tuple[Run, Run]) -> None:
    client = signed_in(alice)
    page = html_of(client, f"/compare/?runs={','.join(run.public_id for run in pair)}")
    [link] = re.findall(r'href="(/compare/answers/[^"]*)">sharp and plain<', page)
    assert client.get(html.unescape(link)).context["rows"][0][0].id == "p02"


def test_a_rollout_links_to_the_step_before(bob: User, trained: Run) -> None:
    row = trained.rollouts.get(step=40, problem="p01", source="student")
    client = signed_in(bob)
    page = html_of(
        client, f"/runs/{trained.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/"
    )
    [link] = re.findall(r'href="(/compare/answers/[^"]*)"', page)
    columns = client.get(html.unescape(link)).context["columns"]
    assert [column.source.step for column in columns] == [30, 40]


def test_a_checkpoint_links_to_the_answers_of_its_evaluation(bob: User, trained: Run) -> None:
    client = signed_in(bob)
    address = f"/runs/{trained.public_id}/checkpoints/"
    assert "/compare/answers/" not in html_of(client, address)
    complete_job(job_of(trained).pk)
    [link] = re.findall(r'href="(/compare/answers/[^"]*)"', html_of(client, address))
    assert "1+1=2" in text_of(client, html.unescape(link) + "&problem=p1")


@pytest.mark.parametrize(
    "query",
    [
        "kind=x",
        "step=soon",
        "step=99999999999999999999",
        "problem=%00",
        "problem=none",
        "page=x",
        "run=%00",
        "run=x&run=y&run=z&run=u&run=v",
        "kind=retained&kind=job&kind=job",
    ],
)
def test_what_cannot_be_used_is_said_or_ignored(
    bob: User, pair: tuple[Run, Run], query: str
) -> None:
    client = signed_in(bob)
    assert client.get(f"{evaluations_of(*pair)}&{query}").status_code == 200
    assert client.get(f"/compare/answers/?run={pair[0].public_id}&{query}").status_code == 200


def test_without_a_column_the_page_offers_the_runs(bob: User, pair: tuple[Run, Run]) -> None:
    text = text_of(signed_in(bob), "/compare/answers/")
    assert "Choose what to read" in text and "sharp" in text
    assert signed_in(bob).get("/compare/answers/?run=none").status_code == 404


def test_queries_and_answers_do_not_grow_with_what_is_stored(bob: User, trained: Run) -> None:
    client = signed_in(bob)
    address = address_of((trained, "train", 20), (trained, "train", 40), problem="p01")
    few = queries_of(client, address)
    row = trained.rollouts.get(step=20, problem="p01", source="student")
    fields = [field.attname for field in RolloutRow._meta.concrete_fields]
    values = {name: getattr(row, name) for name in fields if name != "id"}
    RolloutRow.objects.bulk_create(
        RolloutRow(
            **values | {"offset": 99 + i, "sample": i, "problem": "p01" if i % 2 else f"q{i}"}
        )
        for i in range(1, 601)
    )
    assert queries_of(client, address) == few
    context = client.get(address).context
    assert context["columns"][0].answers.count == 302
    assert len(context["answer_rows"]) <= 9


def queries_of(client: Client, address: str) -> int:
    """How many queries the page of a problem and that of the list take."""
    client.get(address)
    with CaptureQueriesContext(connection) as queries:
        text_of(client, address)
        text_of(client, address.replace("&problem=p01", ""))
    return len(queries)

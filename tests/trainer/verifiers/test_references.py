"""References that a verifier cannot read are counted, with examples, before anything is trained."""

from __future__ import annotations

from trainer.spec import NumericVerifier
from trainer.text.verifiers import ReferenceCheck, Verifier, check_references


def test_every_reference_is_read_and_the_first_unreadable_ones_are_named() -> None:
    references = [str(n) for n in range(3000)] + ["blue", "5 or 7", "blue", "x" * 100]
    with Verifier(NumericVerifier()) as verifier:
        check = check_references(verifier, references)
    assert (check.read, check.unreadable, check.is_complete) == (3004, 4, True)
    assert check.examples == ("blue", "5 or 7", "x" * 60 + "…")
    assert check.sentence("numeric", "held-out").startswith(
        "The verifier numeric cannot read 4 of 3,004 held-out reference answers, such as “blue”, "
    )
    assert not check.is_hopeless


def test_a_check_that_runs_out_of_time_says_how_many_it_read() -> None:
    with Verifier(NumericVerifier()) as verifier:
        check = check_references(verifier, ["blue"] * 2000, seconds=0.0)
    assert 0 < check.read < 2000
    assert f"of the first {check.read:,} reference answers" in check.sentence("numeric", "")


def test_most_of_the_references_must_be_readable() -> None:
    assert ReferenceCheck(10, 6, ("a",)).is_hopeless
    assert not ReferenceCheck(10, 5, ("a",)).is_hopeless
    assert ReferenceCheck(10, 0, ()).sentence("math", "held-out") == ""

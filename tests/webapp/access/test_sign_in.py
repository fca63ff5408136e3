"""Ways in and out."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from webapp.access import one_time_links, sign_in_throttle
from webapp.access.digests import digest
from webapp.access.models import Membership, Role, SignInLink, SignInTry, Team, User

pytestmark = pytest.mark.django_db


def who(client: Client) -> str | None:
    return client.session.get("_auth_user_id")


def printed(command: str, *args: str) -> str:
    out = StringIO()
    call_command(command, *args, stdout=out)
    return out.getvalue().strip()


def test_a_private_page_redirects_to_sign_in_and_back(client: Client, alice: User) -> None:
    alice.set_password("correct horse battery")
    alice.save()
    door = client.get("/team/")
    assert door.headers["Location"] == "/sign-in/?next=/team/"
    entered = client.post(
        "/sign-in/",
        {"email": "ALICE@still.example", "password": "correct horse battery", "next": "/team/"},
    )
    assert entered.headers["Location"] == "/team/"
    assert who(client) == str(alice.pk)


@pytest.mark.parametrize(
    "target", ["https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)"]
)
def test_sign_in_redirects_to_pages_of_this_site_only(
    client: Client, alice: User, target: str
) -> None:
    alice.set_password("correct horse battery")
    alice.save()
    entered = client.post(
        "/sign-in/", {"email": alice.email, "password": "correct horse battery", "next": target}
    )
    assert entered.headers["Location"] == "/"


@pytest.mark.parametrize("password", ["wrong", "", "\0"])
def test_a_wrong_password_gets_an_error_message(client: Client, alice: User, password: str) -> None:
    answer = client.post("/sign-in/", {"email": alice.email, "password": password})
    assert answer.status_code == 422
    assert who(client) is None


def test_a_one_time_link_shows_whom_it_signs_in_and_works_once(client: Client, alice: User) -> None:
    address = f"/sign-in/{one_time_links.make_sign_in_link(alice)}/"
    assert alice.email in client.get(address).content.decode()
    assert who(client) is None
    client.post(address)
    assert who(client) == str(alice.pk)
    for answer in (Client().get(address), Client().post(address)):
        assert answer.status_code == 410
        assert "used already" in answer.content.decode()


def test_an_old_or_unknown_link_says_so(client: Client, alice: User) -> None:
    token = one_time_links.make_sign_in_link(alice)
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "has expired" in client.post(f"/sign-in/{token}/").content.decode()
    assert "not known here" in client.post("/sign-in/nonsense/").content.decode()
    assert who(client) is None


def test_tokens_are_stored_as_digests_only(alice: User) -> None:
    token = one_time_links.make_sign_in_link(alice)
    assert SignInLink.objects.get().digest == digest(token) != token


def test_signing_out_ends_the_session(client: Client, alice: User) -> None:
    client.force_login(alice)
    client.post("/sign-out/")
    assert client.get("/team/").status_code == 302


def test_the_first_start_creates_a_team_and_a_sign_in_link(client: Client, db: None) -> None:
    address = printed("first_admin")
    assert address.startswith("http://127.0.0.1:8000/sign-in/")
    client.post(address.removeprefix("http://127.0.0.1:8000"))
    membership = Membership.objects.get()
    assert (membership.role, who(client)) == (Role.ADMIN, str(membership.user_id))


def test_a_later_start_creates_nothing_and_offers_no_link_after_the_first_sign_in(
    client: Client, db: None
) -> None:
    printed("first_admin")
    address = printed("first_admin")
    assert (User.objects.count(), Team.objects.count()) == (1, 1)
    client.post(address.removeprefix("http://127.0.0.1:8000"))
    assert "signed in already" in printed("first_admin")


def test_the_command_creates_a_link_for_a_user_and_lists_the_users(alice: User) -> None:
    assert "/sign-in/" in printed("sign_in_link", "Alice@still.example")
    with pytest.raises(
        CommandError,
        match=r"Nobody has the address alicia@still\.example\. There are: alice@still\.example",
    ):
        printed("sign_in_link", "alicia@still.example")


def test_a_signed_in_user_can_set_a_password(client: Client, alice: User) -> None:
    client.force_login(alice)
    weak = client.post("/account/", {"name": "Alice", "password": "short"})
    assert weak.status_code == 422
    client.post("/account/", {"name": "Alice L.", "password": "a long enough phrase"})
    alice.refresh_from_db()
    assert alice.check_password("a long enough phrase")
    assert alice.name == "Alice L."
    assert client.get("/account/").status_code == 200


# How often a password may be tried

PASSWORD = "correct horse battery"


def tried(client: Client, email: str, password: str = "wrong", address: str = "203.0.113.5") -> int:
    return client.post(
        "/sign-in/", {"email": email, "password": password}, REMOTE_ADDR=address
    ).status_code


@pytest.fixture
def user(alice: User) -> User:
    alice.set_password(PASSWORD)
    alice.save()
    return alice


def test_after_five_wrong_passwords_even_the_right_one_must_wait(
    client: Client, user: User
) -> None:
    assert [tried(client, user.email) for _ in range(6)] == [422] * 5 + [429]
    answer = client.post(
        "/sign-in/", {"email": user.email.upper(), "password": PASSWORD}, REMOTE_ADDR="203.0.113.5"
    )
    assert answer.status_code == 429 and "too often" in answer.content.decode()
    assert who(client) is None
    SignInTry.objects.update(at=timezone.now() - sign_in_throttle.WINDOW - timedelta(seconds=1))
    assert tried(client, user.email, PASSWORD) == 302


def test_a_user_can_still_sign_in_from_another_address_and_a_link_always_works(
    client: Client, user: User
) -> None:
    for _ in range(6):
        tried(client, user.email)
    assert tried(Client(), user.email, PASSWORD, address="198.51.100.7") == 302
    assert (
        client.post(
            f"/sign-in/{one_time_links.make_sign_in_link(user)}/", REMOTE_ADDR="203.0.113.5"
        ).status_code
        == 302
    )


def test_a_correct_password_resets_the_count_of_attempts(client: Client, user: User) -> None:
    for _ in range(3):
        assert [
            tried(client, user.email),
            tried(client, user.email),
            tried(client, user.email, PASSWORD),
        ] == [422, 422, 302]
        client.post("/sign-out/")


def test_attempts_are_limited_per_address_and_per_account(
    client: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in_throttle, "MAX_PER_ADDRESS", 3)
    assert [tried(client, f"person{i}@still.example") for i in range(4)] == [422, 422, 422, 429]
    monkeypatch.setattr(sign_in_throttle, "MAX_PER_ACCOUNT", 3)
    assert [tried(client, user.email, address=f"198.51.100.{i}") for i in range(4)] == [
        422,
        422,
        422,
        429,
    ]


def test_only_digests_of_attempts_are_stored_and_only_for_a_while(
    client: Client, user: User
) -> None:
    tried(client, user.email)
    (row,) = SignInTry.objects.values_list("account", "address")
    assert "alice" not in row[0] and "203.0" not in row[1]
    SignInTry.objects.update(at=timezone.now() - sign_in_throttle.WINDOW - timedelta(seconds=1))
    tried(client, "somebody@else.example")
    assert SignInTry.objects.count() == 1

"""What names a teacher that is not loaded here."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainer.spec import EndpointTeacher, ModelTeacher, Networks, PrivilegedContext, Specialist


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "https://api.example.org/v1/", "http://[::1]:8000/v1"]
)
def test_an_endpoint_is_an_http_url_with_a_host(url: str) -> None:
    assert EndpointTeacher(url=url, model="m").url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "api.example.org/v1",
        "http://",
        "https:///v1",
        "file:///etc/passwd",
        "http://h:99999/v1",
        "http://[::1/v1",
    ],
)
def test_a_url_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(
        ValidationError, match="must start with http:// or https:// and have a host"
    ):
        EndpointTeacher(url=url, model="m")


@pytest.mark.parametrize(
    "url", ["https://me:pass@h/v1", "https://me@h/v1", "https://h/v1?key=1", "https://h/v1#a"]
)
def test_a_url_with_a_password_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must have no user name, password"):
        EndpointTeacher(url=url, model="m")


@pytest.mark.parametrize(
    "url",
    [
        "https://h/v1 ",
        "https://h/a b",
        "https://h/\nv1",
        "https://h/\x01",
        "https://h\x7f/v1",
        "https://h/\xa0v1",
    ],
)
def test_a_url_with_white_space_or_control_characters_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must have no white space and no control characters"):
        EndpointTeacher(url=url, model="m")


def teaching(*domains: str) -> Specialist:
    return Specialist(domains=domains, teacher=ModelTeacher(model="builtin:teacher"))


@pytest.mark.parametrize("domain", ["", "  ", "x" * 201])
def test_a_domain_is_a_short_name(domain: str) -> None:
    assert teaching("x" * 200).domains == ("x" * 200,)
    with pytest.raises(ValidationError, match="must be names of 1 to 200 characters"):
        teaching("algebra", domain)


def test_a_long_domain_given_twice_is_abbreviated_in_the_message() -> None:
    with pytest.raises(ValidationError, match=f"gives the domain “{'x' * 60}…” to two specialists"):
        Networks(specialists=(teaching("x" * 200), teaching("x" * 200)))


@pytest.mark.parametrize("template", ["{question}", "{privileged}", ""])
def test_a_template_without_both_placeholders_is_refused(template: str) -> None:
    with pytest.raises(ValidationError, match="or the teacher does not read it"):
        PrivilegedContext(template=template)

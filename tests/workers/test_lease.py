"""A lease is renewed in time, survives an outage of Postgres, and is lost only by its answer."""

from __future__ import annotations

import time

import pytest
from django.db import OperationalError

from workers import lease as leases
from workers.lease import Lease, LeaseLost
from workers.machine import host


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_lease_is_renewed_once_per_heartbeat(clock: Clock) -> None:
    renewed: list[float] = []

    def renew() -> bool:
        renewed.append(clock.now)
        return True

    lease = Lease(renew)
    lease.renew_if_due()
    clock.now += host.HEARTBEAT_SECONDS * 0.9
    lease.renew_if_due()
    assert renewed == [1000.0]

    clock.now += host.HEARTBEAT_SECONDS * 0.1
    lease.renew_if_due()
    assert len(renewed) == 2


def test_the_row_is_read_once_per_check(clock: Clock) -> None:
    lease = Lease(lambda: True)
    rows = iter(["first", "second"])

    assert lease.check(lambda: next(rows)) == "first"
    clock.now += leases.CHECK_SECONDS * 0.5
    assert lease.check(lambda: next(rows)) is None
    clock.now += leases.CHECK_SECONDS * 0.5
    assert lease.check(lambda: next(rows)) == "second"


def test_an_outage_delays_a_renewal_and_ends_nothing(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Exception | bool] = [OperationalError("gone"), OperationalError("gone"), True]
    answers = iter(outcomes)

    def renew() -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    Lease(renew).renew_if_due()

    assert next(answers, None) is None
    assert caplog.text.count("the database does not answer, trying again: gone") == 2


def test_a_lease_is_lost_when_the_row_is_gone_or_the_renewal_is_refused(clock: Clock) -> None:
    with pytest.raises(LeaseLost):
        Lease(lambda: 0).renew_if_due()
    with pytest.raises(LeaseLost):
        Lease(lambda: True).check(lambda: None)
    with pytest.raises(LeaseLost):
        Lease(lambda: 0).check(lambda: True)

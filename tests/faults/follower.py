"""A page that follows a run over the real socket and reconnects whenever the web fails."""

from __future__ import annotations

import contextlib
import json
import threading
import time

from django.conf import settings
from django.test import Client
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.webapp.live.page import Page
from webapp.access.models import User
from webapp.runs.models import Run
from webapp.series import series_store

WIDTH = 4000


class Follower(threading.Thread):
    """Reads frames as `user`; reconnects after every interruption and continues from its cursor."""

    def __init__(self, address: str, user: User, run: Run) -> None:
        super().__init__(daemon=True)
        client = Client()
        client.force_login(user)
        self.cookie = (
            f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
        )
        self.address, self.run_id = address, run.public_id
        self.page, self.connections, self.over = Page(), 0, False

    def run(self) -> None:
        while not self.over:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                self._follow()
            time.sleep(0.1)

    def end(self) -> None:
        self.over = True
        self.join()

    def draws_all_of(self, run: Run) -> bool:
        """Return whether the page has reached the run's cursor.

        Raises AssertionError if its curves then differ from the store.
        """
        if self.page.cursor < run.batch_count:
            return False
        recorded = {
            series.key: dict(zip(series.x, series.mean, strict=True))
            for series in series_store.read([run], None, width=WIDTH)
        }
        assert self.page.curves == recorded
        return True

    def _follow(self) -> None:
        headers = {"Cookie": self.cookie, "Origin": f"http://{self.address}"}
        with connect(
            f"ws://{self.address}/live/", additional_headers=headers, compression=None
        ) as socket:
            self.connections += 1
            socket.send(
                json.dumps(
                    {
                        "type": "subscribe",
                        "run": self.run_id,
                        "since": self.page.cursor,
                        "width": WIDTH,
                    }
                )
            )
            while not self.over:
                with contextlib.suppress(TimeoutError):
                    self.page.take(json.loads(socket.recv(timeout=0.2)))

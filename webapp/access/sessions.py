"""Django's database sessions, read by raw SQL.

Every request reads one, and building the query with the ORM costs more than running it.
"""

from __future__ import annotations

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.utils import timezone

READ = """
SELECT session_key, session_data, expire_date FROM django_session
WHERE session_key = %s AND expire_date > %s
"""


class SessionStore(db.SessionStore):
    def _get_session_from_db(self) -> Session | None:
        session = next(iter(Session.objects.raw(READ, [self.session_key, timezone.now()])), None)
        # As in Django's own method: a key that the server did not give out is never used, so nobody
        # can choose the key of somebody else's session.
        if session is None:
            self._session_key = None
        return session

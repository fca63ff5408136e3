"""Sessions in the database, as Django keeps them, but read by a statement that is ready: every
request reads one.
"""

from __future__ import annotations

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.utils import timezone

READ = "SELECT session_key, session_data, expire_date FROM django_session WHERE session_key = %s AND expire_date > %s"


class SessionStore(db.SessionStore):
    def _get_session_from_db(self) -> Session | None:
        found = next(iter(Session.objects.raw(READ, [self.session_key, timezone.now()])), None)
        if found is None:
            self._session_key = None
        return found

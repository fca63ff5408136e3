"""Share links: create, revoke, and look up what a guest may see."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from webapp.access.digests import digest, new_token
from webapp.access.models import User
from webapp.access.registry import Shared
from webapp.comparisons.models import SavedComparison
from webapp.runs.models import Run
from webapp.sharing.models import ShareLink

LIFETIMES = {
    "1": timedelta(days=1),
    "7": timedelta(days=7),
    "30": timedelta(days=30),
    "365": timedelta(days=365),
}


def share(shown: Run | SavedComparison, user: User, lifetime: timedelta) -> str:
    """Create a link that shows `shown` and nothing else to anybody who has it; return its token."""
    token = new_token()
    ShareLink.objects.create(
        team=shown.team,
        run=shown if isinstance(shown, Run) else None,
        comparison=shown if isinstance(shown, SavedComparison) else None,
        created_by=user,
        digest=digest(token),
        expires_at=timezone.now() + lifetime,
    )
    return token


def revoke(link: ShareLink) -> None:
    """Revoke a link, also for guests who are connected."""
    # A link that was revoked before keeps its time.
    ShareLink.objects.filter(pk=link.pk, revoked_at=None).update(revoked_at=timezone.now())


def shown_by_valid_links(link_ids: Collection[int]) -> dict[int, Shared]:
    """Return what each link shows that is valid."""
    links = _valid_links().filter(pk__in=set(link_ids))
    return {
        pk: ("comparison", comparison) if run is None else ("run", run)
        for pk, run, comparison in links.values_list("pk", "run_id", "comparison_id")
    }


def find(token: str) -> ShareLink | None:
    """Return the valid link of a token, or None."""
    links = _valid_links().select_related("run", "comparison")
    return links.filter(digest=digest(token)).first()


def _valid_links() -> QuerySet[ShareLink]:
    """Return the links that are not revoked or expired, and whose run is not deleted."""
    return ShareLink.objects.filter(
        revoked_at=None, expires_at__gt=timezone.now(), run__deleted_at=None
    )

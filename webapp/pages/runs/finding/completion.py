"""What the filter can be completed to: names, and the values of a name."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.access.actors import Actor, actor_of
from webapp.access.models import Membership
from webapp.clients.models import Project
from webapp.pages.runs.finding.matching import CREATED, FIELDS, HAS
from webapp.runs.models import Run
from webapp.runs.value_keys import keys_of, texts_of

MOST_VALUES = 100
# Of the newest runs with tags, whose tags are offered.
TAGGED_RUNS = 1000


@require_safe
def completions(request: HttpRequest) -> HttpResponse:
    """Names with their help; with `name`, the values of that name."""
    actor = actor_of(request)
    name = request.GET.get("name", "").replace("\0", "")
    if name:
        answer = JsonResponse({"values": _values(actor, name)[:MOST_VALUES]})
    else:
        keys = keys_of(actor.team.pk) if actor.team is not None else []
        fields = {
            **{field: FIELDS[field].help for field in FIELDS},
            HAS: "any value under a name",
            CREATED: "the day of its creation",
        }
        answer = JsonResponse({"fields": fields, "keys": keys})
    # A person types many characters a minute, and names change rarely.
    answer["Cache-Control"] = "private, max-age=30"
    return answer


def _values(actor: Actor, name: str) -> Sequence[str]:
    if actor.team is None:
        return []
    runs = permissions.visible(actor, Run).filter(team=actor.team)
    if name in FIELDS and FIELDS[name].values:
        return FIELDS[name].values
    match name:
        case "recipe":
            recipes = runs.exclude(recipe="").order_by("recipe").values_list("recipe", flat=True)
            return list(recipes.distinct()[:MOST_VALUES])
        case "tag":
            tags = runs.exclude(tags=[]).order_by("-pk").values_list("tags", flat=True)
            return sorted({str(tag) for run_tags in tags[:TAGGED_RUNS] for tag in run_tags})
        case "owner":
            members = permissions.visible(actor, Membership).filter(team=actor.team)
            names = members.values_list("user__name", "user__email")
            return sorted(name or email for name, email in names)
        case "project":
            projects = permissions.visible(actor, Project).filter(team=actor.team)
            return list(projects.order_by("name").values_list("name", flat=True)[:MOST_VALUES])
        case "has":
            return keys_of(actor.team.pk)
    return texts_of(actor.team.pk, name, MOST_VALUES)

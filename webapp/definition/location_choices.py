"""The models and data sets that the form offers to a team."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from webapp.access.models import Team
from webapp.base import endpoints
from webapp.definition import run_form as forms
from webapp.definition.form_fields import Place, Places
from webapp.library.locations import BUILTIN_LABELS, data_of, models_of, uri_of_data, uri_of_model
from webapp.library.models import DataSet, StoredModel

HUB_MODEL = Place(
    "hub:", "A model of the Hugging Face hub…", "Elsewhere", example="organisation/name@revision"
)
HUB_DATA = Place(
    "hub:", "A data set of the Hugging Face hub…", "Elsewhere", example="organisation/name@revision"
)


def places_of(team: Team) -> Places:
    """What the form offers: the built-in models, the team's uploads, the hub, and the operator's
    folders if there are any.
    """
    builtins = tuple(
        Place(f"builtin:{name}", label, "Built in") for name, label in BUILTIN_LABELS.items()
    )
    models = tuple(
        Place(uri_of_model(model), label_of_model(model), "The team's models")
        for model in models_of(team)
    )
    data = tuple(
        Place(
            uri_of_data(found),
            label_of_data(found),
            "The team's data sets",
            mapping=mapping_of(found),
        )
        for found in data_of(team)
    )
    return Places(
        models=(*builtins, *models, HUB_MODEL, *_roots("A folder on the server…")),
        data=(*data, HUB_DATA, *_roots("A file on the server…")),
        endpoints=endpoints.sentence(),
    )


def label_of_model(model: StoredModel) -> str:
    return f"{model.name} ({model.architecture}, {model.hash[:8]})"


def label_of_data(data: DataSet) -> str:
    return f"{data.name} ({data.problem_count:,} problems, {data.fingerprint[:8]})"


def mapping_of(data: DataSet) -> dict[str, str]:
    """Form values that come with a data set; `{role}` stands for data.train, data.evaluation or
    data.retained.
    """
    columns = {f"{{role}}.columns.{name}": column or "" for name, column in data.columns.items()}
    return columns | {
        f"data.verifier.{name}": _form_value(value) for name, value in data.verifier.items()
    }


def _roots(label: str) -> tuple[Place, ...]:
    return tuple(
        Place("file:", label, "Elsewhere", example=str(root))
        for root in settings.STILLROOM_FILE_ROOTS[:1]
    )


def _form_value(value: Any) -> str:
    return forms.ON if value is True else "" if value is False or value is None else str(value)

"""The models and data sets that the form offers to a team."""

from __future__ import annotations

from django.conf import settings

from trainer.spec import Columns
from webapp.access.models import Team
from webapp.base import endpoints
from webapp.definition import run_form as forms
from webapp.definition.form_field import LocationChoice, LocationChoices
from webapp.library.locations import BUILTIN_LABELS, data_of, models_of, uri_of_data, uri_of_model
from webapp.library.models import DataSet

HUB_EXAMPLE = "organisation/name@revision"
HUB_MODEL = LocationChoice(
    "hub:", "A model of the Hugging Face hub…", "Elsewhere", example=HUB_EXAMPLE
)
HUB_DATA = LocationChoice(
    "hub:", "A data set of the Hugging Face hub…", "Elsewhere", example=HUB_EXAMPLE
)


def choices_of(team: Team) -> LocationChoices:
    """Return the built-in models, the team's uploads, the hub, and the operator's folder if any."""
    builtins = tuple(
        LocationChoice(f"builtin:{name}", label, "Built in")
        for name, label in BUILTIN_LABELS.items()
    )
    models = tuple(
        LocationChoice(
            uri_of_model(model),
            f"{model.name} ({model.architecture}, {model.hash[:8]})",
            "The team's models",
        )
        for model in models_of(team)
    )
    data = tuple(
        LocationChoice(
            uri_of_data(data_set),
            f"{data_set.name} ({data_set.problem_count:,} problems, {data_set.fingerprint[:8]})",
            "The team's held-out sets" if data_set.is_held_out else "The team's data sets",
            mapping=mapping_of(data_set),
        )
        for data_set in data_of(team)
    )
    return LocationChoices(
        models=(*builtins, *models, HUB_MODEL, *_server_folder("A folder on the server…")),
        data=(*data, HUB_DATA, *_server_folder("A file on the server…")),
        endpoint_note=endpoints.sentence(),
    )


def mapping_of(data: DataSet) -> dict[str, str]:
    """Return the form values of a data set: its columns and its verifier.

    `{role}` in a name stands for data.train, data.evaluation or data.retained.
    """
    # With every field: the data set that was chosen before may have set one.
    columns = Columns(**data.columns).model_dump()
    mapping = {
        f"{{role}}.columns.{name}": "" if value is None else str(value)
        for name, value in columns.items()
    }
    for name, value in data.verifier.items():
        # What a browser sends: `on` for a checked box, else an empty text for a missing value.
        is_empty = value is None or value is False
        mapping[f"data.verifier.{name}"] = (
            forms.ON if value is True else "" if is_empty else str(value)
        )
    return mapping


def _server_folder(label: str) -> tuple[LocationChoice, ...]:
    """Return a choice with the first of the operator's folders as its example, or none."""
    return tuple(
        LocationChoice("file:", label, "Elsewhere", example=str(root))
        for root in settings.STILLROOM_FILE_ROOTS[:1]
    )

"""What clients log about a run besides values: parameters, tags, data sets, keys not kept.

Secrets among them are masked here, whatever client or file they come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from webapp.clients import runs
from webapp.clients.client_batch import ClientBatch
from webapp.clients.limits import LONGEST_VALUE, MAX_INPUTS, MAX_PARAMS, listed
from webapp.clients.masking import masked
from webapp.clients.models import Origin
from webapp.runs import lifecycle, run_values
from webapp.runs.models import ACTIVE, Run, State

# Names under *Not kept* on the *Config* tab. A script that logs tables under a new name at each
# step would make the row of its run grow without end.
MOST_NOT_KEPT = 200
# The columns that `_merge` may change.
MERGED_FIELDS = ("params", "tags", "inputs", "not_kept", "resuming", "resumed_keys")
# Start time of a Trackio process, in its configuration: another value means a resumed run.
STARTED = "_Created"

_merged_values = attrgetter(*MERGED_FIELDS)


class Unfit(Exception):
    """Something that cannot be stored, of a client that shows errors; the message names it."""


def describe(
    batches_by_run: Mapping[int, Sequence[ClientBatch]], resuming: set[int]
) -> dict[int, str]:
    """Merge descriptions into the runs' origins, whose rows the caller has locked.

    Adds runs that were resumed to `resuming`. Returns, by run, a sentence about what exceeds the
    limits and is not kept. For MLflow's clients, which raise the errors they receive, raises Unfit
    instead.
    """
    complaints: dict[int, str] = {}
    # Most requests hold values alone, and Django takes a millisecond to build the query.
    if not batches_by_run:
        return complaints
    for origin in Origin.objects.filter(pk__in=list(batches_by_run)).select_related("run"):
        # `_merge` assigns new lists and dictionaries and never changes the old ones in place, so
        # that these values stay as they were read.
        before = _merged_values(origin)
        too_many = [name for batch in batches_by_run[origin.pk] for name in _merge(origin, batch)]
        if too_many:
            complaints[origin.pk] = (
                f"A run may have {MAX_PARAMS:,} parameters, {MAX_PARAMS:,} tags and "
                f"{MAX_INPUTS:,} data sets. "
                f"This one has as many; further ones are not kept, such as {listed(too_many)}."
            )
            if _shows_errors(origin):
                raise Unfit(complaints[origin.pk])
        # Clients send the same parameters and tags with every request: most of them write no row.
        if before != _merged_values(origin):
            origin.save(update_fields=MERGED_FIELDS)
            run_values.write_settings(origin.run, run_values.settings_of(origin.params))
        if origin.resuming:
            resuming.add(origin.pk)
    return complaints


def _merge(origin: Origin, batch: ClientBatch) -> list[str]:
    """Merge one batch; return the names beyond the limits of a run."""
    batch = replace(
        batch,
        params=masked(batch.params),
        tags=masked(batch.tags),
        inputs=[masked(data_input) for data_input in batch.inputs],
    )
    started = batch.params.get(STARTED)
    # Compared before the parameters are merged, which replaces the stored start time.
    is_started_again = started is not None and origin.params.get(STARTED, started) != started
    if batch.resumes or is_started_again:
        origin.resuming, origin.resumed_keys = True, []
    # Somebody ended the run by hand, because its client reports no end; now it is resumed.
    if is_started_again and origin.run.state not in ACTIVE:
        lifecycle.set_reported_state(origin.run, State.RUNNING, "The client logs again.")
    # As in MLflow, a parameter keeps its first value there. Trackio's client sends its
    # configuration again with each process, so that its last value counts.
    if _shows_errors(origin):
        _refuse_changes(origin, batch.params)
    origin.params, params = _merge_up_to_limit(
        origin.params, {name: _short(value) for name, value in batch.params.items()}
    )
    origin.tags, tags = _merge_up_to_limit(origin.tags, batch.tags)
    new = [data_input for data_input in batch.inputs if data_input not in origin.inputs]
    room = MAX_INPUTS - len(origin.inputs)
    origin.inputs = [*origin.inputs, *new[:room]]
    origin.not_kept = sorted({*origin.not_kept, *batch.not_kept})[:MOST_NOT_KEPT]
    if batch.tags.get(runs.NAME_TAG):
        runs.rename(origin.run, batch.tags[runs.NAME_TAG])
    return [*params, *tags, *(str(data_input.get("name")) for data_input in new[room:])]


def _shows_errors(origin: Origin) -> bool:
    return origin.client == "mlflow" and origin.run.source == Run.Source.CLIENT


def _refuse_changes(origin: Origin, params: dict[str, Any]) -> None:
    # Masked: an earlier version stored secrets as they came.
    stored = masked({name: origin.params[name] for name in params if name in origin.params})
    for name, value in params.items():
        if stored.get(name, value) != value:
            raise Unfit(
                f"The parameter {name!r} of this run is {stored[name]!r} already; "
                f"it cannot become {value!r}."
            )


def _merge_up_to_limit(
    current: dict[str, Any], new_values: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return `current` with new values up to the limit, and the names beyond it."""
    # A name that the run has takes its new value also beyond the limit: it adds nothing.
    new = [name for name in new_values if name not in current]
    beyond = set(new[max(0, MAX_PARAMS - len(current)) :])
    return {
        **current,
        **{name: value for name, value in new_values.items() if name not in beyond},
    }, sorted(beyond)


def _short(value: Any) -> Any:
    """Return a value of a configuration; a long one becomes the start of its JSON text."""
    text = value if isinstance(value, str) else json.dumps(value)
    return value if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"

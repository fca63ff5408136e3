"""Which fields hold the location of a model or a data file, and how locations are written."""

from __future__ import annotations

import re

from trainer.spec.fields.field_list import FieldInfo

# Prefixes that the user completes by hand; any other location is chosen as a complete name.
OPEN_SCHEMES = ("hub:", "file:")

MODEL = re.compile(r"(networks\.(student|teacher|specialists\.\*\.teacher)|model)\.model")
DATA = re.compile(r"data\.\w+\.path|networks\.teacher\.path|problems\.path")
# An endpoint's model is named as the endpoint names it, which is not a location.
ENDPOINT_KINDS = {("networks.teacher.kind", "endpoint"), ("model.kind", "endpoint")}


def is_location(info: FieldInfo) -> bool:
    """Whether the field says where a model or a data file is."""
    return is_model(info) or DATA.fullmatch(info.path) is not None


def is_model(info: FieldInfo) -> bool:
    """Whether the field says where a model is."""
    return MODEL.fullmatch(info.path) is not None and not ENDPOINT_KINDS & set(info.when)

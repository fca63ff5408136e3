"""Fields that say where a model or a data file is, and the ways in which a location is written."""

from __future__ import annotations

import re

from trainer.spec.fields.field_list import FieldInfo

OPEN = ("hub:", "file:")
"""Beginnings that are completed by hand; any other location is a whole name."""

MODEL = re.compile(r"(networks\.(student|teacher|specialists\.\*\.teacher)|model)\.model")
DATA = re.compile(r"data\.\w+\.path|networks\.teacher\.path|problems\.path")
CALLED_BY_ENDPOINT = {("networks.teacher.kind", "endpoint"), ("model.kind", "endpoint")}


def is_location(info: FieldInfo) -> bool:
    """Whether the field says where a model or a data file is. What an endpoint calls its model is
    no location.
    """
    return is_model(info) or DATA.fullmatch(info.path) is not None


def is_model(info: FieldInfo) -> bool:
    return MODEL.fullmatch(info.path) is not None and not CALLED_BY_ENDPOINT & set(info.when)

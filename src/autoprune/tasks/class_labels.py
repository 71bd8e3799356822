"""Class labels: the names that numbers stand for, in what the datasets library writes."""

import json
from collections.abc import Mapping, Sequence

from autoprune.errors import DataError, quote

_KEY = b"huggingface"  # of the schema's metadata, in Parquet and Arrow files alike


def class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Return the names of each column that is a `datasets.ClassLabel`, in their own order.

    `metadata` is that of a schema. What is not of the expected form names nothing.
    """
    try:
        features = json.loads((metadata or {})[_KEY])["info"]["features"]
        found = {
            column: tuple(feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return {
        column: names
        for column, names in found.items()
        if names and all(isinstance(name, str) for name in names)
    }


def class_name(value: object, names: Sequence[str], subject: str, location: str) -> object:
    """Return the name of a class number, None for NaN and for -1, which hides a label.

    What is no number is left as it is. Raises `DataError` for a number without a name.
    """
    if not isinstance(value, int | float):
        return value
    if not value >= 0:  # or NaN
        return None
    if value < len(names) and value == int(value):
        return names[int(value)]
    raise DataError(
        f"{subject} has the names of {len(names)} labels, {location} has number {quote(value)}: "
        "save the data set again"
    )


def class_metadata(classes: Mapping[str, Sequence[str]]) -> dict[bytes, bytes]:
    """Return the metadata of a schema from which `class_names` reads `classes`."""
    features = {
        column: {"names": list(names), "_type": "ClassLabel"} for column, names in classes.items()
    }
    return {_KEY: json.dumps({"info": {"features": features}}).encode()}

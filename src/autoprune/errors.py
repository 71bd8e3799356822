"""What a user can do wrong: one class per remedy, one line per mistake."""

import difflib
from collections.abc import Iterable


class AutopruneError(Exception):
    """A mistake or mishap that the user can mend; the command line prints it as one line."""


class LayoutError(AutopruneError):
    """Name other layers, or another number of them."""


class UnknownNameError(AutopruneError):
    """Choose one of the known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        choice = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}, {choice}" + (f" {hint}" if hint else ""))


class OptionError(AutopruneError):
    """Give an option another value."""


class ModelError(AutopruneError):
    """Choose another model, or mend its folder."""


class HubError(AutopruneError):
    """See to the network or the hub, or use a local folder."""


class DataError(AutopruneError):
    """Mend the data files, or name their columns."""


class StudyError(AutopruneError):
    """Go on with the settings the study was begun with, or begin another."""


class StorageError(AutopruneError):
    """See to the place where the study is kept."""

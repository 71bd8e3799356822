"""Versions: what was installed when something was measured."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("autoprune", "torch", "transformers", "optuna")


def installed() -> dict[str, str]:
    """Return the versions of the packages that a result depends on, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

"""Find out which layers of an encoder a task needs, and prove it."""

from importlib.metadata import version

__version__ = version("autoprune")

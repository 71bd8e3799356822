"""The command line: read arguments, call one function, print. Imports nothing heavy."""

from autoprune.cli.app import main

__all__ = ["main"]

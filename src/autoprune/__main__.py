"""`python -m autoprune` is the command `autoprune`."""

from autoprune.cli import main

main()

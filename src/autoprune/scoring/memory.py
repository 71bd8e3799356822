"""Memory: work on a batch in smaller parts when it does not fit."""

import torch

from autoprune.errors import is_out_of_memory


class Parts:
    """How many rows go through the model at once; halved each time memory runs out.

    Halving keeps the optimizer's batch as it is: the gradients of the parts are added up.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.notes: list[str] = []

    def halve(self, error: RuntimeError) -> None:
        """Halve the rows, in place; raises `error` again if it is another, or one row is left."""
        if self.rows == 1 or not is_out_of_memory(error):
            raise error
        self.rows = (self.rows + 1) // 2
        self.notes.append(f"out of memory: went on with {self.rows} rows at once")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

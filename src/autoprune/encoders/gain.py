"""The gain that fewer layers promise, the gain that was measured, and why it may fall short."""

from dataclasses import dataclass

ENOUGH = 0.8  # of the promised gain; less is said in words

# A call with a whole batch that takes less than this many times as long as one with one row is
# mostly the fixed cost of a call.
_UNFILLED = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """Where a model's time goes, in seconds a text in batches.

    `outside` is the part of `forward` that is spent outside the layers (embeddings, pooler, head);
    `tokenising` comes before; `alone` is `forward` for a batch of one text.
    """

    layers: int
    forward: float
    outside: float
    tokenising: float
    alone: float


def alarms(full: Pace, small: Pace, batch: int) -> tuple[str, ...]:
    """Return a sentence for each gain below `ENOUGH` of what the layers promise, often none.

    `full` and `small` are one model before and after pruning, measured at `batch` rows: one
    sentence is on the models alone, another on the way from text to label.
    """
    promised = full.layers / small.layers
    gain = full.forward / small.forward
    whole = (full.forward + full.tokenising) / (small.forward + small.tokenising)
    found = []
    if gain < ENOUGH * promised:
        found.append(
            f"Little gain: {gain:.2f} times the full model's throughput in batches of {batch}, "
            f"where {full.layers} to {small.layers} layers promise {promised:.2f}. "
            f"{_reason(full, small, batch)}"
        )
    # What the model alone falls short by is not said twice.
    if whole < ENOUGH * min(promised, gain):
        share = small.tokenising / (small.forward + small.tokenising)
        found.append(
            f"Little gain from text to label: {whole:.2f} times, where {full.layers} to "
            f"{small.layers} layers promise {promised:.2f}. Likely reason: the tokenizer, which "
            f"takes {share:.0%} of the pruned model's time and has no layers: tokenise ahead, or "
            "in other processes."
        )
    return tuple(found)


def _reason(full: Pace, small: Pace, batch: int) -> str:
    """Say what most likely keeps the model from its gain, by what was measured."""
    promised = full.layers / small.layers
    in_layers = (full.forward - full.outside) / (small.forward - small.outside)
    if in_layers >= ENOUGH * promised:
        return (
            f"Likely reason: the embeddings and the head, which take "
            f"{small.outside / small.forward:.0%} of the pruned model's time and stay as they are."
        )
    if batch == 1:
        return (
            "Likely reason: one text at a time, where the fixed cost of a call outweighs the "
            "arithmetic: try a larger --batch."
        )
    calls = batch * small.forward / small.alone
    if calls < _UNFILLED:
        return (
            f"Likely reason: too small a batch for this device, for a call with {batch} texts "
            f"takes only {calls:.1f} times as long as one with a single text: try a larger --batch."
        )
    return (
        f"The layers alone are {in_layers:.2f} times as fast; embeddings and head take "
        f"{small.outside / small.forward:.0%} of the time, and the batch fills the device. Likely "
        "reason: other work on this machine, or too many threads for so small a model: measure "
        "again when it is idle, or with --threads 1."
    )

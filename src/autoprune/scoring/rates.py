"""Learning rates that serve when the user names none."""

from autoprune.scoring.names import METHOD_NAMES

# Peak rates for encoders of base width and above, and below it. 5e-5 is the upper end of what the
# authors of BERT tried (arXiv 1810.04805, A.3); the narrow stand-ins were tuned at 5e-4. Adapters
# and heads start from nothing and take ten times as much.
WIDE = 512
_RATES = {True: 5e-5, False: 5e-4}
_FACTORS = {name: 1.0 if name == "full" else 10.0 for name in METHOD_NAMES}


def default_rate(hidden: int, method: str) -> float:
    """Return the peak learning rate for an encoder `hidden` wide.

    >>> default_rate(768, "full"), default_rate(128, "full")
    (5e-05, 0.0005)
    """
    return min(_RATES[hidden >= WIDE] * _FACTORS[method], 5e-3)

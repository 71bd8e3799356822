"""Learning rates that serve when the user names none."""

# Peak rates for encoders of base width and above, and below it. 5e-5 is the upper end of what the
# authors of BERT tried (arXiv 1810.04805, A.3); the narrow stand-ins were tuned at 5e-4. What
# starts from nothing takes more: heads ten times, adapters five times as much (mr-12 on SHC, three
# passes, two seeds: 62 and 60 % at 2.5e-3, 58 % at 1e-3; at 5e-3 they diverge, 12 and 34 %).
WIDE = 512
_RATES = {True: 5e-5, False: 5e-4}
_FACTORS = {"full": 1.0, "lora": 5.0, "lora-upper": 5.0, "head": 10.0, "probe": 10.0}


def default_rate(hidden: int, method: str) -> float:
    """Return the peak learning rate for an encoder `hidden` wide.

    >>> default_rate(768, "full"), default_rate(128, "full")
    (5e-05, 0.0005)
    >>> default_rate(128, "lora")
    0.0025
    """
    return min(_RATES[hidden >= WIDE] * _FACTORS[method], 5e-3)

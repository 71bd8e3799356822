"""What a run is worth: by how much it is expected to better the choice that ends a search."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Values = NDArray[np.float64]


def expected_improvement(mean: Values, std: Values, incumbent: float) -> Values:
    """Return by how much each row is expected to exceed `incumbent`: (rows,).

    Jones et al. 1998, https://doi.org/10.1023/A:1008306431147.
    """
    spread = np.maximum(std, 1e-12)
    z = (mean - incumbent) / spread
    # scipy.stats.norm takes twice as long, and this is asked for a million values at once.
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(spread * (z * ndtr(z) + density), dtype=np.float64)


def knowledge_gradient(mean: Values, moves: Values) -> Values:
    """Return how much higher the best mean is expected to be after each run: (runs,).

    `mean` (rows,) is expected now; run `j` moves row `i` by `moves[k, i, j]` for each standard
    deviation of its surprise `k`; the surprises are independent. What counts is the choice at the
    end, not the run's own luck: under noise a repeat of the leader can be worth more than a new
    layout. A run that changes the choice between the leader and one rival is counted exactly; of
    several rivals the worthiest is taken,
    a lower bound. Frazier, Powell and Dayanik 2009, https://doi.org/10.1287/ijoc.1080.0314.
    """
    leader = int(np.argmax(mean))
    behind = (mean[leader] - mean)[:, None]  # (rows, 1)
    apart = moves - moves[:, leader, None]  # how a surprise moves a rival against the leader
    apart = np.sqrt((apart**2).sum(axis=0))  # (rows, runs)
    return np.asarray(expected_improvement(-behind, apart, 0.0).max(axis=0))

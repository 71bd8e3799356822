"""Holm's correction: a known answer, and its bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.evaluation.statistics import holm_correction


def test_holm_correction_by_known_answer():
    # Holm 1979; R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm_correction([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_correction([]) == []


@given(st.lists(st.floats(1e-90, 1.0), min_size=1, max_size=9))
def test_holm_correction_keeps_the_order_and_is_between_p_and_bonferroni(p_values):
    corrected = holm_correction(p_values)
    for p, q in zip(p_values, corrected, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(corrected)[order]) == sorted(corrected)

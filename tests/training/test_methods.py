"""Fine-tuning methods; what each of them trains is tested with the evaluator."""

from autoprune.choices import METHOD_NAMES
from autoprune.training.methods import CACHES_ACTIVATIONS, METHODS


def test_choices_name_every_method():
    assert tuple(METHODS) == METHOD_NAMES
    assert set(CACHES_ACTIVATIONS) <= set(METHODS)

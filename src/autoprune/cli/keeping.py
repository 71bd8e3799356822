"""Keeping: what was measured of a study's models is put beside the study, for its report."""

from autoprune.artifacts.costing import Cost
from autoprune.cli.costing import Measured
from autoprune.evidence.costs import CostOf, Costs, write_costs
from autoprune.evidence.record import now
from autoprune.evidence.versions import installed
from autoprune.layouts.layout import Layout


def keep_costs(measured: Measured) -> None:
    """Write what was measured to its study's folder, if it is a study's; raises `StudyError`."""
    if measured.study is None:
        return
    under = measured.under
    costs = Costs(
        measured=now(),
        device=under.machine,
        versions=installed(),
        batch=under.batch,
        rounds=under.rounds,
        tokens=under.tokens,
        models=tuple(_cost_of(one, measured.layouts[one.name]) for one in measured.costs),
        alarms=measured.alarms,
        notes=measured.notes,
    )
    write_costs(measured.study, costs)


def _cost_of(cost: Cost, layout: Layout) -> CostOf:
    assert cost.parameters is not None and cost.flops is not None, "a study's are torch models"
    return CostOf(
        name=cost.name,
        layout=layout,
        parameters=cost.parameters.total,
        embeddings=cost.parameters.embeddings,
        bytes=cost.bytes,
        peak_bytes=cost.peak_bytes,
        latency=cost.latency,
        throughput=cost.throughput,
        gain=cost.gain,
        flops=cost.flops,
    )

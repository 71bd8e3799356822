"""The energy meter reads the counters of the processors, if there are any."""

import pytest

from autoprune.export.cost import EnergyMeter


@pytest.fixture
def counters(tmp_path):
    """Return a function that sets the counters of two processors and a part of the first."""

    def show(*microjoules):
        for name, value in zip(("0", "1", "0:0"), microjoules, strict=True):
            folder = tmp_path / f"intel-rapl:{name}"
            folder.mkdir(exist_ok=True)
            folder.joinpath("energy_uj").write_text(f"{value}\n")
            folder.joinpath("max_energy_range_uj").write_text("10000000\n")
        return tmp_path

    return show


def test_energy_is_the_sum_over_processors(counters):
    with EnergyMeter(counters(1_000_000, 2_000_000, 500)) as meter:
        counters(4_000_000, 2_500_000, 900_000)
    assert meter.joules == pytest.approx(3.5)


def test_energy_of_a_counter_that_wraps_around(counters):
    meter = EnergyMeter(counters(9_000_000, 0, 0))
    counters(1_000_000, 0, 0)
    meter.add()
    counters(3_000_000, 0, 0)
    meter.add()
    assert meter.joules == pytest.approx(4.0)


def test_energy_is_read_regularly(counters, monkeypatch):
    monkeypatch.setattr("autoprune.export.cost.POWER_INTERVAL", 0.005)
    seen = []
    monkeypatch.setattr(EnergyMeter, "add", lambda meter: seen.append(meter))
    with EnergyMeter(counters(0, 0, 0)) as meter:
        meter._thread.join(0.2)
    assert len(seen) > 3


def test_energy_without_a_counter_is_none(tmp_path):
    with EnergyMeter(tmp_path / "nowhere") as meter:
        assert meter.joules is None
    assert meter.joules is None


@pytest.mark.parametrize("missing", [False, True])
def test_energy_of_a_counter_that_cannot_be_read_is_none(counters, missing):
    folder = counters(1, 1, 1)
    counter = folder / "intel-rapl:1/energy_uj"
    if not missing:
        counter.write_text("denied")
    with EnergyMeter(folder) as meter:
        if missing:
            counter.unlink()
    assert meter.joules is None

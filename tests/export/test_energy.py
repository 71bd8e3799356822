"""The meter reads the processors' counters, and says nothing where there are none."""

import pytest

from autoprune.export.export import EnergyMeter


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


def test_whole_processors_are_added_up(counters):
    with EnergyMeter(counters(1_000_000, 2_000_000, 500)) as meter:
        counters(4_000_000, 2_500_000, 900_000)
    assert meter.joules == pytest.approx(3.5)


def test_a_counter_that_starts_again_is_followed(counters):
    meter = EnergyMeter(counters(9_000_000, 0, 0))
    counters(1_000_000, 0, 0)
    meter.add()
    counters(3_000_000, 0, 0)
    meter.add()
    assert meter.joules == pytest.approx(4.0)


def test_it_is_read_now_and_then(counters, monkeypatch):
    monkeypatch.setattr("autoprune.export.export.POWER_INTERVAL", 0.005)
    seen = []
    monkeypatch.setattr(EnergyMeter, "add", lambda meter: seen.append(meter))
    with EnergyMeter(counters(0, 0, 0)) as meter:
        meter._thread.join(0.2)
    assert len(seen) > 3


def test_no_counter_is_no_figure(tmp_path, counters):
    with EnergyMeter(tmp_path / "nowhere") as meter:
        assert meter.joules is None
    assert meter.joules is None


def test_a_counter_that_cannot_be_read_is_no_figure(counters):
    place = counters(1, 1, 1)
    place.joinpath("intel-rapl:1/energy_uj").write_text("denied")
    with EnergyMeter(place) as meter:
        counters(2, 2, 2)
    assert meter.joules is None


def test_a_counter_that_goes_away_is_no_figure(counters):
    place = counters(1, 1, 1)
    with EnergyMeter(place) as meter:
        place.joinpath("intel-rapl:0/energy_uj").unlink()
    assert meter.joules is None

"""The no-gain alarm, on timings whose cause is known."""

import pytest

from autoprune.encoders.profiling import EXPECTED_GAIN, LayerTimes, speed_warnings


def pace(layers, layer=1.0, outside=0.0, tokenising=0.0, call=0.0, batch=32):
    """Return the pace of a model by what a layer, what is outside and a call cost a text."""
    work = layers * layer + outside
    return LayerTimes(
        layers=layers,
        forward=work + call / batch,
        outside=outside,
        tokenising=tokenising,
        alone=work + call,
    )


@pytest.mark.parametrize(
    ("full", "small"),
    [
        (pace(12), pace(6)),
        (pace(12, outside=0.5, tokenising=0.5), pace(6, outside=0.5, tokenising=0.5)),
        (pace(12), pace(6, layer=2 / (2 * EXPECTED_GAIN) - 0.01)),
        (pace(6), pace(6, layer=1.2)),
    ],
)
def test_a_gain_as_promised_raises_no_alarm(full, small):
    assert speed_warnings(full, small, 32) == ()


def test_little_gain_is_told_with_its_figures():
    [alarm] = speed_warnings(pace(12, outside=10), pace(6, outside=10), 32)
    assert alarm.startswith(
        "Little gain: 1.38 times the full model's throughput in batches of 32, where 12 to 6 "
        "layers promise 2.00. "
    )
    assert "the embeddings and the head, which take 62% of" in alarm


def test_the_alarm_begins_where_less_than_four_fifths_are_gained():
    just, under = pace(6, layer=1.2499), pace(6, layer=1.2501)
    assert speed_warnings(pace(12), just, 32) == ()
    assert len(speed_warnings(pace(12), under, 32)) == 1


def test_a_tokenizer_that_takes_the_time_is_named():
    [alarm] = speed_warnings(pace(12, tokenising=20), pace(6, tokenising=20), 32)
    assert "from text to label: 1.23 times" in alarm
    assert "the tokenizer, which takes 77% of" in alarm


def test_model_and_tokenizer_may_both_be_to_blame():
    both = {"outside": 10, "tokenising": 80}
    first, second = speed_warnings(pace(12, **both), pace(6, **both), 32)
    assert "the embeddings and the head" in first
    assert "the tokenizer" in second


def test_one_text_at_a_time_is_named():
    [alarm] = speed_warnings(pace(12, call=30, batch=1), pace(6, call=30, batch=1), 1)
    assert "one text at a time" in alarm


def test_a_batch_too_small_for_the_device_is_named():
    # A call costs the same for 1 text and 32: a GPU that waits.
    full = LayerTimes(layers=12, forward=1.4 / 32, outside=0, tokenising=0, alone=1.3)
    small = LayerTimes(layers=6, forward=1.2 / 32, outside=0, tokenising=0, alone=1.1)
    [alarm] = speed_warnings(full, small, 32)
    assert "too small a batch for this device" in alarm
    assert "takes only 1.1 times as long as one with a single text" in alarm


def test_without_a_cause_it_says_what_was_ruled_out():
    [alarm] = speed_warnings(pace(12), pace(6, layer=1.6), 32)
    assert "The layers alone are 1.25 times as fast" in alarm
    assert "other work on this machine" in alarm


@pytest.mark.parametrize("keep", range(1, 12))
def test_every_number_of_layers_has_its_own_promise(keep):
    assert speed_warnings(pace(12), pace(keep), 32) == ()
    [alarm] = speed_warnings(pace(12), pace(keep, layer=1.3), 32)
    assert f"12 to {keep} layers promise {12 / keep:.2f}" in alarm

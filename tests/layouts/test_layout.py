"""Layout: its text form reads back, and impossible layouts are refused in a short line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.errors import LayoutError, OptionError
from autoprune.layouts.layout import (
    Layout,
    all_layouts,
    check_keep,
    count_layouts,
    format_keeps,
    parse_keeps,
)
from autoprune.layouts.strategies import STRATEGIES, strategy_layouts


@st.composite
def layouts(draw):
    depth = draw(st.integers(1, 60))
    keep = draw(st.sets(st.integers(0, depth - 1), min_size=1))
    return Layout(depth, tuple(sorted(keep)))


@given(layouts())
def test_layout_parses_its_own_text(layout):
    assert Layout.parse(str(layout)) == layout
    assert Layout.parse(f"  {layout}\n") == layout


@given(layouts())
def test_layout_picture_and_flags_agree(layout):
    assert len(layout.picture) == len(layout.flags) == layout.depth
    assert tuple(int(dot == "●") for dot in layout.picture) == layout.flags
    assert tuple(i for i, flag in enumerate(layout.flags) if flag) == layout.keep


@given(st.one_of(st.text(), st.from_regex(r"[0-9]{1,5}:[0-9,\-]{1,40}", fullmatch=True)))
def test_parse_reads_any_text_or_refuses_it_in_a_short_line(text):
    try:
        layout = Layout.parse(text)
    except LayoutError as error:
        assert "\n" not in str(error) and len(str(error)) < 300
    else:
        assert list(layout.keep) == sorted(set(layout.keep))
        assert layout.keep[0] >= 0 and layout.keep[-1] < layout.depth
        assert Layout.parse(str(layout)) == layout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("12:0-9999", "run from 0 to 11, got 0, 1, 2"),
        ("12:0,12", "run from 0 to 11, got 0, 12"),
        ("12:3,3", "ascend without repeats, got 3, 3"),
        ("12:5-2", "must ascend, got '5-2'"),
        ("0:0", "0-layer"),
        ("12:", "written like 12:0-3,8,11"),
        ("١٢:٠", "written like 12:0-3,8,11"),  # digits, but not ASCII
    ],
)
def test_parse_names_what_is_wrong(text, words):
    with pytest.raises(LayoutError) as caught:
        Layout.parse(text)
    assert words in str(caught.value) and len(str(caught.value)) < 200


@given(st.integers(1, 9), st.data())
def test_all_layouts_has_each_layout_once(depth, data):
    keep = data.draw(st.integers(1, depth))
    found = all_layouts(depth, keep)
    assert len(set(found)) == len(found) == count_layouts(depth, keep)
    assert {len(layout.keep) for layout in found} == {keep}


@pytest.mark.parametrize("keep", [0, 12, 13])
def test_check_keep_refuses_what_removes_nothing(keep):
    with pytest.raises(LayoutError, match="keep must be 1 to 11"):
        check_keep(12, keep)


@given(st.sets(st.integers(1, 30), min_size=1))
def test_parse_keeps_reads_what_format_keeps_writes(keeps):
    assert parse_keeps(format_keeps(sorted(keeps))) == sorted(keeps)


@pytest.mark.parametrize("text", ["", "six", "0", "-1", "4-2", "1-", "1,,2", "٣"])
def test_parse_keeps_refuses_what_is_no_number_of_layers(text):
    with pytest.raises(OptionError, match="--keep"):
        parse_keeps(text)


@given(st.integers(2, 30), st.data())
def test_each_strategy_keeps_the_number_of_layers(depth, data):
    keep = data.draw(st.integers(1, depth - 1))
    for layout in strategy_layouts(list(STRATEGIES), depth, keep).values():
        assert (layout.depth, len(layout.keep)) == (depth, keep)

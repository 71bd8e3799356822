"""Layout: what it writes it reads back, and what it cannot be is refused in a short line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.errors import LayoutError
from autoprune.layouts.layout import Layout, all_layouts, count_layouts


@st.composite
def layouts(draw):
    depth = draw(st.integers(1, 60))
    keep = draw(st.sets(st.integers(0, depth - 1), min_size=1))
    return Layout(depth, tuple(sorted(keep)))


@given(layouts())
def test_a_layout_reads_back_what_it_writes(layout):
    assert Layout.parse(str(layout)) == layout
    assert Layout.parse(f"  {layout}\n") == layout


@given(layouts())
def test_picture_and_flags_tell_the_same(layout):
    assert len(layout.picture) == len(layout.flags) == layout.depth
    assert tuple(int(dot == "●") for dot in layout.picture) == layout.flags
    assert tuple(i for i, flag in enumerate(layout.flags) if flag) == layout.keep


@given(st.one_of(st.text(), st.from_regex(r"[0-9]{1,5}:[0-9,\-]{1,40}", fullmatch=True)))
def test_any_text_is_read_or_refused_in_a_short_line(text):
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
        ("12:3,3", "rise without repeats, got 3, 3"),
        ("12:5-2", "runs upwards, got '5-2'"),
        ("0:0", "0-layer"),
        ("12:", "written like 12:0-3,8,11"),
        ("١٢:٠", "written like 12:0-3,8,11"),  # digits, but not ours
    ],
)
def test_what_cannot_be_is_said_shortly(text, words):
    with pytest.raises(LayoutError) as caught:
        Layout.parse(text)
    assert words in str(caught.value) and len(str(caught.value)) < 200


@given(st.integers(1, 9), st.data())
def test_every_layout_is_there_once(depth, data):
    keep = data.draw(st.integers(1, depth))
    all_of_them = all_layouts(depth, keep)
    assert len(set(all_of_them)) == len(all_of_them) == count_layouts(depth, keep)
    assert {len(layout.keep) for layout in all_of_them} == {keep}

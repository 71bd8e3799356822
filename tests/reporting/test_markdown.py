"""Markdown: any text stays in its place."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from autoprune.reporting.markdown import code_block, escape_markdown, markdown_table, single_line


@given(st.text(st.characters(), max_size=40))
@settings(max_examples=200, deadline=None)
def test_escape_markdown_keeps_any_text_in_its_cell(text):
    cell = escape_markdown(text)
    assert "\n" not in markdown_table(["a"], [[cell]]).split("\n", 2)[2]
    assert re.sub(r"\\[\\`*_\[\]|~#!$]", "", cell).count("|") == 0
    assert "<" not in cell
    assert cell.splitlines() in ([], [cell])


@given(st.text("`a \n", max_size=30))
@settings(max_examples=100, deadline=None)
def test_code_block_may_hold_any_backticks(text):
    fence, *inside, last = code_block(text).split("\n")
    assert set(fence) == {"`"}
    assert len(fence) > 2
    assert fence == last
    assert inside == [single_line(text)]
    assert fence not in inside[0]


def test_escape_markdown_keeps_devanagari_with_joiners():
    assert escape_markdown("श्री क्‍ष आरोग्य") == "श्री क्‍ष आरोग्य"

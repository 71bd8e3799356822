"""What a reader of a page cannot see: texts cut off or over each other, tables to be scrolled."""

_FAULTS = """() => {
  const faults = [];
  const inside = (box, frame) => box.left >= frame.left - 1 && box.right <= frame.right + 1
    && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
  const meet = (one, other) => one.left < other.right - 2 && other.left < one.right - 2
    && one.top < other.bottom - 4 && other.top < one.bottom - 4;
  for (const plot of document.querySelectorAll('.plot')) {
    const frame = plot.getBoundingClientRect(), seen = [];
    for (const text of plot.querySelectorAll('svg text')) {
      const box = text.getBoundingClientRect();
      if (!box.width || !text.textContent.trim()) continue;
      const name = `${plot.id}: ${text.textContent}`;
      if (!inside(box, frame)) faults.push(`cut off: ${name}`);
      for (const [other, label] of seen)
        if (meet(box, other)) faults.push(`over each other: ${name} and ${label}`);
      seen.push([box, text.textContent]);
    }
  }
  for (const box of document.querySelectorAll('.box'))
    if (box.getClientRects().length && box.scrollWidth > box.clientWidth + 1)
      faults.push(`scrolls: ${box.ariaLabel} ${box.scrollWidth} in ${box.clientWidth}`);
  return faults;
}"""


def page_faults(tab):
    """Return the faults of an open page in which all plots are drawn."""
    tab.wait_for_function("document.documentElement.dataset.drawn")
    return tab.evaluate(_FAULTS)

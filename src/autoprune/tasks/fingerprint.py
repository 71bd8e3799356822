"""A fingerprint of rows: the same for the same texts and labels in the same order, else not."""

import hashlib
from collections.abc import Iterable

from autoprune.tasks.task import Rows


def fingerprint(names: Iterable[str], *splits: Rows) -> str:
    """Return the SHA-256, in hex, over the label names and the rows of each split.

    Every text goes in behind its length in bytes, so no two different lists of rows are written
    the same way.
    """
    digest = hashlib.sha256()

    def add(text: str) -> None:
        content = text.encode()
        digest.update(b"%d:" % len(content) + content)

    listed = tuple(names)
    digest.update(b"names %d;" % len(listed))
    for name in listed:
        add(name)
    for rows in splits:
        digest.update(b"rows %d pairs %d;" % (len(rows), rows.pairs is not None))
        for place, (text, label) in enumerate(zip(rows.texts, rows.labels, strict=True)):
            digest.update(b"%d;" % label)
            add(text)
            if rows.pairs is not None:
                add(rows.pairs[place])
    return digest.hexdigest()

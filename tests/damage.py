"""Damage: the bytes of a file changed in one of many ways, by a seed that a failure prints."""

import json
import os

import pytest

SEEDS = [
    seed if seed < 4 else pytest.param(seed, marks=pytest.mark.slow)
    for seed in range(int(os.environ.get("AUTOPRUNE_DAMAGES", "8")))
]
"""The default run has four. With AUTOPRUNE_DAMAGES=200 `make slow` damages each file so often."""


def nested(depth):
    return "[" * depth + "]" * depth


def all_places(value, place=()):
    """Yield the path of each value within a JSON value."""
    yield place
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else [*enumerate(value)][:2]
        for key, item in items:
            yield from all_places(item, (*place, key))


def replaced(value, place, new):
    """Return a JSON value with another one at `place`."""
    if not place:
        return new
    copied = value.copy()
    copied[place[0]] = replaced(value[place[0]], place[1:], new)
    return copied


VALUES = [
    None,
    True,
    0,
    -1,
    7,
    10**30,
    1.5,
    float("nan"),
    "",
    "x",
    "\x1b[31m",
    [],
    {},
    [1],
    {"a": 1},
]


def damage(content, rng):
    """Return the bytes of a file damaged in one of several ways, and which."""
    lines = content.splitlines(keepends=True)
    kind = rng.choice(["cut", "less", "twice", "flip", "value", "value", "gone", "deep", "swap"])
    if kind == "cut":
        return content[: rng.randrange(len(content))], kind
    if kind == "flip":
        at = rng.randrange(len(content))
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :], kind
    first = rng.randrange(len(lines))
    last = min(first + rng.randrange(1, 5), len(lines))
    if kind == "less":
        return b"".join(lines[:first] + lines[last:]), kind
    if kind == "twice":
        return b"".join(lines[:last] + lines[first:]), kind
    if kind == "swap":
        other = rng.randrange(len(lines))
        lines[first], lines[other] = lines[other], lines[first]
        return b"".join(lines), kind
    try:
        whole, before, after = json.loads(lines[first]), lines[:first], lines[first + 1 :]
    except ValueError:  # a file that is one value
        whole, before, after = json.loads(content), [], []
    place = rng.choice([*all_places(whole)])
    if kind == "gone" and place and isinstance(place[-1], str):
        parent = whole
        for key in place[:-1]:
            parent = parent[key]
        del parent[place[-1]]
        new = json.dumps(whole)
    elif kind == "deep":
        depth = rng.choice([50, 500, 900, 5000, 100_000])
        new = json.dumps(replaced(whole, place, "DEEP")).replace('"DEEP"', nested(depth))
    else:
        new = json.dumps(replaced(whole, place, rng.choice(VALUES)))
    return b"".join([*before, new.encode() + b"\n", *after]), kind


# What breaks readers of text: quotes, separators, line ends, marks of other encodings, signs.
_PIECES = [
    *(
        b'"',
        b'""',
        b",",
        b"\t",
        b";",
        b"\n",
        b"\r\n",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xe0\xa4",
    ),
    *("\u200d", "\u202e", "\u2028", "\x1b[31m", "=1+1", "\U0001f600", "ा"),
]


def damage_bytes(content, rng):
    """Return the bytes of any file after one to three changes, and which."""
    kinds = []
    for _ in range(rng.randrange(1, 4)):
        kind = rng.choice(["cut", "insert", "remove", "repeat", "flip", "swap"])
        kinds.append(kind)
        if not content:
            break
        first = rng.randrange(len(content))
        last = min(first + rng.randrange(1, 200), len(content))
        if kind == "cut":
            content = content[:first]
        elif kind == "insert":
            piece = rng.choice(_PIECES)
            piece = piece if isinstance(piece, bytes) else piece.encode()
            content = content[:first] + piece * rng.choice([1, 1, 3]) + content[first:]
        elif kind == "remove":
            content = content[:first] + content[last:]
        elif kind == "repeat":
            content = content[:last] + content[first:]
        elif kind == "flip":
            flipped = bytes([content[first] ^ 1 << rng.randrange(8)])
            content = content[:first] + flipped + content[first + 1 :]
        else:
            content = content[first:last] + content[:first] + content[last:]
    return content, " ".join(kinds)

"""Bad input that is nearly good: valid documents with a few edits, by value where they are JSON and by bytes everywhere.

Random bytes are refused by the first check they meet. What is left after that is found by documents that pass it.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fuzz.targets import Target

ODD_VALUES = (
    *(None, True, False, 0, -1, 10**299, 2**53 + 1, 1e300, float("inf"), float("nan"), 0.1),
    *("", "x", "\ud800", "\0", "a" * 5000, "1e999", "NaN", "0x" + "f" * 298, "\u2028", "12", "*" * 7),
    *([], {}, [[]], [{}], {"": {}}, [None], [1, "1"], {"a.b": [1]}, {"$or": []}),
)
"""What no writer of a document had in mind, and every reader meets one day."""

DEEP = "deep"
"""Stands for a value that is nested beyond what a recursive reader bears, or just not."""

WORDS = (
    *(b"", b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r\n", b"\r\n\r\n", b"\n", b" ", b"\t", b","),
    *(b"{", b"}", b"[", b"]", b":", b'"', b"'", b"\\", b"null", b"1e999", b"-", b"NaN", b"0" * 5000, b"9" * 5000),
    *(b"[" * 1200, b'{"a":' * 1200, b"A" * 5000),
)
"""Pieces for any format; each target adds its own."""

Edit = tuple[str, int, int, Any]


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Inputs for a target: mutated seeds mostly, random bytes at times."""
    words = (*WORDS, *target.words)
    nearly_good = st.builds(mutated, st.sampled_from(target.seeds), st.lists(_edits(words), max_size=4))
    by_value = [seed for seed in target.seeds if _is_json(seed)]
    kinds = [
        nearly_good,
        nearly_good,
        st.binary(max_size=300),
        st.lists(st.sampled_from(words), max_size=8).map(b"".join),
    ]
    if by_value:
        kinds += [
            st.builds(with_values, st.sampled_from(by_value), st.lists(_replacements(), min_size=1, max_size=3))
        ] * 3
    return st.one_of(kinds)


def _edits(words: Sequence[bytes]) -> st.SearchStrategy[Edit]:
    kinds = st.sampled_from(["insert", "replace", "delete", "double", "flip", "cut", "repeat"])
    return st.tuples(kinds, st.integers(0, 4096), st.integers(0, 48), st.sampled_from(words))


def _replacements() -> st.SearchStrategy[tuple[int, Any]]:
    return st.tuples(st.integers(0, 200), st.one_of(st.sampled_from(ODD_VALUES), st.tuples(st.just(DEEP), DEPTHS)))


DEPTHS = st.sampled_from([5, 99, 100, 101, 300, *range(900, 1000, 3), 5000])


def mutated(seed: bytes, edits: Sequence[Edit]) -> bytes:
    """A seed after some edits of its bytes."""
    data = seed
    for kind, place, length, word in edits:
        start = place % (len(data) + 1)
        end = min(len(data), start + length)
        data = data[:start] + _EDITS[kind](data[start:end], word) + data[end:]
    return data


_EDITS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "insert": lambda piece, word: word + piece,
    "replace": lambda _, word: word,
    "delete": lambda _piece, _word: b"",
    "double": lambda piece, _: piece * 2,
    "flip": lambda piece, _: bytes([piece[0] ^ 0x20]) + piece[1:] if piece else b"",
    "cut": lambda piece, word: piece[: len(piece) // 2] + word,
    "repeat": lambda piece, _: piece * 60,
}


def with_values(seed: bytes, replacements: Sequence[tuple[int, Any]]) -> bytes:
    """A JSON seed with some of its values, or keys, replaced."""
    document = json.loads(seed)
    deep = []
    for place, value in replacements:
        places = list(_places(document))
        if not places:
            break
        container, key = places[place % len(places)]
        if isinstance(value, tuple):
            deep.append(value[1])
            value = f"{DEEP}{len(deep) - 1}"  # noqa: PLW2901 - nested only in the text: the writer is recursive
        if isinstance(container, dict) and place % 7 == 0:
            container[f"{key}'"] = container.pop(key)
        else:
            container[key] = copy.deepcopy(value)  # the next one may be put inside of it
    text = json.dumps(document)
    for n, depth in enumerate(deep):
        text = text.replace(f'"{DEEP}{n}"', "[" * depth + "]" * depth)
    return text.encode()


def _places(document: Any) -> list[tuple[Any, Any]]:
    found = []
    open_ = [document]
    while open_:
        container = open_.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], dict | list):
                open_.append(container[key])
    return found


def _is_json(seed: bytes) -> bool:
    try:
        return isinstance(json.loads(seed), dict | list)
    except ValueError:
        return False

"""Mutants: valid bytes with bits flipped, parts cut, doubled or spliced, and numbers and texts at their extremes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Mutate = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

_NUMBERS = (
    *(b"0", b"-0", b"-1", b"1", b"1.0", b"1.5", b"1e3", b"1e999", b"-1e-999", b"NaN", b"Infinity", b"0x10", b"01"),
    *(str(2**bits + more).encode() for bits in (31, 32, 53, 62, 63, 64, 128) for more in (-1, 0, 1)),
    *(str(-(2**bits) - more).encode() for bits in (31, 63, 64) for more in (0, 1)),
    *(b"1000000000000", b"1000000000001", b"9" * 400, b"1e308", b"0." + b"1" * 300),
)
_TOKENS = (
    *(b"null", b"true", b"[]", b"{}", b'""', b"[[", b"{", b"}", b"]", b",", b":", b'"', b"\\", b"\x00", b"\xff"),
    *(
        b'"\\ud800"',
        b'"\\u0000"',
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x90\x8e",
        b"\r\n",
        b"\xe2\x80\xa8",
        b"\xef\xbb\xbf",
    ),
    *(b"[" * 2000, b'{"a":' * 2000, b'"' + b"x" * 5000 + b'"', b'"events":', b'"type":"click",'),
)
_PACKED_NUMBERS = tuple(
    (value % 256**width).to_bytes(width, "little")
    for width in (1, 2, 4, 8)
    for value in (0, 1, -1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 127, 128, 255)
)
_DIGITS = re.compile(rb"-?\d+(?:\.\d+)?")


def flip(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """One to four bits the other way."""
    changed = bytearray(data)
    for _each in range(rng.choice([1, 1, 1, 2, 4])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def byte(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """One byte of any value."""
    changed = bytearray(data)
    changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Less of it: its beginning, its end, or all but a part."""
    low, high = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return rng.choice([data[:low], data[low:], data[:low] + data[high:]])


def double(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """A part of it twice, or more often."""
    low, high = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[:high] + data[low:high] * rng.choice([1, 1, 2, 20]) + data[high:]


def splice(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The beginning of one and the end of another."""
    other = rng.choice(others)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def number(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Another number in the place of one that is written in digits."""
    found = list(_DIGITS.finditer(data))
    if not found:
        return token(rng, data, _)
    place = rng.choice(found)
    return data[: place.start()] + rng.choice(_NUMBERS) + data[place.end() :]


def binary_number(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """An extreme of 1, 2, 4 or 8 bytes over what was there."""
    extreme = rng.choice(_PACKED_NUMBERS)
    at = rng.randrange(max(1, len(data) - len(extreme) + 1))
    return data[:at] + extreme + data[at + len(extreme) :]


def token(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Something put in between."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_TOKENS) + data[at:]


MUTATIONS: tuple[Mutate, ...] = (flip, byte, cut, double, splice, number, number, binary_number, token)
_LARGEST = 65_536


def mutants(valid: Sequence[bytes], *, seed: int, count: int) -> Iterator[bytes]:
    """So many mutants of valid bodies, the same for the same seed: each by one to three mutations."""
    rng = random.Random(f"mutants {seed}")
    for _ in range(count):
        data = rng.choice(valid)
        for _each in range(rng.choice([1, 1, 1, 2, 3])):
            if not data:
                break
            data = rng.choice(MUTATIONS)(rng, data, valid)[:_LARGEST]
        yield data


_WRONG: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 1.5, 2**31, 2**53, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 2**64 - 1, 10**12, 10**12 + 1),
    *(
        1e15,
        1e308,
        "",
        "x",
        "click",
        "p-1",
        "p-1\n",
        "\u0000",
        "馬",
        "x" * 33,
        "x" * 129,
        "x" * 5000,
        [],
        {},
        [None],
        b"",
    ),
    *(b"\x00", b"\xff" * 7, b"\xff" * 8, b"\x00" * 8, ["click"] * 65, ["p-1", 1], {"a": {"a": {}}}),
)


def changed(rng: random.Random, document: Any) -> Any:
    """A document (of dicts and lists) with one value replaced, dropped, or put where it does not belong."""
    if isinstance(document, dict) and document and rng.random() < 0.8:
        name = rng.choice(sorted(document, key=str))
        rest = {key: value for key, value in document.items() if key != name}
        fate = rng.random()
        if fate < 0.1:
            return rest
        if fate < 0.2:
            return {**rest, rng.choice(["more", "", "type", "events", "x" * 300]): document[name]}
        return {**rest, name: changed(rng, document[name])}
    if isinstance(document, list) and document and rng.random() < 0.7:
        at = rng.randrange(len(document))
        return [*document[:at], changed(rng, document[at]), *document[at + 1 :]]
    if isinstance(document, bytes) and document and rng.random() < 0.7:
        return rng.choice(MUTATIONS)(rng, document, [document])
    return rng.choice(_WRONG)

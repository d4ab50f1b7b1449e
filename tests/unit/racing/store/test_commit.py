"""A commit record is believed whole or refused, never followed in part."""

from __future__ import annotations

import msgspec
import pytest

from racing.errors import CorruptRecordError, NewerFormatError
from racing.formats import FORMAT
from racing.store.commit import NO_COMMIT, decode_commit, encode_commit

RECORD = msgspec.structs.replace(NO_COMMIT, epoch=7, position="1800000043205-0", sets_position="1800000043205-0")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b'{"epoch":"no',
        encode_commit(RECORD)[:-1],
        encode_commit(RECORD).replace(b"43205-0", b"432r5-0", 1),
        encode_commit(RECORD).replace(b'"sets_position":"1800000043205-0"', b'"sets_position":"1800000043205,0"'),
        encode_commit(RECORD).replace(b'"1800000043205-0"', b'""', 1),
        encode_commit(RECORD).replace(b'"epoch"', b'"\xffpoch"'),
    ],
)
def test_a_damaged_record_is_told_as_one(raw: bytes) -> None:
    """Once a bit of its position ended the take-over in an error that nobody had foreseen."""
    with pytest.raises(CorruptRecordError, match="commit record"):
        decode_commit(raw)


def test_a_newer_one_is_refused_as_such() -> None:
    with pytest.raises(NewerFormatError):
        decode_commit(encode_commit(msgspec.structs.replace(RECORD, format=FORMAT + 1)))


def test_a_sound_one_comes_back() -> None:
    assert decode_commit(encode_commit(RECORD)) == RECORD

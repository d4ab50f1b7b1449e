"""The version of the form in which a venue is kept, and the refusal of what a newer Saima has written.

One number for all that the fold reads: event batches, decisions, checkpoints and the commit record. It grows when an
older Saima would misread what a newer one writes, be it bytes, fields or their meaning, or a new type of decision. What
is new and may be passed over without harm does not raise it. A release reads a form before any release writes it.
"""

from __future__ import annotations

import msgspec

from racing.errors import NewerFormatError

FORMAT = 2
"""What this Saima writes, and the newest that it reads. Also written out in three scripts of Lua.

2: decisions of the desk, and checkpoints that remember them.
"""


class _Formatted(msgspec.Struct):
    """What every JSON document says that is kept, also one of a type that is not known here."""

    format: int = 1


_decode = msgspec.json.Decoder(_Formatted).decode


def format_of(document: bytes) -> int:
    """The format that a JSON document names, 1 where it names none. Raises msgspec.MsgspecError on none such."""
    return _decode(document).format


def refuse_newer(what: str, found: int) -> None:
    """Raise NewerFormatError, which names both versions, where ``found`` is newer than this Saima."""
    if found > FORMAT:
        raise NewerFormatError(
            f"{what} has format {found}, this Saima reads up to {FORMAT}: a newer one wrote it, upgrade this process"
        )

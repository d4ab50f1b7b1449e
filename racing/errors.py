"""The one family of errors that Saima raises for its callers."""

from __future__ import annotations

from collections.abc import Sequence


class RacingError(Exception):
    """Base of every error that a caller of Saima can act on."""


class DocumentError(RacingError):
    """A document that cannot be taken; says the field, the value and what would be right.

    fields: (field, what would be right, the value as text or None) of each wrong field.
    """

    def __init__(self, text: str, fields: Sequence[tuple[str, str, str | None]] = ()) -> None:
        super().__init__(text)
        self.fields = tuple(fields)


class RuleError(DocumentError):
    """A rule document that cannot be scored."""


class OrderError(DocumentError):
    """An order of the operators' desk that cannot be carried out by anyone."""


class CorruptRecordError(RacingError):
    """Packed bytes (entry or checkpoint) that do not carry what their checksum promises."""


class RecordedFileError(RacingError):
    """An event file that cannot be read at all."""


class BoundError(RacingError):
    """More was asked for than one question may cost: the text says what would fit."""


class GoneError(RacingError):
    """What is asked for is no longer kept: the text names the earliest moment that is."""


class StoreError(RacingError):
    """Redis answered, but not in a way that lets us go on."""


class StoreUnavailableError(StoreError):
    """Redis did not answer in time. Retryable: nothing is known about the last write."""


class NewerFormatError(StoreError):
    """Something that a newer Saima has written: it must be neither guessed at nor passed over. Names both versions."""


class UnrestorableError(StoreError):
    """What Redis and segment files hold of a venue is not enough to go on from; says what is missing."""


class NotDurableError(StoreUnavailableError):
    """Perhaps written, but the server has not proved to keep it as safe mode promises. Retryable under the same key."""


class OverloadedError(StoreUnavailableError):
    """More came than is worked off; nothing was written. Retryable, a little later."""


class StaleNumbersError(StoreError):
    """Runner numbers of enrolments that a failover has lost: nothing was appended under them, read them anew."""


class FencedError(StoreError):
    """Another owner has committed: what this owner remembers is void, it must restore."""


class ConflictError(RacingError):
    """What was to be made exists already, or has moved on since it was read."""


class NotFoundError(RacingError):
    """The named thing does not exist."""


class IdempotencyMismatchError(RacingError):
    """An Idempotency-Key was used again with another body."""

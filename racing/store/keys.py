"""Every Redis key of Saima, its type and what it holds; the only place where names are made.

All keys of a venue carry its hash tag, so they live in one cluster slot; deployment-wide ones carry {saima}.
"""

from __future__ import annotations

from dataclasses import dataclass

VENUES = "saima:{saima}:venues"
"""hash: venue -> JSON of the venue's own data."""

SECRET = "saima:{saima}:secret"  # noqa: S105  # the name of a key, not a secret
"""string: 32 random bytes that key the hashes of user ids."""

SCORERS = "saima:{saima}:scorers"
"""hash: name of a scorer process -> JSON of its last report."""

API_KEYS = "saima:{saima}:api_keys"
"""hash: SHA-256 of an API key (hex) -> JSON of what it grants. The keys themselves are nowhere."""

API_KEYS_VERSION = "saima:{saima}:api_keys_version"
"""string: grows with every change of the hash of keys; processes look at it every second."""

API_KEYS_USED = "saima:{saima}:api_keys_used"
"""hash: id of an API key -> when it was last used, ms."""

AUDIT = "saima:{saima}:audit"
"""stream: who made, changed or revoked a key or a venue's access; about the last 10,000."""
AUDIT_MAX = 10_000

ORDERS_LAST = "@last"
"""Field of a venue's hash of orders that is none: the log entry that changed them last."""


@dataclass(frozen=True, slots=True)
class VenueKeys:
    """The keys of one venue."""

    venue: str

    @property
    def prefix(self) -> str:
        """What every key of the venue begins with, and no other."""
        return f"saima:{{{self.venue}}}:"

    def _key(self, name: str) -> str:
        return f"{self.prefix}{name}"

    @property
    def log(self) -> str:
        """stream: events (packed), decisions (JSON) and ticks, in the order that counts."""
        return self._key("log")

    @property
    def tail(self) -> str:
        """string: position of the log's newest entry that is no mere tick; each such entry names the one before it."""
        return self._key("tail")

    @property
    def commit(self) -> str:
        """string: JSON of the last commit; watched by every commit."""
        return self._key("commit")

    @property
    def checkpoints(self) -> str:
        """hash: record name -> packed checkpoint."""
        return self._key("checkpoints")

    @property
    def frames(self) -> str:
        """stream: published frames; ids are epoch-frame, field ``frame`` is JSON."""
        return self._key("frames")

    @property
    def standings(self) -> str:
        """sorted set: zero-padded runner number -> minus its score; ZRANK + 1 is the standing."""
        return self._key("standings")

    def sums(self, what: str, measure: str) -> str:
        """sorted set: runner -> window sum, delta or total of a measure such as ``click:count``."""
        return self._key(f"{what}:{measure}")

    @property
    def sets_run(self) -> str:
        """string: run id of the server in which the sorted sets were last found right."""
        return self._key("sets_run")

    @property
    def products(self) -> str:
        """hash: product -> runner number."""
        return self._key("products")

    @property
    def runners(self) -> str:
        """hash: runner number -> JSON of the runner."""
        return self._key("runners")

    @property
    def roll(self) -> str:
        """string: 16 hex characters for each runner number, a digest of all products enrolled up to it."""
        return self._key("roll")

    @property
    def merchants(self) -> str:
        """sorted set: merchant:zero-padded runner number, all of score 0, so that a merchant's runners are a range.

        As many members as there are runners, or it is to be made anew from their data.
        """
        return self._key("merchants")

    @property
    def held(self) -> str:
        """string: JSON of the venue's own sums, rule version and formula by which scores are made now. Output only."""
        return self._key("held")

    @property
    def entry(self) -> str:
        """hash: ``rule`` -> JSON of the conditions that products which apply are held against."""
        return self._key("entry")

    @property
    def applications(self) -> str:
        """hash: id -> JSON of an application, without its products."""
        return self._key("applications")

    @property
    def applied(self) -> str:
        """hash: id of an application -> JSON of its products."""
        return self._key("applied")

    @property
    def watched(self) -> str:
        """sorted set: merchant:zero-padded runner number -> until when, ms, its standings are kept wherever it is."""
        return self._key("watched")

    @property
    def rules(self) -> str:
        """hash: version -> JSON of the rule version; ``current`` -> put last; ``highest`` -> given, to phases too."""
        return self._key("rules")

    @property
    def orders(self) -> str:
        """hash: id of an order of the desk -> JSON of it; ``@last`` -> the log entry that changed orders last."""
        return self._key("orders")

    @property
    def plans(self) -> str:
        """hash: id of a plan -> JSON of it: changes prepared beforehand."""
        return self._key("plans")

    @property
    def decisions(self) -> str:
        """stream: every decision under the id of its log entry: who, what, from what, to what; never trimmed."""
        return self._key("decisions")

    @property
    def lease(self) -> str:
        """string with expiry: the scorer process that runs the venue now."""
        return self._key("lease")

    @property
    def answers(self) -> str:
        """hash: name of a sender's Idempotency-Key -> digest, entry and answer (racing/store/answers.py)."""
        return self._key("answers")

    @property
    def answers_before(self) -> str:
        """hash: what the hash of answers held until its owner put it aside; goes when the next one is."""
        return self._key("answers_before")


def purged(venue: str, frame: str) -> str:
    """string with expiry: that a process has told caches of what left the venue's board with a frame."""
    return f"{VenueKeys(venue).prefix}purged:{frame}"


def ticket(digest: str) -> str:
    """string with expiry: what a one-use ticket opens, by the SHA-256 of the ticket."""
    return f"saima:{{saima}}:ticket:{digest}"


MEMBER = "%010d"
"""A runner as a sorted-set member: zero-padded, so that equal scores sort by enrolment."""


def member(runner: int) -> str:
    """A runner as a sorted-set member."""
    return MEMBER % runner


def merchant_range(merchant: str) -> tuple[str, str]:
    """The bounds, for ZRANGEBYLEX, of a merchant's members in the sorted set of merchants: ; comes after :."""
    return f"[{merchant}:", f"({merchant};"

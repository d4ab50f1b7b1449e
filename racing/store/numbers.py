"""Runner numbers as an API process keeps them: all of one table of enrolments, with the mark that says which.

A failover can lose the last enrolments; then the next product gets a number that a process may still hold for another
one. So the server keeps a running digest of all products enrolled, by number; who appends under numbers names the
digest that they belong to, and nothing is appended under another one.
"""

from __future__ import annotations

from typing import NamedTuple


class Mark(NamedTuple):
    """Names a table of enrolments: the digest of all products from number 0 up to this one."""

    number: int
    digest: bytes


UNMARKED = Mark(-1, b"")
"""No table in particular: nothing is checked."""

DIGEST_SIZE = 16
"""Hex characters kept of each number's digest: 64 bits."""


class Numbers(dict[str, int]):
    """Runner numbers by product, for some of the products of one table."""

    def __init__(self, found: dict[str, int] | None = None, mark: Mark = UNMARKED) -> None:
        super().__init__(found or {})
        self.mark = mark

    def learn(self, others: Numbers, since: Mark) -> bool:
        """Take over others, which were read of a table that held all of since's; False if these are not of that table.

        Nothing is taken over then: something else was learned meanwhile, so that they must be read again.
        """
        if self.mark not in {since, others.mark}:
            return False
        self.update(others)
        self.mark = others.mark
        return True

"""Exposure tokens: what they say, which of them are taken back, and how often."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.tokens import (
    RENEWED_EVERY_S,
    TOKEN_SIZE,
    Exposures,
    Shown,
    TokenRefusedError,
    TokenUses,
    VenueTokens,
    issued_s,
)

SECRET = bytes(range(32))
EPOCH, FRAME, ISSUED_S = 1_763_740_800_000, 48_210, 1_763_740_860
LIVES_S = 3_600
LETTERS = string.ascii_letters + string.digits + "-_"
TOKENS = VenueTokens(SECRET, "hall-1")


def token(slot: int = 3, runner: int = 17, *, of: VenueTokens = TOKENS) -> str:
    (made,) = of.made(EPOCH, FRAME, ISSUED_S, [(slot, runner)])
    return made


def code_of(text: str, *, now_s: float = ISSUED_S + 5, of: VenueTokens = TOKENS) -> str:
    """Why a token is not taken."""
    with pytest.raises(TokenRefusedError) as refused:
        of.read(text, now_s=now_s, lives_s=LIVES_S)
    return refused.value.code


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("text", ["", "x", "赛马" * 20, "A" * 40, "A" * 41, "=" * 40, " " * 40, "\0" * 40])
def test_what_is_no_token_is_forged(text: str) -> None:
    assert code_of(text) == "token_forged"


@given(st.integers(0, TOKEN_SIZE - 1), st.sampled_from(LETTERS))
def test_a_token_with_any_other_letter_is_forged(place: int, letter: str) -> None:
    good = token()
    changed = good[:place] + letter + good[place + 1 :]
    if changed != good:
        assert code_of(changed) == "token_forged"


def test_a_token_is_written_in_one_way() -> None:
    """Else each way could be used up by itself."""
    written = [token(slot=slot) for slot in range(1, 60)]
    other = next(each for each in written if "-" in each or "_" in each)
    assert code_of(other.translate(str.maketrans("-_", "+/"))) == "token_forged"
    for text in (f"{token()}=", f"{token()}\n", f" {token()}"):
        assert code_of(text) == "token_forged"


def test_a_token_of_another_venue_or_deployment_is_forged() -> None:
    for others in (VenueTokens(SECRET, "hall-2"), VenueTokens(bytes(32), "hall-1")):
        assert code_of(token(of=others)) == "token_forged"


def test_a_token_ends_when_its_time_is_over() -> None:
    assert TOKENS.read(token(), now_s=ISSUED_S + LIVES_S, lives_s=LIVES_S).slot == 3
    assert code_of(token(), now_s=ISSUED_S + LIVES_S + 1) == "token_expired"


def test_a_token_is_used_so_often_for_each_kind_and_no_more() -> None:
    uses = TokenUses(most=3)
    for kind in ("click", "impression"):
        for _ in range(3):
            uses.take(token(), kind)
        with pytest.raises(TokenRefusedError, match="used 3 times") as refused:
            uses.take(token(), kind)
        assert refused.value.code == "token_overused"
    uses.take(token(slot=4), "click")


def test_uses_are_counted_on_when_old_tokens_are_forgotten() -> None:
    """A token that is in use is known across one turn of generations; memory is bounded by two."""
    uses = TokenUses(most=2, kept=10)
    uses.take(token(slot=1), "click")
    for slot in range(2, 12):
        uses.take(token(slot=slot), "click")
        assert len(uses) <= 2 * 10 + 1
    uses.take(token(slot=1), "click")
    with pytest.raises(TokenRefusedError):
        uses.take(token(slot=1), "click")


def test_a_token_is_good_for_its_own_product_alone() -> None:
    exposures = Exposures(TOKENS, TokenUses(9), ISSUED_S, LIVES_S)
    with pytest.raises(TokenRefusedError, match="another product") as refused:
        exposures.shown(token(runner=17), "click", 18)
    assert refused.value.code == "token_mismatch"


def test_an_event_without_a_token_is_refused_only_where_one_is_needed() -> None:
    exposures = Exposures(TOKENS, TokenUses(9), ISSUED_S, LIVES_S)
    assert exposures.shown(None, "click", 17) is None
    with pytest.raises(TokenRefusedError) as refused:
        exposures._replace(page_kinds=frozenset()).shown(None, "click", 17)
    assert refused.value.code == "token_missing"


# ------------------------------------------------------------------------------------------------ good ones


@given(
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**40 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(1, 10_000),
    st.integers(0, 2**32 - 1),
)
def test_a_token_says_what_it_was_made_of(epoch: int, frame: int, issued: int, slot: int, runner: int) -> None:
    (made,) = TOKENS.made(epoch, frame, issued, [(slot, runner)])
    assert len(made) == TOKEN_SIZE
    assert set(made) <= set(LETTERS)
    assert TOKENS.read(made, now_s=issued, lives_s=1) == Shown(epoch, frame, slot, runner, issued)


def test_tokens_of_one_answer_share_what_compresses() -> None:
    made = TOKENS.made(EPOCH, FRAME, ISSUED_S, [(slot, slot * 7) for slot in range(1, 51)])
    assert len({each[:21] for each in made}) == 1
    assert len(set(made)) == 50


def test_every_process_issues_the_same_tokens() -> None:
    """The secret is the deployment's, and the time of issue steps once a minute."""
    minute_ms = 1000 * RENEWED_EVERY_S
    now_ms = 1_763_740_800_000 // minute_ms * minute_ms
    assert issued_s(5_000, now_ms) == issued_s(5_000, now_ms + minute_ms - 1) == now_ms // 1000
    assert issued_s(now_ms + 7_900, now_ms + 9_000) == now_ms // 1000 + 7
    assert token() == token(of=VenueTokens(SECRET, "hall-1"))

"""Each signal against values worked by hand, and the properties that make it fit for a race."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing import signals
from racing.model import FloatArray
from tests.laws.logs import law

_SUMS = st.floats(-1e15, 1e15)
_COUNTS = st.floats(0, 1e9)
_PRIORS = st.floats(1e-3, 1e6)
_TIDES = st.floats(0, 1e3)


def _array(*values: float) -> FloatArray:
    return np.array(values, np.float64)


# each as a function of window sum, base sum, prior and tide alone
_EVERY: dict[str, Callable[[FloatArray, FloatArray, float, float], FloatArray]] = {
    "level": lambda c, p, k, g: signals.level(c),
    "root": lambda c, p, k, g: signals.root(c),
    "uplift": lambda c, p, k, g: signals.uplift(c, p, g),
    "growth": signals.growth,
    "surge": signals.surge,
    "rate": lambda c, p, k, g: signals.rate(c, p, g, k),
    "rate_uplift": lambda c, p, k, g: signals.rate_uplift(c, p, p, c, g, k),
}
_each_signal = pytest.mark.parametrize("signal", _EVERY.values(), ids=_EVERY)


@_each_signal
@law(100)
@given(_SUMS, _SUMS, _PRIORS, _TIDES)
def test_any_sums_give_a_finite_number(
    signal: Callable[..., FloatArray], c: float, p: float, k: float, g: float
) -> None:
    """Also sums below 0, where refunds exceed payments."""
    assert np.isfinite(signal(_array(c), _array(p), k, g)).all()


@_each_signal
def test_no_events_are_worth_nothing(signal: Callable[..., FloatArray]) -> None:
    """A runner without evidence scores 0 whatever the tide and the venue's mean."""
    assert [0.0] == signal(_array(0), _array(0), 10.0, 2.5).tolist()


@_each_signal
@law(100)
@given(st.lists(st.tuples(_SUMS, _SUMS), min_size=1, max_size=9), _PRIORS, _TIDES)
def test_a_runners_bits_do_not_depend_on_the_others(
    signal: Callable[..., FloatArray], sums: list[tuple[float, float]], k: float, g: float
) -> None:
    c, p = (_array(*column) for column in zip(*sums, strict=True))
    alone = [signal(c[i : i + 1], p[i : i + 1], k, g).tobytes() for i in range(len(sums))]

    assert b"".join(alone) == signal(c, p, k, g).tobytes()


@_each_signal
def test_inputs_are_not_written(signal: Callable[..., FloatArray]) -> None:
    c, p = _array(3, -2), _array(1, 8)
    c.flags.writeable = p.flags.writeable = False

    assert 2 == len(signal(c, p, 10.0, 0.5))


def test_level_is_the_window_sum() -> None:
    assert [7.0, -2.0] == signals.level(_array(7, -2)).tolist()


def test_root_is_the_level_in_units_of_its_own_noise() -> None:
    """Below 0 there is nothing to take a root of."""
    assert [3.0, 0.0, 0.0] == signals.root(_array(9, 0, -4)).tolist()


def test_uplift_is_the_difference_to_the_base() -> None:
    assert [40.0, -2.0] == signals.uplift(_array(140, 1), _array(100, 3)).tolist()


def test_uplift_under_a_tide_compares_with_what_the_venue_did() -> None:
    """Twice the base is what everyone had, so 140 after 100 is a fall by 60."""
    assert [-60.0] == signals.uplift(_array(140), _array(100), 2.0).tolist()


def test_growth_lets_a_small_shop_win() -> None:
    """From 10 to 30 is worth more than from 1000 to 1100: 20/20 against 100/1010."""
    small, large = signals.growth(_array(30, 1100), _array(10, 1000), 10.0).tolist()

    assert (1.0, 100 / 1010) == (small, large)


def test_growth_under_a_tide_is_relative_to_the_raised_base() -> None:
    assert [(30 - 20) / (20 + 10)] == signals.growth(_array(30), _array(10), 10.0, 2.0).tolist()


def test_growth_of_a_base_below_zero_divides_by_the_prior_alone() -> None:
    assert [(5 + 20) / 10] == signals.growth(_array(5), _array(-20), 10.0).tolist()


def test_surge_knows_a_few_orders_from_a_hundred() -> None:
    """1 -> 3 orders hardly counts, 100 -> 140 does."""
    few, many = signals.surge(_array(3, 140), _array(1, 100), 10.0).tolist()

    assert (2 / np.sqrt(14), 40 / np.sqrt(250)) == (few, many)
    assert few < 0.6
    assert many > 2.5


def test_surge_under_a_tide_has_the_noise_of_the_raised_base() -> None:
    expected = (140 - 200) / np.sqrt(140 + 2 * 2 * 100 + 10)

    assert [expected] == signals.surge(_array(140), _array(100), 10.0, 2.0).tolist()


@law(100)
@given(_COUNTS, _COUNTS, _PRIORS)
def test_a_fall_is_worth_what_the_rise_was_below_zero(c: float, p: float, k: float) -> None:
    """Uplift and surge are odd: there and back again is no gain."""
    there, back = _array(c), _array(p)

    assert signals.uplift(there, back).tolist() == (-signals.uplift(back, there)).tolist()
    assert np.allclose(signals.surge(there, back, k), -signals.surge(back, there, k), rtol=1e-12)


@law(100)
@given(_COUNTS, _COUNTS, _PRIORS)
def test_a_tide_of_one_leaves_the_base_alone(c: float, p: float, k: float) -> None:
    now, before = _array(c), _array(p)

    assert signals.uplift(now, before).tolist() == signals.uplift(now, before, 1.0).tolist()
    assert signals.growth(now, before, k).tolist() == signals.growth(now, before, k, 1.0).tolist()
    assert signals.surge(now, before, k).tolist() == signals.surge(now, before, k, 1.0).tolist()


def test_rate_is_how_far_a_ratio_lies_above_the_mean() -> None:
    """30 orders of 100 clicks where one in ten is usual: 20 more than expected, over 100 + 50."""
    assert [20 / 150] == signals.rate(_array(30), _array(100), 0.1, 50.0).tolist()


@law(100)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 10), st.floats(0.5, 1e4))
def test_rate_is_the_posterior_mean_less_the_prior_mean(n: int, d: int, mu: float, k: float) -> None:
    expected = (n + mu * k) / (d + k) - mu

    assert np.isclose(expected, signals.rate(_array(n), _array(d), mu, k)[0], rtol=1e-9, atol=1e-9)


def test_rate_of_little_evidence_is_small() -> None:
    """One order of one click is no proof of anything."""
    one, many = signals.rate(_array(1, 100), _array(1, 100), 0.1, 50.0).tolist()

    assert one < 0.02
    assert many > 0.5


def test_rate_uplift_is_the_rate_now_less_the_rate_before() -> None:
    now, before = signals.rate(_array(30, 10), _array(100, 100), 0.1, 50.0).tolist()
    found = signals.rate_uplift(_array(30), _array(100), _array(10), _array(100), 0.1, 50.0)

    assert [now - before] == found.tolist()

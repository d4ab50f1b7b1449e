"""One pure function per signal: numbers made of window and base sums.

Everywhere c is the window sum, p the base-window sum (float64, one element per runner), k > 0 the
prior strength in events, g the venue's tide (1 leaves p alone), mu a venue-wide mean ratio. Only
+ - * / sqrt element by element, so a runner's bits never depend on who is scored beside it. Inputs
are not written. Sums may be negative where refunds exceed payments: roots take max(sum, 0).
"""

from __future__ import annotations

import numpy as np

from racing.model import FloatArray


def level(c: FloatArray) -> FloatArray:
    """The window sum itself: the plain hot list. Unit: the metric's."""
    return c


def root(c: FloatArray) -> FloatArray:
    """sqrt(c): level in units of its own noise, since a Poisson count c has deviation sqrt(c)."""
    return np.sqrt(np.maximum(c, 0.0))


def uplift(c: FloatArray, p: FloatArray, g: float = 1.0) -> FloatArray:
    """c - g*p: whose numbers rise most. Unit: the metric's. The seed rule of the race."""
    return c - g * p


def growth(c: FloatArray, p: FloatArray, k: float, g: float = 1.0) -> FloatArray:
    """(c - g*p) / (g*p + k): relative rise, so small shops can win; k events of doubt. No unit.

    Source: additive smoothing of a ratio (Laplace); k as in Metarank's rate prior.
    """
    before = g * p
    return (c - before) / (np.maximum(before, 0.0) + k)


def surge(c: FloatArray, p: FloatArray, k: float, g: float = 1.0) -> FloatArray:
    """(c - g*p) / sqrt(c + g*g*p + k): the rise in units of its own noise. No unit.

    The difference of two Poisson counts c and p scaled by g has variance c + g*g*p; k keeps thin
    evidence small: 1 -> 3 orders hardly counts, 100 -> 140 does. Source: the two-sample Poisson
    score statistic; the Gnip trend-detection paper compares rises with Poisson noise likewise.
    """
    return (c - g * p) / np.sqrt(np.maximum(c + g * g * p, 0.0) + k)


def rate(n: FloatArray, d: FloatArray, mu: float, k: float) -> FloatArray:
    """(n - mu*d) / (d + k): how far n/d lies above the venue's mean mu, shrunk; 0 without evidence.

    Equal to the Beta-posterior mean (n + mu*k) / (d + k) minus mu. No unit.
    """
    return (n - mu * d) / (np.maximum(d, 0.0) + k)


def rate_uplift(
    n: FloatArray, d: FloatArray, n_before: FloatArray, d_before: FloatArray, mu: float, k: float
) -> FloatArray:
    """rate now minus rate before, both with the same mu: conversion that improves. No unit."""
    return rate(n, d, mu, k) - rate(n_before, d_before, mu, k)

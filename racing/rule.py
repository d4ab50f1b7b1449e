"""The rule document (赛马规则): what is counted, how it is weighed, what the board looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from racing.board_settings import BoardSettings
from racing.documents import NAME_PATTERN, Strict, Wrong, in_words, shown, wrong, wrong_field
from racing.errors import RuleError
from racing.events import ALIASES
from racing.model import EVENT_KINDS, ID_PATTERN
from racing.stated import STATED_KINDS

BUCKETS_MAX = 720
"""Buckets to a window: bounds the work of a bucket boundary."""
PRIOR_DEFAULT = 10.0
"""Prior strength in events where a term names none; the default of Metarank's rate, typical 5 to 10."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
SegmentName = Annotated[str, Field(pattern=ID_PATTERN)]
SEGMENTS_MAX = 8
"""Declared segments: each costs an event of it as much again in the fold, and a board in every frame."""
Weight = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Prior = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]

MetricSignal = Literal["level", "root", "total", "uplift", "growth", "surge"]
RatioSignal = Literal["rate", "rate_uplift"]
WITH_PRIOR = {"growth", "surge", "rate", "rate_uplift"}
WITH_TIDE = {"uplift", "growth", "surge"}


class Metric(Strict):
    """What is summed: events of one kind, or their amount in minor units."""

    event: Name = Field(
        description="event kind; one of the built-in kinds, or one that this rule declares by naming it"
    )
    sum: Literal["count", "amount"] = "count"

    @field_validator("event")
    @classmethod
    def _canonical(cls, event: str) -> str:
        if event in ALIASES and event not in EVENT_KINDS:
            raise ValueError(f"{event!r} is another vocabulary's name: write {ALIASES[event]!r}")
        if event in STATED_KINDS:
            raise ValueError(f"events of kind {event!r} state a value, and are not counted")
        return event


class MetricTerm(Strict):
    """weight * signal of one metric."""

    metric: Name
    signal: MetricSignal
    weight: Weight
    prior: Prior | None = Field(None, description="k, in events; only for growth and surge; default 10")
    tide: bool = Field(default=False, description="compare with g*p: the venue's own rise or fall is left out")

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.prior is not None and self.signal not in WITH_PRIOR:
            raise wrong(
                "has no effect on {signal}: leave it out, or use growth or surge", at=("prior",), signal=self.signal
            )
        if self.tide and self.signal not in WITH_TIDE:
            raise wrong(
                "has no effect on {signal}: leave it out, or use uplift, growth or surge",
                at=("tide",),
                signal=self.signal,
            )
        return self

    @property
    def name(self) -> str:
        """The term as shown: ``metric signal``."""
        return f"{self.metric} {self.signal}"


class RatioTerm(Strict):
    """weight * signal of a ratio of two metrics, for example orders per click."""

    ratio: list[Name] = Field(min_length=2, max_length=2, description="[numerator metric, denominator metric]")
    signal: RatioSignal
    weight: Weight
    prior: Prior | None = Field(None, description="k, in units of the denominator; default 10")

    @property
    def name(self) -> str:
        """The term as shown: ``numerator/denominator signal``."""
        return f"{'/'.join(self.ratio)} {self.signal}"


class AttributeTerm(Strict):
    """weight * a number given at enrolment, 0 where it was not given."""

    attribute: Annotated[str, Field(pattern=ID_PATTERN)]
    weight: Weight

    @property
    def name(self) -> str:
        """The term as shown: the attribute's name."""
        return self.attribute


def _kind_of_term(value: object) -> str:
    named = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return next((kind for kind in ("ratio", "attribute") if kind in named), "metric")


Term = Annotated[
    Annotated[MetricTerm, Tag("metric")]
    | Annotated[RatioTerm, Tag("ratio")]
    | Annotated[AttributeTerm, Tag("attribute")],
    Discriminator(_kind_of_term),
]


class SegmentSettings(Strict):
    """Segments of shoppers that have boards of their own (千人千面): events and reads name theirs."""

    names: list[SegmentName] = Field(
        min_length=1,
        max_length=SEGMENTS_MAX,
        description="as events name them in `segment`, for example new and returning customers",
        examples=[["new", "returning"]],
    )
    prior: float = Field(
        20.0,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="events of a product in a segment at which its own sums there count as much as the whole venue's",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for index, name in enumerate(self.names):
            if name in self.names[:index]:
                raise wrong("each segment once", at=("names", index))
        return self


class Rule(Strict):
    """A whole rule. score = sum of weight * signal over the terms, in their order."""

    window_s: int = Field(300, ge=1, le=86400, description="length of the window; the base is as long, before it")
    bucket_s: int = Field(
        10,
        ge=1,
        le=3600,
        description="length of a bucket; divides window_s",
        validate_default=True,  # the default too must fit the window
    )
    lateness_s: int | None = Field(
        None, ge=0, description="events older than this are late; default and most: two windows"
    )
    clock_skew_s: int = Field(
        300,
        ge=0,
        le=3600,
        description="events at most this far ahead count as of now; further ones are refused",
    )
    metrics: dict[Name, Metric] = Field(
        min_length=1,
        max_length=32,
        json_schema_extra={"additionalProperties": False},  # a name that fits no pattern is refused
    )
    terms: list[Term] = Field(min_length=1, max_length=32)
    board: BoardSettings = BoardSettings()
    segments: SegmentSettings | None = Field(None, description="none: one board for all")

    @field_validator("bucket_s")
    @classmethod
    def _divides(cls, bucket_s: int, info: ValidationInfo) -> int:
        window_s = info.data.get("window_s")
        if window_s is None:
            return bucket_s
        if window_s % bucket_s:
            raise ValueError(f"must divide window_s = {window_s}, for example {_divisors(window_s)}")
        if window_s // bucket_s > BUCKETS_MAX:
            raise ValueError(f"makes {window_s // bucket_s} buckets to a window, at most {BUCKETS_MAX}")
        return bucket_s

    @field_validator("lateness_s")
    @classmethod
    def _within_base(cls, lateness_s: int | None, info: ValidationInfo) -> int | None:
        window_s = info.data.get("window_s")
        if lateness_s is not None and window_s is not None and lateness_s > 2 * window_s:
            raise ValueError(f"at most two windows = {2 * window_s}: older events have left the base")
        return lateness_s

    @model_validator(mode="after")
    def _metrics_named(self) -> Self:
        known = ", ".join(sorted(self.metrics))
        for index, term in enumerate(self.terms):
            named = [term.metric] if isinstance(term, MetricTerm) else getattr(term, "ratio", [])
            for metric in named:
                if metric not in self.metrics:
                    at = ("terms", index, "metric" if isinstance(term, MetricTerm) else "ratio")
                    raise wrong(
                        "{metric} is none of metrics, which has {known}", at=at, metric=repr(metric), known=known
                    )
        return self

    @property
    def window_ms(self) -> int:
        """Window length in ms."""
        return self.window_s * 1000

    @property
    def bucket_ms(self) -> int:
        """Bucket length in ms."""
        return self.bucket_s * 1000

    @property
    def lateness_ms(self) -> int:
        """Events older than this are late."""
        return 1000 * (2 * self.window_s if self.lateness_s is None else self.lateness_s)

    @property
    def id_memory_ms(self) -> int:
        """How long an event id is remembered: the longer of two windows and 15 minutes."""
        return max(2 * self.window_ms, 15 * 60 * 1000)

    @property
    def segment_names(self) -> tuple[str, ...]:
        """The declared segments."""
        return () if self.segments is None else tuple(self.segments.names)

    def kinds(self) -> set[str]:
        """The event kinds that a venue under this rule takes."""
        return {*EVENT_KINDS, *STATED_KINDS, *(metric.event for metric in self.metrics.values())}


def _divisors(window_s: int) -> str:
    fitting = [n for n in (1, 2, 5, 10, 15, 30, 60, 300) if window_s % n == 0 and window_s // n <= BUCKETS_MAX]
    return ", ".join(map(str, fitting[-3:]))


def parse_rule(document: Any) -> Rule:  # any JSON value may come in
    """The rule in a JSON value, or in JSON text as bytes or str.

    Raises RuleError, whose text names each wrong field, its value and what would be right.
    """
    try:
        if isinstance(document, (str, bytes)):
            return Rule.model_validate_json(document)
        return Rule.model_validate(document)
    except ValidationError as exc:
        fields = [wrong_field(error) for error in exc.errors()]
        raise RuleError(in_words(fields), fields) from exc


def no_segment(name: str, declared: Sequence[str], *, field: str = "segment") -> Wrong:
    """What refuses a segment that is none of those that are declared. field: where it was named."""
    told = f"must be one of {', '.join(declared)}" if declared else "leave it out: this venue declares no segments"
    return field, told, shown(name)


DEFAULT_RULE = parse_rule(
    {
        "window_s": 300,
        "bucket_s": 10,
        "metrics": {
            "click": {"event": "click"},
            "order": {"event": "order"},
            "pay_amount": {"event": "pay", "sum": "amount"},
        },
        "terms": [
            {"metric": "click", "signal": "root", "weight": 0.3},
            {"metric": "order", "signal": "root", "weight": 0.5},
            {"metric": "pay_amount", "signal": "root", "weight": 1.0},
            {"metric": "click", "signal": "surge", "weight": 0.2, "prior": 10.0, "tide": True},
        ],
        "board": {"slots": 50},
    }
)
"""Chosen on simulated demand that is known: docs/rule-guide.md has the table, ``make rules`` repeats it."""

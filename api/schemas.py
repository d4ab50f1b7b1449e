"""Requests and answers of the HTTP contract (pydantic), as OpenAPI shows them."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from racing.documents import Strict, wrong
from racing.entries import Coupon, Runner
from racing.lifecycle import State
from racing.model import ID_PATTERN
from racing.rule import Rule
from racing.store.desk import Access


def _addressable(name: str) -> str:
    if name in {".", ".."}:
        raise wrong("must not be . or .., which browsers take out of addresses")
    return name


def _attribute(value: Any) -> Any:
    """The value; pydantic's own errors would name every type of the union one by one."""
    fits = isinstance(value, bool)
    fits |= isinstance(value, str) and len(value) <= ATTRIBUTE_TEXT_MAX
    fits |= isinstance(value, (int, float)) and abs(value) <= ATTRIBUTE_NUMBER_MAX and not math.isnan(value)
    if not fits:
        raise wrong("must be true, false, a number within +-1e15, or a text of at most 256 characters")
    return value


ATTRIBUTES_MAX = 16
ATTRIBUTE_TEXT_MAX = 256
ATTRIBUTE_NUMBER_MAX = 1e15
BULK_MAX = 1000

Id = Annotated[
    str,
    Field(pattern=ID_PATTERN, json_schema_extra={"not": {"enum": [".", ".."]}}),
    AfterValidator(_addressable),
]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Link = Annotated[str, Field(min_length=1, max_length=2048)]
Money = Annotated[int, Field(ge=0, le=10**12, description="minor units, e.g. cents or fen")]
AttributeName = Annotated[str, Field(pattern=ID_PATTERN)]
AttributeValue = Annotated[
    Annotated[str, Field(max_length=ATTRIBUTE_TEXT_MAX)]
    | bool
    | Annotated[float, Field(ge=-ATTRIBUTE_NUMBER_MAX, le=ATTRIBUTE_NUMBER_MAX)],
    BeforeValidator(_attribute),
]


def header(description: str, *, kind: str = "string", required: bool = True) -> dict[str, Any]:
    """A header of an answer, as OpenAPI has it."""
    return {"description": description, "required": required, "schema": {"type": kind}}


class AccessDoc(Strict):
    """What a venue lets whom do while keys are in force."""

    slots_public: bool = Field(default=True, description="anyone may read its slots, without a key")
    details_public: bool = Field(default=False, description="with scores, signals, stock and counts")
    beacon_kinds: list[Annotated[str, Field(min_length=1, max_length=32)]] = Field(
        [], max_length=64, description="event kinds that publishable keys may send", examples=[["impression", "click"]]
    )
    merchants_may: list[Literal["stock", "price", "withdraw"]] = Field(
        [], max_length=3, description="what merchants may do to their own products", examples=[["stock"]]
    )
    neighbours_named: bool = Field(
        default=False, description="merchants are told which products stand next to theirs; else only the gaps"
    )

    advice: Literal["off", "coarse", "exact"] = Field(
        "coarse", description="what merchants are told would move them; exact is also a recipe for faking"
    )

    @classmethod
    def of(cls, access: Access) -> Self:
        """The document of what the store keeps."""
        return cls.model_validate_json(msgspec.json.encode(access))

    def access(self) -> Access:
        """What the store keeps."""
        kinds, may = tuple(self.beacon_kinds), tuple(self.merchants_may)
        return Access(self.slots_public, self.details_public, kinds, may, self.neighbours_named, self.advice)


class VenueIn(Strict):
    """A venue (会场) to create."""

    venue: Id = Field(examples=["hall-1"])
    title: Text | None = Field(None, description="shown to people; the id by default", examples=["Double 11 main hall"])
    rule: Rule | None = Field(None, description="the first rule; the default rule where absent", examples=[None])
    access: AccessDoc | None = Field(
        None, description="who may do what; anyone may read the slots where absent", examples=[None]
    )
    state: Literal["draft", "rehearsal", "open"] = Field("open", description="where its life begins")
    parent: Id | None = Field(None, description="the main venue that it is a sub venue of", examples=[None])


class VenueGone(BaseModel):
    """A venue that was deleted with all of its past."""

    venue: str = Field(examples=["hall-1"])
    keys: int = Field(examples=[31], description="how many keys it had in Redis")


class VenueOut(BaseModel):
    """A venue as it stands."""

    venue: str = Field(examples=["hall-1"])
    title: str = Field(examples=["Double 11 main hall"])
    created_ms: int = Field(examples=[1763740800000])
    state: State = Field(examples=["open"], description="where it is in its life")
    parent: str | None = Field(None, examples=["hall-0"], description="the main venue that it is a sub venue of")
    slots: int = Field(examples=[50], description="slots (坑位) on the page")
    runners: int | None = Field(
        None, examples=[1200], description="products enrolled; this and counts: null unless they are public"
    )
    rule_version: int = Field(examples=[3])
    frame: int = Field(examples=[48210], description="number of the current frame; 0 before the first")
    counts: dict[str, int] | None = Field(
        None,
        examples=[{"counted": 90210, "late": 3, "future": 0, "duplicate": 12}],
        description="what became of every event since the race began, as of the last commit",
    )


class VenueList(BaseModel):
    """A page of venues."""

    venues: list[VenueOut]
    next_cursor: str | None = Field(
        None, description="pass as cursor for the next page; null at the end", examples=["hall-1"]
    )


class CouponDoc(Strict):
    """A coupon (优惠券) that comes with a product."""

    off: Annotated[int, Field(ge=1, le=10**12, description="so much off the price, minor units")] = Field(
        examples=[2000]
    )
    above: Money = Field(0, examples=[15000])
    title: Text | None = Field(None, examples=["20 off from 150"])


class RunnerFields(Strict):
    """What a product is told to be."""

    product: Id = Field(examples=["p-1001"])
    title: Text = Field(examples=["Noise-cancelling earbuds"])
    category: Text | None = Field(None, examples=["audio"])
    series: Text | None = Field(None, examples=["air"])
    tier: Text | None = Field(None, examples=["A"])
    price: Money | None = Field(None, examples=[19900])
    list_price: Money | None = Field(None, examples=[29900])
    stock: Annotated[int, Field(ge=0, le=10**9)] | None = Field(None, examples=[500])
    image: Link | None = Field(None, examples=["https://img.example/p-1001.webp"])
    url: Link | None = Field(None, examples=["https://shop.example/p-1001"])
    entry_score: Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)] | None = Field(None, examples=[0.8])
    attributes: dict[AttributeName, AttributeValue] = Field(
        default={},
        max_length=ATTRIBUTES_MAX,
        examples=[{"new": True, "brand": "Hai"}],
        json_schema_extra={"additionalProperties": False},  # a name that fits no pattern is refused
    )

    coupon: CouponDoc | None = Field(None, description="shown with the price after it")


class RunnerIn(RunnerFields):
    """A product to enrol (参赛商品). Enrolling it again replaces its data and keeps its number."""

    merchant: Id = Field(examples=["m-7"])

    def runner(self) -> Runner:
        """The runner as the store keeps it."""
        given = self.model_dump()
        return Runner(**{**given, "coupon": None if self.coupon is None else Coupon(**given["coupon"])})


class RunnersIn(Strict):
    """Up to 1,000 products to enrol at once; all or none."""

    runners: Annotated[list[RunnerIn], Field(min_length=1, max_length=BULK_MAX)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[str] = set()
        for index, runner in enumerate(self.runners):
            if runner.product in seen:
                at = ("runners", index, "product")
                raise wrong("{product} comes twice: name each product once", at=at, product=repr(runner.product))
            seen.add(runner.product)
        return self


class RunnerChange(Strict):
    """What changes of a product: what is left out stays."""

    stock: Annotated[int, Field(ge=0, le=10**9)] | None = Field(None, examples=[480])
    price: Money | None = Field(None, examples=[18900])

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.changes():
            raise wrong("names nothing to change: give stock or price")
        return self

    def changes(self) -> dict[Literal["stock", "price"], int]:
        """The new values."""
        given: dict[Literal["stock", "price"], int | None] = {"stock": self.stock, "price": self.price}
        return {name: value for name, value in given.items() if value is not None}


class RunnerChanged(BaseModel):
    """What was changed, and its entry in the log."""

    product: str = Field(examples=["p-1001"])
    entry: str = Field(examples=["1763740800123-0"])
    stock: int | None = Field(None, examples=[480])
    price: int | None = Field(None, examples=[18900])


class TicketOut(BaseModel):
    """A ticket: opens one private live stream of the venue, once."""

    ticket: str = Field(
        examples=["3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"], description="for the query of its address"
    )
    expires_in_s: int = Field(examples=[60])


class EnrolledOut(BaseModel):
    """What became of one product."""

    product: str = Field(examples=["p-1001"])
    runner: int = Field(examples=[0], description="enrolment number; decides ties, never reused")
    state: str = Field(examples=["enrolled"], description="enrolled, changed or unchanged")
    row: int | None = Field(None, examples=[None], description="its line of the file that was sent, from 1")


class FieldOut(BaseModel):
    """A field that is not as it must be."""

    field: str = Field(examples=["price"])
    expected: str = Field(examples=["must be at least 0"])
    value: str | None = Field(None, examples=["-5"])


class RefusedRow(BaseModel):
    """A row of a file that was not taken, and why."""

    row: int = Field(examples=[3], description="its line of the file, the header being 1")
    product: str = Field(examples=["p-9"])
    errors: list[FieldOut]


class RefusedProduct(BaseModel):
    """A product that does not meet the entry conditions of a venue, and which."""

    product: str = Field(examples=["p-9"])
    errors: list[FieldOut]


class EnrolledList(BaseModel):
    """What became of each product, in the order sent; of a file also of the rows that were not taken."""

    runners: list[EnrolledOut]
    refused: list[RefusedRow] = Field([], examples=[[]])


class RunnerDoc(BaseModel):
    """A product and its data as it stands."""

    model_config = ConfigDict(extra="allow")

    product: str = Field(examples=["p-1001"])
    merchant: str = Field(examples=["m-7"])
    title: str = Field(examples=["Noise-cancelling earbuds"])


class RunnerOut(BaseModel):
    """A product and its data as given at enrolment."""

    model_config = ConfigDict(extra="allow")

    product: str = Field(examples=["p-1001"])
    merchant: str = Field(examples=["m-7"])
    title: str = Field(examples=["Noise-cancelling earbuds"])
    runner: int = Field(examples=[0])


class RunnerList(BaseModel):
    """A page of runners in enrolment order."""

    runners: list[RunnerOut]
    next_cursor: str | None = Field(None, description="as in the list of venues", examples=["100"])


class Refused(BaseModel):
    """An event that was not taken, and why."""

    index: int = Field(examples=[2], description="place in the batch, from 0")
    code: str = Field(examples=["unknown_product"])
    reason: str = Field(examples=["product: 'p-9' is not enrolled in venue 'hall-1'"])


class EventsOut(BaseModel):
    """What became of a batch: accepted + duplicate + refused = all that were sent."""

    accepted: int = Field(examples=[498], description="in the log; each is counted exactly once")
    duplicate: int = Field(examples=[1], description="ids known to have come before; counted once, as ever")
    refused: list[Refused]
    position: str | None = Field(
        examples=["1763740800123-0"], description="log entry of the batch; null if none was taken"
    )


class EventsInVenue(BaseModel):
    """What became of a batch in one venue."""

    venue: str = Field(examples=["hall-1"])
    accepted: int = Field(examples=[1], description="in its log; each is counted exactly once")
    duplicate: int = Field(examples=[0])
    position: str | None = Field(examples=["1763740800123-0"], description="log entry; null if it took none")


class EventsEverywhere(BaseModel):
    """What became of a batch in every venue that its products race in."""

    venues: list[EventsInVenue]
    refused: list[Refused] = Field(description="events that no venue took")


class TermOut(BaseModel):
    """One term of a score."""

    name: str = Field(examples=["click surge"])
    weight: float = Field(examples=[1.0])
    value: float = Field(examples=[3.2])
    contribution: float = Field(examples=[3.2])


class SlotOut(BaseModel):
    """One slot (坑位) of the board."""

    slot: int = Field(examples=[1], description="counted from 1")
    product: str = Field(examples=["p-1001"])
    merchant: str | None = Field(None, examples=["m-7"], description="this and the next: as given at enrolment")
    title: str | None = Field(None, examples=["Noise-cancelling earbuds"])
    category: str | None = Field(None, examples=["audio"])
    series: str | None = Field(None, examples=["air"])
    tier: str | None = Field(None, examples=["A"])
    price: int | None = Field(None, examples=[19900], description="minor units")
    list_price: int | None = Field(None, examples=[29900], description="minor units")
    coupon: CouponDoc | None = None
    price_after_coupon: int | None = Field(None, examples=[17900], description="absent where the coupon does not apply")
    stock: int | None = Field(None, examples=[500], description="as score")
    image: str | None = Field(None, examples=["https://img.example/p-1001.webp"])
    url: str | None = Field(None, examples=["https://shop.example/p-1001"])
    moved: int | None = Field(
        None,
        examples=[2],
        description="slots gained since moved_since_ms, negative when lost; absent where it was not on",
    )
    badges: list[str] | None = Field(
        None,
        examples=[["hot", "rising"]],
        description="pinned, paid, hot, rising, new, low_stock, sold_out; absent without any",
    )
    gone: bool | None = Field(
        None, examples=[True], description="true in an older frame for a product that has left the race since"
    )
    filtered_slot: int | None = Field(None, examples=[1], description="with category or tier: its place among those")
    standing: int | None = Field(None, examples=[1], description="as score")
    token: str | None = Field(
        None,
        examples=["AQGaVy0OAAAAAAC8UmkhTQAAAQAAAAB0QmFzZTY0eA"],
        description="with `tokens=true`: ties what happens to it to its slot and frame",
    )
    score: float | None = Field(
        None, examples=[12.31], description="this, standing, terms and stock: absent unless they are public"
    )
    terms: list[TermOut] | None = None


class HeadOut(BaseModel):
    """What holds of a whole frame (帧)."""

    venue: str = Field(examples=["hall-1"])
    frame: int = Field(examples=[48210], description="0 before the first frame")
    epoch: int = Field(examples=[1763740800000])
    position: str = Field(examples=["1763740800123-0"], description="log entry up to which everything is counted")
    at_ms: int = Field(examples=[1763740800123])
    rule_version: int = Field(examples=[3])
    runners: int | None = Field(None, examples=[1200], description="as score")
    served: str = Field(
        examples=["race"],
        description="where the order comes from: race, opening, operators, standings (rules=off); last_frame if stale",
    )
    phase: str = Field(examples=["burst"], description="id of the phase that holds; empty without one")
    phase_ends_ms: int | None = Field(None, examples=[1763827200000])
    told: list[str] | None = Field(None, examples=[[]], description="what the board could not do as asked; as score")
    conflicts: int | None = Field(None, examples=[0], description="orders without effect because of others; as score")
    moved_since_ms: int | None = Field(
        None, examples=[1763740739980], description="moment of the board that movement is told from: 60 to 70 s before"
    )
    stale: bool = Field(examples=[False], description="true while Redis or the scorer is away")
    segment: str | None = Field(None, examples=["new"], description="the segment whose board it is, where one is asked")


class SlotsOut(HeadOut):
    """The first slots of one frame (帧)."""

    evolved: bool = Field(examples=[False], description="whether there is a newer frame than this one")
    slots: list[SlotOut]
    next: str | None = Field(
        None,
        examples=["hOFPmJWmaGFsbC0xzwAAAZqnVSAAzbxSMsDAkA"],
        description="cursor of the next page; null at the end",
    )


class BoardsOut(BaseModel):
    """The current frames of several venues."""

    boards: list[SlotsOut] = Field(description="in the order asked for")
    missing: list[str] = Field(examples=[[]], description="venues that are not there, or not for this caller")


class BoardOut(HeadOut):
    """The first slots of the current frame, as those have them who follow it: without the terms of scores."""

    slots: list[SlotOut]


class MoveOut(BaseModel):
    """A product that has another slot."""

    product: str = Field(examples=["p-1001"])
    was: int = Field(examples=[4], description="the slot it had")
    slot: int = Field(examples=[1])


class ChangedOut(BaseModel):
    """A product with other fields than it had: their values as in a slot, null for one that is gone."""

    model_config = ConfigDict(extra="allow")

    product: str = Field(examples=["p-1001"])
    price: int | None = Field(None, examples=[18900], description="and likewise every other field of a slot")


class ChangesOut(BaseModel):
    """What makes the current board of an older one, or the whole board.

    Take away what left, set the slots of moves and the fields of changed, add what entered, and sort by slot.
    """

    since: str | None = Field(
        examples=["1763740800000-48209"], description="the frame of the older board; null: take full, forget the rest"
    )
    next: str = Field(examples=["1763740800000-48210"], description="the current frame: since of the next request")
    full: BoardOut | None = Field(None, examples=[None], description="the whole board, where since is null")
    head: HeadOut | None = Field(None, description="all fields of the current board but slots")
    left: list[str] = Field([], examples=[["p-1007"]], description="products that are no longer among the slots")
    moves: list[MoveOut] = []
    entered: list[SlotOut] = Field([], description="products that were not among the slots")
    changed: list[ChangedOut] = []


FOLLOWED: dict[str, Any] = {
    "description": "Events until either side ends it. `frame`: data is the whole board (BoardOut); it replaces all that"
    " the client had. `changes`: data is what GET changes answers (ChangesOut). `bye`: the service ends it, come"
    " again after retry ms. The id of an event is the name of its frame. Lines that begin with a colon are to be passed"
    " over: one comes every 15 s at least.",
    "headers": {"Cache-Control": header("no-cache, no-transform")},
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": "retry: 2417\n\n"
            "event: frame\nid: 1763740800000-48210\n"
            'data: {"venue":"hall-1","frame":48210,"epoch":1763740800000,"slots":[{"slot":1,"product":"p-1001"}]}\n\n'
            "event: changes\nid: 1763740800000-48211\n"
            'data: {"since":"1763740800000-48210","next":"1763740800000-48211","head":{"frame":48211},"left":[],'
            '"moves":[{"product":"p-1001","was":1,"slot":2}],'
            '"entered":[{"slot":1,"product":"p-1002"}],"changed":[]}\n\n',
        }
    },
}
"""The answer of a live stream."""


class RuleChanged(BaseModel):
    """A rule version, and the frame from which it is visible."""

    version: int = Field(examples=[4])
    entry: str = Field(examples=["1763740800123-0"])
    epoch: int | None = Field(None, examples=[1763740800000], description="null while no frame shows it yet")
    frame: int | None = Field(None, examples=[48213], description="null while no frame shows it yet")
    window_full_ms: int | None = Field(
        None,
        examples=[1763741100000],
        description="from when a longer window holds all that came in it; null: at once",
    )
    base_full_ms: int | None = Field(None, examples=[1763741400000], description="and the base before it")


class RuleVersionOut(BaseModel):
    """One version of a rule: who made it, when and why."""

    version: int = Field(examples=[4])
    author: str = Field(examples=["night-shift"])
    note: str = Field(examples=["calmer"])
    at_ms: int = Field(examples=[1763740800123])
    current: bool = Field(examples=[True], description="the one put last; a phase may have its own in force")
    formula: int = Field(examples=[1], description="version of the scoring formula")
    phase: str = Field("", examples=[""], description="id of the phase that it was made for; empty of the rule itself")


class RuleVersionDoc(RuleVersionOut):
    """A version of a rule with its document."""

    rule: Rule


class RuleVersionList(BaseModel):
    """Versions of a rule, newest first."""

    versions: list[RuleVersionOut]
    next_cursor: str | None = Field(None, description="as in the list of venues", examples=["3"])


class DifferenceOut(BaseModel):
    """A field that differs."""

    field: str = Field(examples=["terms[0].weight"])
    before: Any = Field(None, alias="from", examples=[0.3], description="null: it is not there")
    after: Any = Field(None, alias="to", examples=[0.5], description="null: it is not there")


class RuleDiff(BaseModel):
    """What differs between two versions, field by field."""

    before: int = Field(alias="from", examples=[3])
    after: int = Field(alias="to", examples=[4])
    differences: list[DifferenceOut]


class RestoreIn(Strict):
    """Which version is to hold again, as a new one."""

    version: Annotated[int, Field(ge=1, le=2**53)] = Field(examples=[1])
    note: Annotated[str, Field(max_length=200, description="why, for the history")] = Field("", examples=["as before"])


class Health(BaseModel):
    """Whether the process lives."""

    status: str = Field(examples=["ok"])


class VenueHealth(BaseModel):
    """How fresh one venue's data is."""

    venue: str = Field(examples=["hall-1"])
    frame: int = Field(examples=[48210])
    age_ms: int | None = Field(
        description="age of the data that readers get; null before the first commit", examples=[120]
    )
    stale: bool = Field(examples=[False])


class DurabilityHealth(BaseModel):
    """What an acknowledgement promises, as the server is set up now."""

    asked: str = Field(examples=["safe"], description="fast or safe: SAIMA_DURABILITY")
    in_force: str = Field(
        examples=["safe"], description="fast, safe, not reached (then events are answered 503), or unknown"
    )
    found: str = Field(examples=["synced before each answer; replicas attached: 0"])
    promise: str = Field(examples=["what was acknowledged survives a kill and a power cut of the server"])


class Readiness(BaseModel):
    """Whether Redis answers, and how fresh each venue is."""

    status: str = Field(examples=["ready"])
    redis: str = Field(examples=["ok"])
    durability: DurabilityHealth
    venues: list[VenueHealth]


class ScorerOut(BaseModel):
    """One scorer process."""

    name: str = Field(examples=["node-3-4711-9f2c1a"])
    host: str = Field(examples=["node-3"])
    pid: int = Field(examples=[4711])
    state: Literal["live", "silent"] = Field(
        examples=["live"], description="silent: not heard of for a lease; its venues go to the others"
    )
    up_s: int = Field(examples=[86400], description="how long it had run when it was last heard of")
    heard_ms: int = Field(examples=[210], description="time since it was last heard of")
    venues: int = Field(examples=[2], description="how many venues it runs")


class VenueRunOut(BaseModel):
    """One venue and who runs it."""

    venue: str = Field(examples=["hall-1"])
    owner: str | None = Field(
        examples=["node-3-4711-9f2c1a"], description="name of the scorer that holds its lease; null: nobody"
    )
    state: Literal["racing", "restoring", "waiting", "unknown"] = Field(
        examples=["racing"], description="waiting: for an owner; unknown: the node that holds its keys does not answer"
    )
    epoch: int | None = Field(examples=[1763740800000], description="of the last take-over; null before the first")
    frame: int = Field(examples=[48210], description="0 before the first frame")
    lag_ms: int | None = Field(examples=[12], description="age of the last commit's data when it was written")
    commit_ms: int | None = Field(examples=[4], description="how long the last commit took: read, fold, write")
    frame_age_ms: int | None = Field(
        examples=[120], description="age of the data that readers get; null before the first commit"
    )
    conflicts: int = Field(examples=[0], description="how often scorers found that another had committed")
    last_error: str | None = Field(
        examples=["FencedError: venue hall-1: another owner has committed"],
        description="the newest that a scorer met in this venue; null: none",
    )
    last_error_age_ms: int | None = Field(examples=[90500])


class ScorersOut(BaseModel):
    """Who runs what."""

    scorers: list[ScorerOut] = Field(description="by name; one that has gone is shown for ten minutes more")
    venues: list[VenueRunOut] = Field(description="by name")


class ProblemHelp(BaseModel):
    """What an error code means."""

    code: str = Field(examples=["not_found"])
    status: int = Field(examples=[404])
    title: str = Field(examples=["Not found"])
    help: str = Field(examples=["There is nothing at this address, or not for this key."])

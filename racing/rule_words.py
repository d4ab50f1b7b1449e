"""A rule in words (规则说明): what merchants are told of how their products are ranked, in Chinese and English.

Made of the document alone, sentence by sentence: what is counted, what each term rewards and how much it weighs, and
how scores become slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from racing.board_settings import BoardSettings, Stability
from racing.rule import PRIOR_DEFAULT, AttributeTerm, MetricTerm, RatioTerm, Rule

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")
Pair = tuple[str, str]
"""(Chinese, English)"""

_KINDS: dict[str, Pair] = {
    "impression": ("曝光", "impressions"),
    "click": ("点击", "clicks"),
    "favorite": ("收藏", "favorites"),
    "cart": ("加购", "additions to carts"),
    "order": ("下单", "orders"),
    "pay": ("支付", "payments"),
    "refund": ("退款", "refunds"),
}
_AMOUNTS: dict[str, Pair] = {
    "order": ("下单金额", "the amount ordered"),
    "pay": ("支付金额", "the amount paid"),
    "refund": ("退款金额", "the amount refunded"),
}
_SIGNALS: dict[str, Pair] = {
    "level": ("{what}的数值", "{what} in the window"),
    "root": ("{what}的平方根（按自身波动计的水平）", "the square root of {what}: the level in units of its own noise"),
    "total": ("开赛（或本阶段开始）以来的{what}", "{what} since the race or phase began"),
    "uplift": ("{what}相对上一时间窗的增加量", "how much {what} rose over the window before"),
    "growth": ("{what}相对上一时间窗的增长率", "by what share {what} rose over the window before"),
    "surge": (
        "{what}相对上一时间窗的涨幅（按自身波动计）",
        "how far {what} rose over the window before, in units of its own noise",
    ),
}
_TIDE: Pair = ("，会场整体的涨落已扣除", ", the rise or fall of the whole venue left out")


def in_words(rule: Rule, language: Language) -> list[str]:
    """The rule as sentences in one language. Cost: some 20 us."""
    at = LANGUAGES.index(language)
    return [sentence[at] for sentence in _sentences(rule)]


def _sentences(rule: Rule) -> Iterator[Pair]:
    """The sentences: window, order, each term with its weight, then the board."""
    window, bucket = _span(rule.window_s), _span(rule.bucket_s)
    yield (
        f"比较最近{window[0]}与之前{window[0]}的数据，每{bucket[0]}滚动一次。",
        f"The last {window[1]} are compared with the {window[1]} before, in steps of {bucket[1]}.",
    )
    yield (
        f"综合分由{len(rule.terms)}项相加，得分高者在前；同分时先报名者在前。",
        (
            f"The score is the sum of {_many(len(rule.terms), 'term')}; higher ones come first, of equal ones the"
            " product enrolled first."
        ),
    )
    for term in rule.terms:
        told = _term(rule, term)
        weight = f"{term.weight:.15g}"
        yield f"权重 {weight}：{told[0]}。", f"Weight {weight}: {told[1]}."
    yield from _board(rule)


def _term(rule: Rule, term: MetricTerm | RatioTerm | AttributeTerm) -> Pair:
    """What one term counts."""
    if isinstance(term, AttributeTerm):
        if term.attribute == "entry_score":
            return "报名时的评分", "the score given at enrolment"
        return f"报名时填写的属性 {term.attribute}", f"the attribute {term.attribute} given at enrolment"
    prior = f"{PRIOR_DEFAULT if term.prior is None else term.prior:.15g}"
    if isinstance(term, RatioTerm):
        above, below = (_what(rule, name) for name in term.ratio)
        zh, en = f"{above[0]}与{below[0]}之比", f"the ratio of {above[1]} to {below[1]}"
        doubt = (
            f"（数据少时向均值靠拢，强度 {prior}）",
            f" (drawn to the mean while there is little data, by {prior})",
        )
        if term.signal == "rate":
            return f"{zh}高出会场均值多少{doubt[0]}", f"how far {en} lies above the venue's mean{doubt[1]}"
        return f"{zh}相对上一时间窗的提升{doubt[0]}", f"how much {en} improved over the window before{doubt[1]}"
    what, signal = _what(rule, term.metric), _SIGNALS[term.signal]
    zh, en = signal[0].format(what=what[0]), signal[1].format(what=what[1])
    if term.signal in {"growth", "surge"}:
        zh, en = f"{zh}，小数据按先验 {prior} 平滑", f"{en}, small numbers damped by a prior of {prior}"
    return (zh + _TIDE[0], en + _TIDE[1]) if term.tide else (zh, en)


def _what(rule: Rule, name: str) -> Pair:
    """What a metric counts."""
    metric = rule.metrics[name]
    if metric.sum == "amount":
        return _AMOUNTS.get(metric.event, (f"{metric.event} 金额", f"the amount of {metric.event} events"))
    kind = _KINDS.get(metric.event)
    return (f"{metric.event} 事件数", f"{metric.event} events") if kind is None else (f"{kind[0]}数", kind[1])


def _board(rule: Rule) -> Iterator[Pair]:
    """How scores become slots, in the order of operations."""
    board = rule.board
    yield f"会场共{board.slots}个坑位。", f"The venue has {_many(board.slots, 'slot')}."
    if board.stock is not None:
        yield {
            "drop": ("售罄商品下架。", "Sold-out products leave the board."),
            "sink": ("售罄商品沉底。", "Sold-out products go behind all others."),
            "keep": ("售罄商品保留坑位并标注。", "Sold-out products keep their slots, and are marked."),
        }[board.stock.policy]
    if board.stability is not None:
        told = _lead(board.stability)
        yield f"后来者{told[0]}才能超越前一名。", f"A challenger passes who stands above it only if it leads {told[1]}."
    yield from _mix(board)


def _lead(stability: Stability) -> Pair:
    """The lead by which a challenger passes: the greater of two margins, or one that lasts."""
    points, units = f"{stability.margin:.15g}", stability.noise_units
    margins = [(f"{points} 分", f"{points} points")] * (stability.margin > 0)
    margins += [(f"自身波动的 {units:.15g} 倍", f"{_many(units, 'deviation')} of its own noise")] * (units > 0)
    zh, en = "与".join(zh for zh, _ in margins), " and ".join(en for _, en in margins)
    if len(margins) > 1:
        zh, en = f"{zh}中的较大者", f"the greater of {en}"
    if stability.lead_s is None:
        return f"分差超过{zh}", f"by {en}"
    lead = _span(stability.lead_s)
    return f"分差超过{zh}，或持续领先{lead[0]}，", f"by {en}, or for {lead[1]}"


def _mix(board: BoardSettings) -> Iterator[Pair]:
    """Which products the slots are shared among."""
    if (new := board.newcomers) is not None:
        share, span = f"{100 * new.share:.15g}%", _span(new.for_s)
        yield (
            f"至少 {share} 的坑位留给报名不满{span[0]}的新品。",
            f"At least {share} of the slots go to products that joined less than {span[1]} ago.",
        )
    for cap in board.caps or ():
        within = ("", "") if cap.within is None else (f"前{cap.within}个坑位中", f" of the first {cap.within} slots")
        by = _BY.get(cap.by, (cap.by, cap.by))
        yield (
            f"{within[0]}同一{by[0]}最多占{cap.most}个。",
            f"One {by[1]} has at most {cap.most}{within[1] or ' slots'}.",
        )
    for share_of in board.shares or ():
        by = _BY.get(share_of.by, (share_of.by, share_of.by))
        bounds = []
        if share_of.min is not None:
            bounds.append((f"至少占 {100 * share_of.min:.15g}%", f"at least {100 * share_of.min:.15g}%"))
        if share_of.max is not None:
            bounds.append((f"至多占 {100 * share_of.max:.15g}%", f"at most {100 * share_of.max:.15g}%"))
        told = "，".join(zh for zh, _ in bounds), " and ".join(en for _, en in bounds)
        yield (
            f"{by[0]}为 {share_of.value} 的商品{told[0]}的坑位。",
            f"Products of {by[1]} {share_of.value} have {told[1]} of the slots.",
        )
    for tier in board.tiers or ():
        yield (
            f"坑位 {tier.slots} 留给 {tier.tier} 档商品。",
            f"Slots {tier.slots} are kept for products of tier {tier.tier}.",
        )


_BY: dict[str, Pair] = {
    "merchant": ("商家", "merchant"),
    "category": ("类目", "category"),
    "series": ("系列", "series"),
    "tier": ("档位", "tier"),
}


def _span(seconds: float) -> Pair:
    """A span of time in the largest unit that it is a whole number of."""
    for unit_s, zh, en in ((86_400, "天", "day"), (3_600, "小时", "hour"), (60, "分钟", "minute")):
        if seconds >= unit_s and seconds % unit_s == 0:
            return f" {int(seconds // unit_s)} {zh}", _many(int(seconds // unit_s), en)
    return f" {seconds:.15g} 秒", _many(seconds, "second")


def _many(number: float, word: str) -> str:
    return f"{number:.15g} {word}" + ("" if number == 1 else "s")

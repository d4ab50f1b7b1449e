"""Made-up goods for demos and load tests: titles that are pleasant to read, merchants, prices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

SHELVES: dict[str, tuple[str, dict[str, int]]] = {
    "Audio": (
        "Noise-cancelling|Wireless|Bone-conduction|Studio|Waterproof|Foldable",
        {
            "earbuds": 399,
            "headphones": 699,
            "headset": 459,
            "neckband earphones": 259,
            "sleep earphones": 329,
        },
    ),
    "Kitchen": (
        "Cast-iron|Ceramic|Stainless|Copper-base|Induction-ready|Stackable",
        {"skillet": 199, "saucepan": 229, "steamer": 169, "wok": 249, "casserole": 329, "milk pan": 89},
    ),
    "Coffee & tea": (
        "Hand-glazed|Double-walled|Borosilicate|Travel|Matte-black|Porcelain",
        {"kettle": 259, "teapot": 149, "coffee dripper": 119, "tumbler": 99, "tea set": 299},
    ),
    "Bedding": (
        "Washed-linen|Mulberry-silk|Bamboo|Long-staple cotton|Cooling|Quilted",
        {"duvet cover": 399, "pillowcase pair": 129, "sheet set": 349, "throw": 219, "summer quilt": 299},
    ),
    "Outdoors": (
        "Ultralight|Four-season|Packable|Windproof|All-terrain|Recycled",
        {"tent": 799, "sleeping bag": 459, "hammock": 199, "camp chair": 239, "tarp": 159, "daypack": 279},
    ),
    "Home": (
        "Walnut|Rattan|Hand-blown glass|Terracotta|Brass|Ash-wood",
        {"table lamp": 289, "plant stand": 139, "side table": 399, "wall clock": 179, "fruit bowl": 119},
    ),
    "Beauty": (
        "Fragrance-free|Calendula|Vitamin C|Green-tea|Ceramide|Rice-water",
        {"face cream": 189, "serum": 229, "cleanser": 99, "sheet masks, 10 pack": 129, "hand balm": 59},
    ),
    "Clothing": (
        "Merino|Relaxed|Organic-cotton|Brushed|Cropped|Stretch",
        {"cardigan": 369, "crew-neck tee": 129, "overshirt": 299, "joggers": 199, "wrap coat": 899},
    ),
    "Shoes": (
        "Trail|Knit|Canvas|Cushioned|Suede|Wide-fit",
        {"running shoes": 549, "slip-ons": 259, "sneakers": 399, "walking boots": 629, "loafers": 459},
    ),
    "Snacks": (
        "Sea-salt|Honey-roasted|Sichuan-pepper|Dark-chocolate|Small-batch|Freeze-dried",
        {"almonds": 49, "cashews": 59, "mango slices": 39, "rice crackers": 29, "granola bars": 45},
    ),
    "Desk": (
        "Low-profile|Matte|Aluminium|Adjustable|Magnetic|Bamboo",
        {"keyboard": 449, "laptop stand": 189, "mouse": 199, "monitor arm": 329, "desk lamp": 259},
    ),
    "Toys": (
        "Wooden|Pocket|Glow-in-the-dark|Build-your-own|Story-telling|Giant",
        {"train set": 239, "puzzle": 89, "robot": 329, "marble run": 199, "star projector": 149},
    ),
}
"""Category: (qualifiers that fit all of its nouns, nouns with a typical price in yuan)."""

COLOURS = ("", " in sage", " in charcoal", " in sand", " in rust", " in navy", " in cream", " in plum")
_FIRST = "Harbour|Willow|North|Copper|Lantern|Plum|River|Cloud|Maple|Stone|Orchid|Amber|Moss|Crane|Silk|Juniper"
_LAST = "Pine|Lane|House|Studio|Yard|Works|Field|Bridge|Gate|Market|Mill|Garden|Terrace|Row|Quay|Arch"


@dataclass(frozen=True, slots=True)
class Good:
    """One product as its merchant would enrol it. price: minor units."""

    product: str
    merchant: str
    title: str
    category: str
    price: int


def make_goods(count: int, rng: np.random.Generator) -> tuple[Good, ...]:
    """count goods with distinct ids; titles are distinct up to about 2,500, then a number is added.

    Each merchant keeps to one category. Prices lie about the noun's own, lognormal with sigma 0.3.
    """
    shelf = [
        (category, f"{qualifier} {noun}", yuan)
        for category, (qualifiers, nouns) in SHELVES.items()
        for qualifier, (noun, yuan) in product(qualifiers.split("|"), nouns.items())
    ]
    order = rng.permutation(len(shelf))
    merchants = _merchants(max(2, min(20, count // 100)), rng)
    goods = []
    for number in range(count):
        turn, place = divmod(number, len(shelf))
        category, name, yuan = shelf[order[place]]
        again, colour = divmod(turn, len(COLOURS))
        title = name + COLOURS[colour] + (f", edition {again + 1}" if again else "")
        sellers = merchants[category]
        goods.append(
            Good(
                product=f"p{number + 1:04d}",
                merchant=sellers[int(rng.integers(len(sellers)))],
                title=title,
                category=category,
                price=_price(yuan, rng),
            )
        )
    return tuple(goods)


def _merchants(per_category: int, rng: np.random.Generator) -> dict[str, list[str]]:
    names = [f"{first}-{last}".lower() for first, last in product(_FIRST.split("|"), _LAST.split("|"))]
    chosen = iter(rng.permutation(len(names)).tolist())
    return {category: [names[next(chosen)] for _ in range(per_category)] for category in SHELVES}


def _price(yuan: int, rng: np.random.Generator) -> int:
    """A price near yuan that ends in 9 yuan, in minor units."""
    tens = round(yuan * float(rng.lognormal(0.0, 0.3)) / 10)
    return max(tens * 10 - 1, 9) * 100

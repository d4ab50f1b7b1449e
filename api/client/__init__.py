"""Saima from Python: read, follow and report the slots of one venue, or follow a merchant's standings.

It has the habits of saima-client.js: what is sent again has the same name and counts once, pages are of one frame, a
stream that ends is taken up where it was. It needs httpx2, and nothing else of Saima's: the folder can also be copied.

    venue = Venue("https://saima.example", "hall-1", key=os.environ["SAIMA_KEY"])
    venue.send([{"type": "click", "product": "p-1001"}])
    for board in venue.follow():
        print([slot["product"] for slot in board["slots"]])
"""

from api.client.awaited import AsyncMerchant, AsyncVenue
from api.client.boards import Board, Slot, applied, name_of
from api.client.flows import Event, Receipt, Refused, SaimaError
from api.client.plain import Merchant, Venue
from api.client.standings import Row, Standings, standings_applied

__all__ = [
    "AsyncMerchant",
    "AsyncVenue",
    "Board",
    "Event",
    "Merchant",
    "Receipt",
    "Refused",
    "Row",
    "SaimaError",
    "Slot",
    "Standings",
    "Venue",
    "applied",
    "name_of",
    "standings_applied",
]

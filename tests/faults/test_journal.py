"""The journal's own recount, on which the verdict of the kills rests."""

from __future__ import annotations

from tests.faults.senders import Event, Journal


def test_event_with_an_id_counts_once_in_whatever_batch_it_comes() -> None:
    journal = Journal()
    twice = Event("click", "a", id="x")
    journal.acknowledge((twice, Event("click", "a")))
    journal.acknowledge((Event("cart", "a", id="x"), twice, twice))
    counts, _ = journal.recount()
    assert counts == {("click", "a"): 2, ("cart", "a"): 1}
    assert journal.events == 5


def test_events_without_an_id_all_count() -> None:
    journal = Journal()
    journal.acknowledge((Event("pay", "a", 5), Event("pay", "a", 5)))
    counts, amounts = journal.recount()
    assert (counts["pay", "a"], amounts["pay", "a"]) == (2, 10)


def test_refund_takes_its_payment_back_once_and_is_itself_counted() -> None:
    journal = Journal()
    refund = Event("refund", "a", id="x")
    journal.acknowledge((Event("pay", "a", 7, "x"), Event("pay", "a", 5, "y")))
    journal.acknowledge((refund,))
    journal.acknowledge((refund, Event("pay", "a", 7, "x")))
    counts, amounts = journal.recount()
    assert (counts["pay", "a"], counts["refund", "a"]) == (1, 1)
    assert (amounts["pay", "a"], amounts["refund", "a"]) == (5, 0)

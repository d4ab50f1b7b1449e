"""The race as its last commit left it: checkpoints, the log after them, and what makes up for either if damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from racing.entries import Entry
from racing.errors import CorruptRecordError, FencedError
from racing.model import START, Position
from racing.race import Race
from racing.store import reads
from racing.store.checkpoints import Chain, check_name, misnamed
from racing.store.commit import CommitRecord, log_damage, read_commit
from racing.store.keys import VenueKeys
from racing.store.log import first_position
from racing.store.mend import both, mend
from racing.store.past import Past
from racing.store.protocol import SyncClient
from racing.store.sets import SetWriter, everything

log = structlog.get_logger("saima.scorer")


def restore(
    client: SyncClient,
    keys: VenueKeys,
    record: CommitRecord,
    *,
    segments: Path | None = None,
    check_sets: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[Race, Chain, SetWriter]:
    """The race as the commit record left it: last full checkpoint, its parts, and the log after them.

    A damaged checkpoint is passed over for the oldest sound one, the log making up for it, or for segment files. The
    log is told from what was committed by its checksum: segment files make up for damaged entries that they hold, the
    others are passed over and counted. Raises StoreError where neither suffices. check_sets: compare the sorted sets,
    and write them anew where one is wrong; FencedError where that cannot be told, for another owner has taken over.
    """
    past = Past(client, keys, segments)
    race, chain = begun(client, keys, past)
    begun_at = race.position
    sets = SetWriter(keys, Position.parse(record.sets_position))
    stale = race.position > sets.complete
    lost = record.position == str(START)  # the commit record is new, or was lost: then files may hold more
    last = past.archived_until if lost else Position.parse(record.position)
    _fold_up(race, past.between(race.position, last, owner=True), sets, meanwhile)
    damage = log_damage(race.position, race.log_sum, record)
    if damage and past.archived_until > begun_at:
        log.error("log damaged, reading segment files instead", venue=keys.venue, reason=damage)
        race, chain = begun(client, keys, past)
        _fold_up(race, past.between(race.position, last), sets, meanwhile)
        damage = log_damage(race.position, race.log_sum, record)
    pending = race.take_changes()
    if damage:
        log.error("log damaged, going on with what is sound of it", venue=keys.venue, reason=damage)
    if stale or damage:
        pending = everything(race)
    check = check_sets or damage
    wrong, removals = mend(client, keys, race, pending, meanwhile=meanwhile) if check else (0, ())
    if wrong:
        if read_commit(client, keys) != record:  # then the next owner has written to them while they were read
            raise FencedError(f"venue {keys.venue}: another owner has taken over")
        log.error("sorted sets damaged, writing them anew", venue=keys.venue, members=wrong)
        pending = both(pending, everything(race))
    sets.begin(pending, race, removals)
    return race, chain, sets


def _fold_up(race: Race, past: Iterable[list[Entry]], sets: SetWriter, meanwhile: Callable[[], None]) -> None:
    """Fold batches of entries; changes up to where the sets are complete are not to be written again."""
    for entries in past:
        written = [entry for entry in entries if entry.position <= sets.complete]
        race.apply(written)
        if written:
            race.take_changes()
        race.apply(entries[len(written) :])
        meanwhile()


def begun(client: SyncClient, keys: VenueKeys, past: Past) -> tuple[Race, Chain]:
    """The race at the newest sound checkpoint that leads on to the present, and the chain that goes on from it."""
    kept = reads.checkpoints(client, keys)
    chain = Chain.of(kept, reads.checkpoint_names(client, keys)[1])
    try:
        if names := chain.latest():
            race = Race.restore([kept[name] for name in names])
            check_name(names[-1], race.position)
            return race, chain
        if not past.segments and first_position(client, keys) is None:
            return Race(), chain
    except CorruptRecordError as exc:
        log.error("checkpoint damaged, going back to a sound one", venue=keys.venue, reason=str(exc))  # noqa: TRY400  # said whole
    return past.sound_race(), Chain(strays=[*chain.strays, *misnamed(kept)])

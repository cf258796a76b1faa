"""Folds the log through the oracle in the order of the receipts, and compares each receipt and dead letter on the way.

A partition's records come in offset order, receipts in the order in which they were decided. A record that a receipt
names waits for its receipt's turn; one that no receipt names (a duplicate, a dead letter, ...) changes nothing if all
went well, and comes right after the record of the same key that stands before it in the partition.

Nothing is kept in memory of each event: numbers and letters are read along with the log, and who waits waits on a shelf.
"""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from ops.oracle import Fact, GivenReceipt, Oracle, Outcome, Record, Unreadable, event_key, take_as_given
from ops.verification.log import Partition, Readable, Reader
from ops.verification.outcomes import Outcomes, event_of
from ops.verification.report import EventAt, Report
from ops.verification.shelf import Shelf
from ops.verification.snapshot import Incoming, LetterRow, Range, ReceiptRow, Snapshot
from ops.verification.waiting import Met, OpenLog, shelf_of_followers, shelf_of_waiting
from schemas.keys import adjusting_run

UNFORESEEN: Final = "refused_by_database"
"""What Postgres refused is not in the event's own bytes: nobody else can tell."""

NOTHING_COMES: Final = Incoming(2**63, 0, 0)


class Folding:
    """One pass over the log. What it finds about receipts, dead letters and rosters' records goes to `report`."""

    def __init__(
        self,
        snapshot: Snapshot,
        reader: Reader,
        readable: Mapping[Partition, Readable],
        oracle: Oracle,
        report: Report,
        at_once: Shelf[Record],
    ) -> None:
        self._snapshot = snapshot
        self._reader = reader
        self._oracle = oracle
        self._report = report
        self._outcomes = Outcomes(report)
        self._at_once = at_once
        self._found_apart = snapshot.found_apart()
        ranges = [Range(*where, part.log_id, part.stretch.start, part.stretch.end) for where, part in readable.items()]
        self._numbers = snapshot.numbers(ranges)
        self._logs: dict[tuple[str | None, int | None], OpenLog] = {
            where: OpenLog(place, part, snapshot.letters(part))
            for place, (where, part) in enumerate(zip(readable, ranges, strict=True))
        }
        self._waiting = shelf_of_waiting()
        self._followers = shelf_of_followers()
        self._reached = 0
        self._incoming = snapshot.incoming()
        self._next_in = next(self._incoming, NOTHING_COMES)
        self.taken: defaultdict[int, int] = defaultdict(int)
        """By user, the credits that came from users of other shares."""
        self.letters = 0
        """Dead letters that were met by their records."""
        self.passed_over = 0
        """Dead letters that were not: of the share's records none, and of others' it is not ours to say."""
        self.unrecorded: dict[int, EventAt] = {}
        """Numbers given to events that should have a receipt and have none, all below zero."""
        self.opaque: list[int] = []
        """Numbers of receipts that are of no event."""

    def run(self) -> None:
        """Fold everything."""
        with closing(self._numbers), closing(self._waiting), closing(self._followers):
            self._fold_receipts()
            self._take_in(NOTHING_COMES.seq)
            self._fold_the_rest()

    def _fold_receipts(self) -> None:
        receipts = 0
        for receipt in self._snapshot.receipts():
            receipts += 1
            if self._next_in.seq < receipt.seq:
                self._take_in(receipt.seq)
            self._reached = receipt.seq
            log = self._log_of(receipt)
            if log is None:
                self._apply_without_record(receipt)
            else:
                met = self._record_of(log, receipt)
                if met is None:
                    self._outcomes.differ_receipt(receipt, "a committed record at its coordinates", "none")
                else:
                    self._apply(met, receipt)
            for met in self._followers.pop((receipt.seq,)) or ():
                self._apply(met, None)
        self._report.count("reward_receipts", receipts)

    def _fold_the_rest(self) -> None:
        for log in self._logs.values():
            while (record := self._reader.next(log.where)) is not None:
                self._route(log, self._meet(log, record))
            while log.letter is not None:
                self._differ_unmet(log.take_letter())
        for _, followers in self._followers.sorted_by("number"):
            for met in followers:
                self._apply(met, None)
        for _, (_, letter) in self._waiting.sorted_by("position"):
            if letter is not None:
                self._differ_unmet(letter)

    def _take_in(self, before: int) -> None:
        """Take over what others' receipts with lower numbers gave: whether they do so rightly is found by their shares."""
        while self._next_in.seq < before:
            _, user_id, amount = self._next_in
            self._oracle.user(user_id).credits += amount
            self.taken[user_id] += amount
            self._next_in = next(self._incoming, NOTHING_COMES)

    # The order.

    def _log_of(self, receipt: ReceiptRow) -> OpenLog | None:
        """The log of the record that the receipt names; None where it names none, or none that can be read."""
        log = self._logs.get((receipt.topic, receipt.partition))
        if log is None or receipt.offset is None:
            return None
        return log if log.part.log_id == receipt.log_id and log.part.start <= receipt.offset else None

    def _record_of(self, log: OpenLog, receipt: ReceiptRow) -> Met | None:
        seq, offset = receipt.seq, receipt.offset
        assert offset is not None
        waiting = self._waiting.pop((log.place, offset))
        if waiting is not None:
            key = waiting[0].key
            if log.latest.get(key) == seq:
                del log.latest[key]
            return waiting
        while (record := self._reader.next(log.where)) is not None:
            met = self._meet(log, record)
            if record.offset == offset:
                log.latest.pop(record.key, None)
                return met
            self._route(log, met)
            if record.offset > offset:
                return None
        return None

    def _meet(self, log: OpenLog, record: Record) -> Met:
        """The record with its dead letter. Those before it are of records that are not there."""
        self._report.events += 1
        while log.letter is not None and log.letter.offset < record.offset:
            self._differ_unmet(log.take_letter())
        if log.letter is not None and log.letter.offset == record.offset:
            self.letters += 1
            return record, log.take_letter()
        return record, None

    def _route(self, log: OpenLog, met: Met) -> None:
        """Let a record wait for its receipt, or follow the one before it of its key, or apply it now."""
        record, _ = met
        seq = self._numbers.at(log.place, record.offset)
        if seq:
            log.latest[record.key] = max(seq, log.latest.get(record.key, 0))
            self._waiting[log.place, record.offset] = met
            return
        after = log.latest.get(record.key, 0)
        if after > self._reached:
            self._follow(after, met)
        else:
            self._apply(met, None)

    def _follow(self, seq: int, met: Met) -> None:
        followers = self._followers.get((seq,)) or []
        followers.append(met)
        self._followers[seq,] = followers

    # One record.

    def _apply(self, met: Met, receipt: ReceiptRow | None) -> None:
        record, letter = met
        if letter is not None and letter.reason == UNFORESEEN and receipt is None:
            self._report.unverifiable += 1
            return
        try:
            fact = self._oracle.read(record)
        except Unreadable as unreadable:
            self._outcomes.compare(
                record, Outcome("dead_letter", unreadable.reason, unreadable.detail), receipt, letter
            )
            return
        if fact.kind == "roster":
            self._outcomes.compare(record, self._oracle.apply_roster(fact, record), receipt, letter)
            return
        judgement = self._oracle.judge(fact)
        seq = receipt.seq if receipt else None
        if judgement in ("first", "correction") and receipt is None:
            elsewhere = self._receipt_elsewhere(fact, judgement)
            if elsewhere is not None and elsewhere > self._reached:
                self._follow(elsewhere, met)
                return
            seq = -len(self.unrecorded) - 1
            self.unrecorded[seq] = event_of(record)
        elif judgement == "remembered" and letter is not None and letter.reason == "conflict":
            source = self._oracle.source(fact)
            if source is not None and not source.adopted:
                self._report.unverifiable += 1
                return
        self._expect_levels(receipt)
        self._watch(fact, receipt)
        outcome = self._oracle.apply_fact(fact, judgement, seq, receipt.ruleset if receipt else None)
        self._outcomes.compare(record, outcome, receipt, letter, fact.user_id)

    def _receipt_elsewhere(self, fact: Fact, judgement: str) -> int | None:
        """The number of the receipt that stands for a fact that came by HTTP, or on another partition."""
        key = event_key(fact)
        return self._snapshot.receipt_number(key if judgement == "first" else f"{key}_r{fact.revision}")

    def _apply_without_record(self, receipt: ReceiptRow) -> None:
        """Decide again what was applied at once, and follow a run that adjusted what a known payload gave.

        Whatever else no record says is taken as given.
        """
        record = self._at_once.get((receipt.event_key,))
        if record is not None:
            self._decide_again(record, receipt)
            return
        run = adjusting_run(receipt.event_key, receipt.corrects)
        if run is None or receipt.corrects is None or receipt.ruleset is None:
            self._take_as_given(receipt)
            return
        self._expect_levels(receipt)
        expected = self._oracle.adjust(receipt.corrects, receipt.user_id, run, receipt.ruleset, receipt.seq)
        if expected is None:
            self._take_as_given(receipt)
        else:
            self._outcomes.compare_receipt(expected, receipt, None)

    def _decide_again(self, record: Record, receipt: ReceiptRow) -> None:
        """Hold the receipt of what was applied at once against its record, which comes by in its topic later on."""
        apart = self._found_apart.get(receipt.event_key)
        if apart is not None:
            self._oracle.find_apart(receipt.user_id, *apart)
        self._expect_levels(receipt)
        fact = self._oracle.read(record)
        self._watch(fact, receipt)
        outcome = self._oracle.apply_fact(fact, self._oracle.judge(fact), receipt.seq, receipt.ruleset)
        if outcome.receipt is None:
            self._outcomes.differ_receipt(receipt, None, outcome.kind)
        else:
            self._outcomes.compare_receipt(outcome.receipt, receipt, record)

    def _expect_levels(self, receipt: ReceiptRow | None) -> None:
        """Tell the oracle where the event at hand left the levels, as long as it cannot know them all."""
        if self._oracle.unsettled:
            levels = receipt.grant.get("levels", ()) if receipt else ()
            self._oracle.settled_at = {specialization: level for specialization, _, level in levels}

    def _watch(self, fact: Fact, receipt: ReceiptRow | None) -> None:
        """Tell the oracle of a command that was obeyed: what it moved is part of what Postgres holds."""
        if fact.kind == "command" and receipt is not None and "refused" not in receipt.grant:
            self._oracle.watch(fact)

    def _take_as_given(self, receipt: ReceiptRow) -> None:
        self._report.unverifiable += 1
        given = GivenReceipt(
            receipt.seq,
            receipt.event_key,
            receipt.corrects or receipt.event_key,
            receipt.user_id,
            receipt.revision,
            receipt.ruleset,
            receipt.occurred_us,
            receipt.grant,
            receipt.origin == "adopted",
        )
        if not take_as_given(self._oracle, given):
            self.opaque.append(receipt.seq)

    def _differ_unmet(self, letter: LetterRow) -> None:
        if not self._snapshot.share.is_all:
            self.passed_over += 1
            return
        at = EventAt(letter.topic, letter.partition, letter.offset)
        self._outcomes.differ_letter(at, None, letter.reason, letter.user_id)

"""Credit transfers: from one user's balance to another's, whole or not at all. Decided once for each of a sender's keys."""

from schemas.events import CreditTransfer
from schemas.keys import make_key, transfer_source
from schemas.rewards import CreditEntry, Decision, Grant, Source, UserState
from schemas.ruleset import Ruleset
from streams.rules.sources import ONLY_REVISION, recognise


def transfer_key(event: CreditTransfer) -> str:
    """The event key of the transfer's receipt."""
    return make_key("transfer", _source(event), "transfer", event.sender_id)


def decide_transfer(state: UserState, event: CreditTransfer, payload_hash: bytes, ruleset: Ruleset) -> Decision:
    """The two legs of the transfer, or none where the sender's balance does not cover it; final either way."""
    key = transfer_key(event)
    recorded = state.sources.get(key)
    if recorded is not None and (repeat := recognise(recorded, ONLY_REVISION, payload_hash, key)) is not None:
        return repeat
    covered = state.credit_balance >= event.amount
    return Grant(
        event_key=key,
        source_after=Source(ONLY_REVISION, payload_hash, ruleset.hash),
        credits=_legs(event) if covered else (),
        transfer="COMPLETED" if covered else "REJECTED",
    )


def _legs(event: CreditTransfer) -> tuple[CreditEntry, CreditEntry]:
    source = _source(event)
    debit = make_key("transfer", source, "debit", event.sender_id)
    credit = make_key("transfer", source, "credit", event.receiver_id)
    return (
        CreditEntry(event.sender_id, "TRANSFER_OUT", -event.amount, debit),
        CreditEntry(event.receiver_id, "TRANSFER_IN", event.amount, credit),
    )


def _source(event: CreditTransfer) -> str:
    return transfer_source(event.sender_id, event.idempotency_key)

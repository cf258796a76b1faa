"""The published contracts: up to date, saying what the parser does, and never broken unnoticed."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from schemas.compatibility import find_breaks
from schemas.documents import ANSWERS, EVENTS, Document, asyncapi, json_schema
from schemas.events import EVENT_TOPICS
from schemas.generate import generated, main, write
from schemas.messages import Alert, ChangedRows, RecordedEntry
from tests.schemas.examples import MINIMAL, MISSING, members
from tests.schemas.test_limits import ACCEPTED, REFUSED

NAMES = {kind: name for name, kind in EVENTS.items()}


def test_the_committed_documents_are_up_to_date_and_break_nothing() -> None:
    assert main(["--check"]) == 0


def schema_of(topic: str) -> Document:
    kind = EVENT_TOPICS[topic]
    return json_schema(NAMES[kind], kind)


def valid(document: Document, instance: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(document).is_valid(instance))


@pytest.mark.parametrize("name", [*EVENTS, *ANSWERS])
def test_every_document_is_a_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(name, {**EVENTS, **ANSWERS}[name]))


def test_what_the_parser_accepts_its_schema_accepts() -> None:
    for topic, changes in ACCEPTED:
        assert valid(schema_of(topic), members(topic, **changes)), (topic, changes)


BEYOND_A_SCHEMA: tuple[Callable[[str, dict[str, Any]], bool], ...] = (
    lambda _topic, changes: any(isinstance(value, float) and value.is_integer() for value in changes.values()),
    lambda _topic, changes: any(isinstance(value, str) and "\0" in value for value in changes.values()),
    lambda _topic, changes: isinstance(changes.get("specialization"), str),
    lambda _topic, changes: (
        changes in ({"placement": 9, "participants": 8}, {"receiver_id": 5}, {"user_ids": [1, 2.0]})
    ),
    lambda _topic, changes: any(isinstance(value, str) and value.endswith("\n") for value in changes.values()),
    lambda _topic, changes: changes == {"skills": [{"name": "a\n"}]},
)
"""What JSON Schema cannot say: 5.0 is an integer to it, `$` may stand before a last line break in Python's `re`,
specializations are the database's, and rules between fields are words in a description."""


def test_what_the_parser_refuses_its_schema_refuses_where_a_schema_can() -> None:
    refused = [
        (topic, changes)
        for topic, changes, _ in REFUSED
        if not any(beyond(topic, changes) for beyond in BEYOND_A_SCHEMA)
    ]
    assert len(refused) > 140
    for topic, changes in refused:
        assert not valid(schema_of(topic), members(topic, **changes)), (topic, changes)


def test_what_we_send_its_schema_accepts() -> None:
    sent: list[tuple[type, bytes]] = [
        (
            RecordedEntry,
            (
                b'{"kind":"recorded","event_key":"session_1_presence_5","seq":1,"user_id":5,"revision":1,"origin":"event",'
                b'"topic":null,"occurred_at":"2024-05-01T10:00:00Z","grant":{"xp":[["SESSION_ATTENDANCE","PLAYER",20]],'
                b'"counted":["PLAYER",1,0,1],"badge":"CHAMPION","levels":[["PLAYER",1,2]]}}'
            ),
        ),
        (ChangedRows, b'{"kind":"changed","table":"users","operation":"UPDATE","user_ids":[5],"truncated":false}'),
        (
            Alert,
            (
                b'{"fingerprint":"f","kind":"INV-R01","subject":"user 5","severity":"critical","status":"firing",'
                b'"labels":{"user":"5"},"annotations":{},"first_seen":"2024-05-01T10:00:00Z",'
                b'"last_seen":"2024-05-01T10:00:00Z","resolved_at":null,"count":1}'
            ),
        ),
    ]
    names = {kind: name for name, kind in ANSWERS.items()}
    for kind, value in sent:
        document = json_schema(names[kind], kind)
        assert valid(document, json.loads(value))
        again = msgspec.json.encode(msgspec.json.decode(value, type=kind))
        assert valid(document, json.loads(again))
        assert not valid(document, json.loads(value) | {"kind": 5})


def change(document: Document, path: str, **changes: Any) -> Document:
    """`document` with members of the schema at `path` changed; `MISSING` takes one away."""
    changed = copy.deepcopy(document)
    target: Any = changed
    for part in path.split("/") if path else []:
        target = target[int(part)] if isinstance(target, list) else target[part]
    for name, value in changes.items():
        if value is MISSING:
            del target[name]
        else:
            target[name] = value
    return changed


RESULT = schema_of("tournament-results")
FIELDS = RESULT["properties"]
ALERT = json_schema("alert.v1", Alert)

BROKEN_FOR_PUBLISHERS: list[tuple[str, Document, str]] = [
    ("a new required field", change(RESULT, "", required=[*RESULT["required"], "placement"]), "placement"),
    ("a larger minimum", change(RESULT, "properties/user_id", minimum=2), "user_id"),
    ("a smaller maximum", change(RESULT, "properties/revision", maximum=99), "revision"),
    ("a smaller maximum of what may be null", change(RESULT, "properties/placement/anyOf/0", maximum=9), "placement"),
    ("fewer characters", change(RESULT, "properties/event_id", maxLength=64), "event_id"),
    ("more characters", change(RESULT, "properties/event_id", minLength=2), "event_id"),
    ("fewer elements", change(RESULT, "properties/skills", maxItems=31), "skills"),
    ("a limit where there was none", change(RESULT, "properties/specialization", maxLength=50), "specialization"),
    ("another pattern", change(RESULT, "$defs/Skill/properties/name", pattern="^[a-z]+$"), "skills[].name"),
    ("a pattern where there was none", change(RESULT, "properties/event_id", pattern="^r"), "event_id"),
    ("distinct elements", change(RESULT, "properties/skills", uniqueItems=True), "skills"),
    ("a value less", change(RESULT, "properties/status", enum=["final"]), "status"),
    ("values where all were allowed", change(RESULT, "properties/specialization", enum=["PLAYER"]), "specialization"),
    ("another type", change(RESULT, "properties", user_id={"type": "string"}), "user_id"),
    ("another type of element", change(RESULT, "properties/skills", items={"type": "string"}), "skills[]"),
    ("null no more", change(RESULT, "properties", placement=FIELDS["placement"]["anyOf"][0]), "placement"),
    ("an integer where it was a number", change(RESULT, "$defs/Skill/properties/performance/anyOf/0", type="integer"),
     "skills[].performance"),
    ("a field removed", change(RESULT, "properties", participants=MISSING), "participants"),
    ("a field of an element removed", change(RESULT, "$defs/Skill/properties", performance=MISSING),
     "skills[].performance"),
    ("another default", change(RESULT, "properties/specialization", default="COACH"), "specialization"),
    ("no default", change(RESULT, "properties/revision", default=MISSING), "revision"),
]  # fmt: skip

BROKEN_FOR_CONSUMERS: list[tuple[str, Document, str]] = [
    ("a field that may be missing", change(ALERT, "", required=ALERT["required"][1:]), ALERT["required"][0]),
    ("a new value", change(ALERT, "properties/severity", enum=["critical", "warning", "info", "fatal"]), "severity"),
    ("null where it never was", change(ALERT, "properties", subject={"anyOf": [{"type": "string"}, {"type": "null"}]}),
     "subject"),
    ("another type", change(ALERT, "properties", count={"type": "string"}), "count"),
    ("another type of label", change(ALERT, "properties/labels", additionalProperties={"type": "integer"}), "labels.*"),
    ("a wider limit", change(ALERT, "properties/fingerprint", maxLength=65), "fingerprint"),
    ("no limit", change(ALERT, "properties/fingerprint", maxLength=MISSING), "fingerprint"),
    ("another form", change(ALERT, "properties/first_seen", format=MISSING), "first_seen"),
    ("a field removed", change(ALERT, "properties", subject=MISSING), "subject"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("_name", "new", "field"), BROKEN_FOR_PUBLISHERS, ids=[row[0] for row in BROKEN_FOR_PUBLISHERS]
)
def test_what_breaks_publishers_is_found(_name: str, new: Document, field: str) -> None:
    assert field in {broken.partition(": ")[0] for broken in find_breaks(RESULT, new, "read")}


@pytest.mark.parametrize(("_name", "new", "field"), BROKEN_FOR_CONSUMERS, ids=[row[0] for row in BROKEN_FOR_CONSUMERS])
def test_what_breaks_consumers_is_found(_name: str, new: Document, field: str) -> None:
    assert field in {broken.partition(": ")[0] for broken in find_breaks(ALERT, new, "sent")}


WIDER: list[tuple[str, Document]] = [
    ("nothing", RESULT),
    ("an optional field", change(RESULT, "properties", venue={"type": "string", "default": ""})),
    ("wider limits", change(RESULT, "properties/event_id", maxLength=256, minLength=0)),
    ("no limits", change(RESULT, "properties/skills", maxItems=MISSING)),
    ("a new value", change(RESULT, "properties/status", enum=["final", "withdrawn", "abandoned"])),
    ("null allowed", change(RESULT, "properties", user_id={"anyOf": [{"type": "null"}, FIELDS["user_id"]]})),
    ("no longer required", change(RESULT, "", required=RESULT["required"][1:])),
    ("other words", change(RESULT, "properties/specialization", description="x", examples=[])),
    ("a number where it was an integer", change(RESULT, "properties/user_id", type="number")),
]


@pytest.mark.parametrize(("_name", "new"), WIDER, ids=[name for name, _ in WIDER])
def test_what_only_widens_what_is_read_breaks_nothing(_name: str, new: Document) -> None:
    assert find_breaks(RESULT, new, "read") == []


def test_a_new_field_and_a_narrower_limit_break_nobody_who_listens() -> None:
    new = change(ALERT, "properties", source={"type": "string"})
    assert find_breaks(ALERT, change(new, "properties/fingerprint", maxLength=32), "sent") == []


def test_generating_refuses_to_overwrite_what_it_would_break(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = generated()
    documents["json/tournament-result.v1.json"] = change(RESULT, "properties/event_id", maxLength=999)
    write(documents, tmp_path)
    assert main([], tmp_path) == 1
    assert "breaks tournament-result.v1: event_id: maxLength" in capsys.readouterr().err
    assert (
        json.loads((tmp_path / "json/tournament-result.v1.json").read_text())["properties"]["event_id"]["maxLength"]
        == 999
    )


def test_generating_refuses_to_forget_a_published_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write({**generated(), "json/tournament-result.v0.json": RESULT}, tmp_path)
    assert main([], tmp_path) == 1
    assert "tournament-result.v0" in capsys.readouterr().err


def test_a_document_that_says_something_else_is_out_of_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = generated()
    documents["json/tournament-result.v1.json"] = change(RESULT, "properties/event_id", maxLength=64)
    write(documents, tmp_path)
    (tmp_path / "asyncapi.json").unlink()
    assert main(["--check"], tmp_path) == 1
    said = capsys.readouterr().err
    assert "out of date: schemas/json/tournament-result.v1.json" in said
    assert "out of date: schemas/asyncapi.json" in said
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


def references(document: Any) -> Iterator[str]:
    match document:
        case {"$ref": str(target)}:
            yield target
        case dict():
            for value in document.values():
                yield from references(value)
        case list():
            for item in document:
                yield from references(item)


def resolved(document: Document, reference: str) -> Any:
    target: Any = document
    for part in reference.removeprefix("#/").split("/"):
        target = target[part]
    return target


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()
    for reference in references(document):
        assert resolved(document, reference)


def test_the_asyncapi_document_has_every_topic() -> None:
    letters = {f"{topic}.dlq" for topic in EVENT_TOPICS}
    assert set(asyncapi()["channels"]) == set(EVENT_TOPICS) | letters | {"reward-entries", "reward-alerts"}
    received = {each["channel"]["$ref"] for each in asyncapi()["operations"].values() if each["action"] == "receive"}
    assert received == {f"#/channels/{topic}" for topic in EVENT_TOPICS}


@pytest.mark.parametrize("topic", sorted(EVENT_TOPICS))
def test_the_asyncapi_document_describes_each_topics_events(topic: str) -> None:
    document = asyncapi()
    (message,) = document["channels"][topic]["messages"].values()
    payload = resolved(document, message["$ref"])["payload"]
    whole = {**payload, "components": document["components"]}
    assert valid(whole, MINIMAL[topic])
    assert not valid(whole, {})

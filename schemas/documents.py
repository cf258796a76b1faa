"""The contracts as documents, made from the structs: a JSON Schema per message and version, and one AsyncAPI document.

Rules between fields, and what a schema cannot say of JSON itself, stand in the descriptions; `schemas.parse` decides.
"""

import inspect
from typing import Any, Final

import msgspec

from schemas.cloudevents import MESSAGE_TYPES
from schemas.events import (
    CREDIT_TRANSFERS,
    EVENT_TOPICS,
    LEVEL_COMMANDS,
    REWARD_ALERTS,
    REWARD_ENTRIES,
    SESSION_ATTENDANCE,
    TOURNAMENT_RESULTS,
    TOURNAMENT_ROSTERS,
    CreditTransfer,
    LevelCommand,
    SessionAttendance,
    TournamentResult,
    TournamentRoster,
    dead_letter_topic,
)
from schemas.messages import Alert, ChangedRows, RecordedEntry

Document = dict[str, Any]

EVENTS: Final[dict[str, type]] = {
    "tournament-result.v1": TournamentResult,
    "session-attendance.v1": SessionAttendance,
    "level-command.v1": LevelCommand,
    "credit-transfer.v1": CreditTransfer,
    "tournament-roster.v1": TournamentRoster,
}
"""What is read, by name and version."""

ANSWERS: Final[dict[str, type]] = {
    "recorded-entry.v1": RecordedEntry,
    "changed-rows.v1": ChangedRows,
    "alert.v1": Alert,
}
"""What is sent, by name and version."""

RULES_BETWEEN_FIELDS: Final[dict[type, str]] = {
    TournamentResult: "`placement` is at most `participants` when both are known. A skill named twice counts once.",
    SessionAttendance: "A skill named twice counts once.",
    LevelCommand: "Without `new_level`, one of the changes is not 0.",
    CreditTransfer: "`receiver_id` is not `sender_id`.",
}

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
VERSION_FIELD: Final[Document] = {"enum": [1], "default": 1, "description": "Of the event's form."}

_USER_KEY: Final = "The decimal user id."
_KEYS: Final[dict[str, str]] = {
    TOURNAMENT_RESULTS: _USER_KEY,
    SESSION_ATTENDANCE: _USER_KEY,
    LEVEL_COMMANDS: _USER_KEY,
    CREDIT_TRANSFERS: "The decimal `sender_id`.",
    TOURNAMENT_ROSTERS: "The decimal `tournament_id`.",
    REWARD_ENTRIES: "The decimal user id; of several changed users the lowest, 0 where they are too many to list.",
    REWARD_ALERTS: "The alert's fingerprint.",
}


def json_schema(name: str, kind: type) -> Document:
    """The JSON Schema of one message."""
    (root,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    del root
    own = _tidied(parts.pop(kind.__name__))
    document = {"$schema": DIALECT, "$id": f"urn:laurels:{name}", **own}
    if name in EVENTS:
        document["description"] = " ".join([document["description"], RULES_BETWEEN_FIELDS.get(kind, "")]).strip()
        document["properties"] = {**own["properties"], "version": VERSION_FIELD}
    if parts:
        document["$defs"] = {part: _tidied(schema) for part, schema in sorted(parts.items())}
    return document


def _tidied(schema: Any) -> Any:
    """`schema` as JSON: patterns as JavaScript writes them, descriptions without the indentation of the source."""
    match schema:
        case dict():
            tidy = {name: _tidied(value) for name, value in schema.items()}
            if isinstance(tidy.get("pattern"), str):
                tidy["pattern"] = tidy["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
            if isinstance(tidy.get("description"), str):
                tidy["description"] = " ".join(inspect.cleandoc(tidy["description"]).split())
            return tidy
        case list() | tuple():
            return [_tidied(item) for item in schema]
    return schema


def asyncapi() -> Document:
    """The AsyncAPI document of every topic that is read or written."""
    channels, operations = {}, {}
    for topic, kind in EVENT_TOPICS.items():
        channels[topic] = _channel(topic, [kind.__name__], "Kept forever.", {"retention.ms": -1})
        operations[f"read-{topic}"] = _operation("receive", topic, "Applied exactly once.")
        letters = dead_letter_topic(topic)
        channels[letters] = _channel(letters, ["DeadLetter"], f"What of {topic} can never be applied.", {})
        operations[f"send-{letters}"] = _operation("send", letters, "Once per record; a repetition has the same id.")
    channels[REWARD_ENTRIES] = _channel(REWARD_ENTRIES, ["RecordedEntry", "ChangedRows"], "In order per user.", {})
    channels[REWARD_ALERTS] = _channel(
        REWARD_ALERTS, ["Alert"], "The last word on each alert.", {"cleanup.policy": ["compact"]}
    )
    operations[f"send-{REWARD_ENTRIES}"] = _operation("send", REWARD_ENTRIES, "Every change of the reward tables.")
    operations[f"send-{REWARD_ALERTS}"] = _operation("send", REWARD_ALERTS, "Firing, as a heartbeat, and resolved.")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Laurels",
            "version": "1.0.0",
            "description": "Events in, rewards out. Publishers partition by murmur2 of the key, as Java does.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages(), "schemas": _schemas(), "messageTraits": {"cloudEvent": _cloud_event()}},
    }


def _channel(topic: str, messages: list[str], description: str, configuration: Document) -> Document:
    bindings = {"kafka": {"topicConfiguration": configuration, "bindingVersion": "0.5.0"}} if configuration else {}
    return {
        "address": topic,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": bindings,
    }


def _operation(action: str, topic: str, summary: str) -> Document:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic}"}, "summary": summary}


def _messages() -> Document:
    topics: dict[type, str] = {kind: topic for topic, kind in EVENT_TOPICS.items()}
    topics |= {RecordedEntry: REWARD_ENTRIES, ChangedRows: REWARD_ENTRIES, Alert: REWARD_ALERTS}
    messages = {kind.__name__: _message(kind, topics[kind]) for kind in (*EVENTS.values(), *ANSWERS.values())}
    messages["DeadLetter"] = {
        "name": "DeadLetter",
        "summary": "The record as it was, key, value and headers, with headers that say where it stood and why.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "properties": {f"__connect.errors.{name}": _header(said) for name, said in _ERRORS.items()},
        },
        "bindings": {"kafka": {"key": {"description": "The record's own."}, "bindingVersion": "0.5.0"}},
    }
    return messages


_ERRORS: Final = {
    "message.id": "The same for every repetition.",
    "topic": "Where the record stood.",
    "partition": "Where the record stood.",
    "offset": "Where the record stood.",
    "log.id": "The cluster's and the topic's own ids.",
    "exception.class.name": "The reason, for instance invalid_event.",
    "exception.message": "The reason in words; for invalid_event it names the field.",
}


def _message(kind: type, topic: str) -> Document:
    bindings = {"key": {"type": "string", "description": _KEYS[topic]}, "bindingVersion": "0.5.0"}
    return {
        "name": MESSAGE_TYPES[kind],
        "title": kind.__name__,
        "summary": inspect.cleandoc(kind.__doc__ or "").partition("\n")[0],
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "bindings": {"kafka": bindings},
        "traits": [{"$ref": "#/components/messageTraits/cloudEvent"}],
    }


def _schemas() -> Document:
    """Every JSON Schema once more, as components that refer to each other within the document."""
    schemas: Document = {}
    for name, kind in {**EVENTS, **ANSWERS}.items():
        document = json_schema(name, kind)
        parts = document.pop("$defs", {})
        schemas |= {part: _referring_here(schema) for part, schema in parts.items()}
        schemas[kind.__name__] = _referring_here(
            {member: value for member, value in document.items() if member not in ("$schema", "$id")}
        )
    return dict(sorted(schemas.items()))


def _referring_here(schema: Any) -> Any:
    match schema:
        case {"$ref": str(target)}:
            return {"$ref": target.replace("#/$defs/", "#/components/schemas/")}
        case dict():
            return {name: _referring_here(value) for name, value in schema.items()}
        case list():
            return [_referring_here(item) for item in schema]
    return schema


def _header(description: str) -> Document:
    return {"type": "string", "description": description}


def _cloud_event() -> Document:
    return {
        "headers": {
            "type": "object",
            "description": "CloudEvents in binary mode. Sent on everything; not needed on what is read.",
            "properties": {
                "ce_specversion": {"type": "string", "enum": ["1.0"]},
                "ce_id": _header("The same for every repetition."),
                "ce_type": _header("The message's name."),
                "ce_source": _header("Who sent it."),
                "ce_time": {"type": "string", "format": "date-time"},
            },
        }
    }

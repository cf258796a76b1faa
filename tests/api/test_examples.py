"""What the document shows as an answer fits its own schema, and is what is answered."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from api.app import create_app
from schemas.settings import Settings
from tests.api.serving import Served

TRANSFERS = "/api/v1/transfers"
LEVELS = "/api/v1/level-commands"
SYNC = "/api/v1/licenses/admin/sync"

VARYING = {"idempotency_key", "occurred_at", "recorded_at", "applied_at", "receipt_seq", "seq", "plan_id"}
"""Members that are others each time."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings(database="postgresql://nobody@127.0.0.1:1/none")).openapi()


def examples(content: dict[str, Any]) -> dict[str, Any]:
    """Those of one answer, by name."""
    named = {name: one["value"] for name, one in content.get("examples", {}).items()}
    return named | ({"": content["example"]} if "example" in content else {})


def answers(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every answer of every operation: what it is called, and its content."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    yield f"{method.upper()} {path} {status}", content


def test_every_example_of_an_answer_fits_its_schema(document: dict[str, Any]) -> None:
    shown = set()
    for name, content in answers(document):
        schema = content["schema"] | {"components": document["components"]}
        jsonschema.Draft202012Validator.check_schema(schema)
        for code, example in examples(content).items():
            jsonschema.validate(
                example, schema, jsonschema.Draft202012Validator, format_checker=jsonschema.FormatChecker()
            )
            assert example.get("status") in {None, "COMPLETED", int(name.rpartition(" ")[2])}, name
            assert example.get("code", "") == code, name
            shown.add(name)
    assert {
        *(f"POST {TRANSFERS} {status}" for status in (201, 400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503, 504)),
        f"POST {LEVELS} 201",
        "POST /api/v1/events/{topic} 202",
        f"GET {SYNC}/desync-issues 200",
        f"POST {SYNC}/user/{{user_id}} 200",
        f"POST {SYNC}/user/{{user_id}}/all 200",
        f"POST {SYNC}/all 200",
        f"POST {SYNC}/user/{{user_id}} 404",
    } <= shown


def steady(value: Any) -> Any:
    """The same without what is another each time."""
    match value:
        case dict():
            return {name: name if name in VARYING and inner else steady(inner) for name, inner in value.items()}
        case list():
            return [steady(inner) for inner in value]
    return value


def test_the_examples_of_requests_are_answered_as_the_examples_of_answers_say(
    document: dict[str, Any], api: Served
) -> None:
    def shown(path: str, status: int, code: str = "", method: str = "post") -> Any:
        (content,) = document["paths"][path][method]["responses"][str(status)]["content"].values()
        return steady(examples(content)[code])

    def asked(path: str) -> Any:
        return document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]

    api.rich(5, 7)
    api.query(
        "INSERT INTO user_licenses (user_id, specialization_type, current_level, max_achieved_level)"
        " VALUES (5, 'COACH', 3, 3)"
    )
    api.query(
        "INSERT INTO specialization_progress (student_id, specialization_id, current_level) VALUES (5, 'COACH', 2)"
    )
    with api.client(role="admin") as client:

        def give(key: str, **changes: int) -> tuple[int, Any]:
            made = client.post(TRANSFERS, json=asked(TRANSFERS) | changes, headers={"Idempotency-Key": key})
            return made.status_code, steady(made.json())

        def ask(path: str, method: str = "POST", **values: str) -> tuple[int, Any]:
            order = asked(path) if method == "POST" else None
            made = client.request(method, path.format(**values), json=order)
            return made.status_code, steady(made.json())

        key = "rent-2026-11"
        assert give(key) == (201, shown(TRANSFERS, 201))
        assert give(key) == (409, shown(TRANSFERS, 409, "DUPLICATE_TRANSFER"))
        assert give(key, amount=26) == (422, shown(TRANSFERS, 422, "IDEMPOTENCY_KEY_REUSED"))
        assert give("k", amount=0) == (422, shown(TRANSFERS, 422, "INVALID_EVENT"))
        api.query("UPDATE users SET credit_balance = 0 WHERE id = 5")
        assert give("another") == (422, shown(TRANSFERS, 422, "INSUFFICIENT_FUNDS"))
        found = f"{SYNC}/desync-issues"
        assert ask(found, "GET") == (200, shown(found, 200, method="get"))
        assert ask(f"{SYNC}/all") == (200, shown(f"{SYNC}/all", 200))
        one = f"{SYNC}/user/{{user_id}}"
        assert ask(one, user_id="5") == (200, shown(one, 200))
        assert ask(LEVELS) == (201, shown(LEVELS, 201))

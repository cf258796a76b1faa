"""Tokens of an issuer: only its own, for us, in time, by a pinned algorithm, with a role that we know."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.api.serving import Served, serving

KEY = rsa.generate_private_key(65_537, 2_048)
OTHER = rsa.generate_private_key(65_537, 2_048)
ISSUER = "https://issuer.example"


@pytest.fixture
def issuer() -> Iterator[tuple[str, list[str]]]:
    """Where the issuer's keys are, and how often they were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            key = RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "k1", "alg": "RS256", "use": "sig"}
            body = json.dumps({"keys": [key]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/keys", asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def api(database_url: str, issuer: tuple[str, list[str]]) -> Iterator[Served]:
    with serving(database_url, jwt_issuer=ISSUER, jwt_audience="laurels", jwks_url=issuer[0]) as served:
        yield served


def token(key: Any = KEY, *, algorithm: str = "RS256", kid: str = "k1", **claims: object) -> str:
    said = {
        "iss": ISSUER,
        "aud": "laurels",
        "sub": "ada",
        "role": "viewer",
        "exp": datetime.now(UTC) + timedelta(minutes=5),
    }
    given = {name: value for name, value in (said | claims).items() if value is not None}
    return jwt.encode(given, key, algorithm, headers={"kid": kid})


def status(api: Served, given: str, path: str = "/api/v1/alerts") -> int:
    with api.client(given) as client:
        return client.get(path).status_code


def test_its_token_lets_in_as_far_as_its_role_goes(api: Served, issuer: tuple[str, list[str]]) -> None:
    assert status(api, token()) == 200
    assert status(api, token(), "/api/v1/dead-letters") == 403
    assert status(api, token(role="operator"), "/api/v1/dead-letters") == 200
    assert len(issuer[1]) == 1


def test_any_other_token_lets_nobody_in(api: Served, issuer: tuple[str, list[str]]) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    header, payload, _ = token().split(".")
    wrong = {
        "of another issuer": token(iss="https://evil.example"),
        "for somebody else": token(aud="others"),
        "too late": token(exp=past),
        "for ever": token(exp=None),
        "of nobody": token(sub=None),
        "without a role": token(role=None),
        "with a role of its own": token(role="owner"),
        "with a role that is none": token(role=["admin"]),
        "by another key": token(OTHER),
        "by a key that nobody has": token(OTHER, kid="k2"),
        "by a secret": token("x" * 32, algorithm="HS256"),
        "by no algorithm": token("", algorithm="none"),
        "without a signature": f"{header}.{payload}.",
    }
    assert {what: status(api, given) for what, given in wrong.items()} == dict.fromkeys(wrong, 401)
    assert len(issuer[1]) == 1, "tokens with made-up keys must not have the issuer asked again and again"

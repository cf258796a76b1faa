"""Who calls, and whether they may: bearer tokens of our own, or JWTs of one issuer."""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Any, Final

import httpx
import jwt
import structlog
from fastapi import Depends, Request

from api.limits import RateLimits
from api.pool import Pool, Session
from api.problems import forbidden, slow_down, unauthenticated, unavailable
from api.roles import ACCESS, Role
from schemas.settings import Settings
from sinks.tokens import find_bearer

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
"""Pinned: what a token says of its own algorithm counts only among these."""
ROLE_CLAIM: Final = "role"
FETCH_SECONDS: Final = 5.0
KEYS_LAST_SECONDS: Final = 300.0
KEYS_AGAIN_SECONDS: Final = 10.0
"""A key that is not known may be new; asked for so often at most, whatever tokens are sent."""
LONGEST_TOKEN: Final = 8_192
_ISSUED: Final = ("viewer", "instructor", "operator", "admin")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `id` is what rates are limited by, `actor` what the audit log says."""

    id: str
    actor: str
    role: Role


class IssuerKeys:
    """The issuer's public keys, fetched when they are needed and kept for a while."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched: float | None = None
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key that the issuer calls `key_id`."""
        async with self._fetching:
            age = None if self._fetched is None else time.monotonic() - self._fetched
            unknown = key_id not in self._keys
            if age is None or age > KEYS_LAST_SECONDS or (unknown and age > KEYS_AGAIN_SECONDS):
                await self._fetch()
        return self._keys.get(key_id)

    async def _fetch(self) -> None:
        self._fetched = time.monotonic()
        try:
            async with httpx.AsyncClient(timeout=FETCH_SECONDS) as client:
                answer = (await client.get(self._url)).raise_for_status().json()
            keys = jwt.PyJWKSet.from_dict(answer).keys
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError) as error:
            # Keys that were good go on being good while their issuer cannot be reached.
            log.warning("the issuer's keys cannot be fetched", url=self._url, error=str(error))
            if not self._keys:
                self._fetched = None
                raise unavailable("the issuer's keys cannot be fetched just now") from error
            return
        self._keys = {key.key_id: key for key in keys if key.key_id is not None}


class Gate:
    """Tells whom a token stands for."""

    def __init__(self, settings: Settings, sessions: Pool[Session]) -> None:
        self._sessions = sessions
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._keys = None if settings.jwks_url is None else IssuerKeys(str(settings.jwks_url))
        self.limits = RateLimits(settings.http_requests_per_second, settings.http_burst)

    async def identify(self, token: str) -> Caller | None:
        """Whom `token` stands for; None for nobody."""
        if len(token) > LONGEST_TOKEN or not token.isascii():
            return None
        if token.count(".") == 2:  # noqa: PLR2004  header, payload and signature
            return await self._by_issuer(token)
        bearer = await self._sessions.run(lambda session: session.read(lambda cursor: find_bearer(cursor, token)))
        if bearer is None:
            return None
        return Caller(f"token:{bearer.prefix}", f"{bearer.name} ({bearer.prefix})", Role[bearer.role.upper()])

    async def _by_issuer(self, token: str) -> Caller | None:
        if self._keys is None or self._issuer is None or self._audience is None:
            return None
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            key = await self._keys.find(str(key_id))
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError:
            return None
        role, subject = claims.get(ROLE_CLAIM), str(claims["sub"])[:200]
        if role not in _ISSUED:
            return None
        return Caller(f"jwt:{subject}", f"{subject} of {self._issuer}", Role[role.upper()])


async def authorise(request: Request) -> None:
    """Let the request pass, or answer 401, 403 or 429 before anything is looked at that it asks for."""
    needed = ACCESS[request.method, request.scope["route"].path]
    if needed is Role.PUBLIC:
        return
    gate: Gate = request.app.state.service.gate
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    request.state.caller = await admit(gate, token.strip() if scheme.lower() == "bearer" else None, needed)


async def admit(gate: Gate, token: str | None, needed: Role) -> Caller:
    """Whom `token` stands for, who may do what takes the role `needed`; raises 401, 403 or 429."""
    caller = None if token is None else await gate.identify(token)
    if caller is None:
        raise unauthenticated()
    wait = gate.limits.wait_seconds(caller.id)
    if wait > 0:
        raise slow_down(wait)
    if caller.role < needed:
        raise forbidden(needed.name.lower())
    return caller


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CalledBy = Annotated[Caller, Depends(_caller)]

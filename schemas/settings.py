"""The one place that reads the environment.

A value comes from, in this order: the environment, `.env`, `.laurels/env` (what a running `laurels up` offers to the
other commands in its folder). A secret that none of them gives may stand in a file, named by the same variable with
`_FILE` appended.
"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import AfterValidator, AnyHttpUrl, Field, Secret, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from schemas.errors import LaurelsError
from schemas.logs import KAFKA_CLIENT

SERVICES_FILE: Final = Path(".laurels/env")
"""What a running `laurels up` offers, in the form of a `.env` file."""

SECRETS: Final = ("DATABASE_URL", "KAFKA_SASL_PASSWORD", "KAFKA_SSL_KEY_PASSWORD", "LAURELS_WEBHOOK_URL")
"""The variables whose value may stand in a file named by `<variable>_FILE`, and is never shown."""

_UNPREFIXED: Final = ("database_", "kafka_")

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Milliseconds = Annotated[int, Field(ge=1)]


class SettingsError(LaurelsError):
    """A setting is missing or wrong; the message names the variable."""


def variable(field: str) -> str:
    """The environment variable that sets `field`."""
    return field.upper() if field.startswith(_UNPREFIXED) else f"LAURELS_{field.upper()}"


def _postgres_url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+psycopg2"}:
        raise ValueError("must begin with postgresql://")
    return f"postgresql://{rest}"


def _servers(value: str) -> str:
    for server in value.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError("must be host:port, several separated by commas")
    return ",".join(server.strip() for server in value.split(","))


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads the secrets whose file is named by the environment or by a `.env` file."""

    def __init__(self, settings_cls: type[BaseSettings], dotenv: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        variables = dotenv.env_vars if isinstance(dotenv, DotEnvSettingsSource) else {}
        self._given = {name.upper(): value for name, value in variables.items() if value} | dict(os.environ)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The content of the file, under the field's own variable."""
        name = field.alias or variable(field_name)
        path = self._given.get(f"{name}_FILE") if name in SECRETS else None
        return (None if path is None else _secret(name, Path(path))), name, False

    def __call__(self) -> dict[str, Any]:
        found = [self.get_field_value(field, name)[:2] for name, field in self.settings_cls.model_fields.items()]
        return {name: value for value, name in found if value is not None}


class Settings(BaseSettings):
    """Everything that can be set. A field's variable is its name in capitals, with `LAURELS_` before all but two kinds.

    Those two are `DATABASE_*` and `KAFKA_*`, which other software on the same machine is likely to share.
    """

    model_config = SettingsConfigDict(
        alias_generator=variable,
        validate_by_name=True,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    # Postgres
    database: Annotated[str, AfterValidator(_postgres_url)] | None = Field(None, alias="DATABASE_URL", repr=False)
    database_sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    database_ssl_root_cert: Path | None = None
    database_ssl_cert: Path | None = None
    database_ssl_key: Path | None = None
    database_connect_timeout_seconds: Count = 5
    database_statement_timeout_ms: Milliseconds = 30_000
    database_lock_timeout_ms: Milliseconds = 10_000
    database_idle_in_transaction_timeout_ms: Milliseconds = 15_000

    # Kafka
    kafka: Annotated[str, AfterValidator(_servers)] | None = Field(None, alias="KAFKA_BOOTSTRAP_SERVERS")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_ca_file: Path | None = None
    kafka_ssl_cert_file: Path | None = None
    kafka_ssl_key_file: Path | None = None
    kafka_ssl_key_password: SecretStr | None = None

    # Topics
    topic_prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,100}$")] = ""
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    replication_factor: Annotated[int, Field(ge=-1, le=32)] = -1

    # The worker
    group: Annotated[str, Field(min_length=1, max_length=200)] = "laurels"
    batch_events: Annotated[int, Field(ge=1, le=10_000)] = 4_000
    buffer_events: Count = 20_000
    ledger_connections: Annotated[int, Field(ge=1, le=64)] = 2
    retry_for_seconds: Seconds = 60
    retry_first_seconds: Seconds = 0.1
    retry_longest_seconds: Seconds = 5.0
    dead_letter_limit: Count = 1_000
    outbox_limit: Count = 1_000_000
    session_timeout_seconds: Annotated[float, Field(ge=6, le=300)] = 8
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0

    # Reconciliation and alerts
    roster_warning_hours: Seconds = 24
    roster_critical_hours: Seconds = 72
    sweep_interval_seconds: Seconds = 300
    sync_scheduled: bool = False
    sync_interval_hours: Seconds = 6
    seal_interval_seconds: Seconds = 60
    verify_chain_interval_hours: Seconds = 24
    webhook_url: Secret[AnyHttpUrl] | None = None

    # HTTP
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    http_connections: Annotated[int, Field(ge=1, le=256)] = 8
    http_requests_per_second: Seconds = 100
    http_burst: Count = 200
    http_sync_repairs: Count = 2_000
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwks_url: AnyHttpUrl | None = None

    # Logs
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Files named by a variable come last: `DATABASE_URL` overrides `DATABASE_URL_FILE`."""
        del file_secret_settings
        return init_settings, env_settings, dotenv_settings, _SecretFiles(settings_cls, dotenv_settings)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_username and self.kafka_sasl_password
        ):
            raise SettingsError(
                f"KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD are needed where KAFKA_SECURITY_PROTOCOL is "
                f"{self.kafka_security_protocol}"
            )
        if self.roster_critical_hours < self.roster_warning_hours:
            raise SettingsError("LAURELS_ROSTER_CRITICAL_HOURS must not be less than LAURELS_ROSTER_WARNING_HOURS")
        if self.retry_longest_seconds < self.retry_first_seconds:
            raise SettingsError("LAURELS_RETRY_LONGEST_SECONDS must not be less than LAURELS_RETRY_FIRST_SECONDS")
        if self.jwks_url and not (self.jwt_issuer and self.jwt_audience):
            raise SettingsError("LAURELS_JWT_ISSUER and LAURELS_JWT_AUDIENCE are needed where LAURELS_JWKS_URL is set")
        return self

    @property
    def database_url(self) -> str:
        """Where Postgres is, as a libpq URI with its TLS settings; refuses where none is given."""
        if self.database is None:
            raise SettingsError("DATABASE_URL is not set: give it, or start `laurels up` in this folder")
        parts = urlsplit(self.database)
        tls = {
            "sslmode": self.database_sslmode,
            "sslrootcert": self.database_ssl_root_cert,
            "sslcert": self.database_ssl_cert,
            "sslkey": self.database_ssl_key,
        }
        query = dict(parse_qsl(parts.query)) | {name: str(value) for name, value in tls.items() if value is not None}
        return urlunsplit(parts._replace(query=urlencode(query, safe="/")))

    @property
    def sqlalchemy_url(self) -> str:
        """`database_url` as SQLAlchemy wants it, naming the driver."""
        return "postgresql+psycopg2" + self.database_url.removeprefix("postgresql")

    @property
    def bootstrap_servers(self) -> str:
        """Where Kafka is; refuses where none is given."""
        if self.kafka is None:
            raise SettingsError("KAFKA_BOOTSTRAP_SERVERS is not set: give it, or start `laurels up` in this folder")
        return self.kafka

    def librdkafka(self) -> dict[str, Any]:
        """The configuration of a confluent-kafka client. It logs through `KAFKA_CLIENT`, whenever it is polled."""
        settings: dict[str, Any] = {
            "logger": KAFKA_CLIENT,
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.kafka_security_protocol.lower(),
        }
        if self.kafka_security_protocol.startswith("SASL"):
            settings["sasl.mechanism"] = self.kafka_sasl_mechanism
            settings["sasl.username"] = self.kafka_sasl_username
            settings["sasl.password"] = _reveal(self.kafka_sasl_password)
        if self.kafka_security_protocol.endswith("SSL"):
            settings["ssl.ca.location"] = _text(self.kafka_ssl_ca_file)
            settings["ssl.certificate.location"] = _text(self.kafka_ssl_cert_file)
            settings["ssl.key.location"] = _text(self.kafka_ssl_key_file)
            settings["ssl.key.password"] = _reveal(self.kafka_ssl_key_password)
        return {name: value for name, value in settings.items() if value is not None}

    def aiokafka(self) -> dict[str, Any]:
        """The arguments of any aiokafka client that say where the brokers are and how to be let in."""
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "security_protocol": self.kafka_security_protocol,
        }
        if self.kafka_security_protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.kafka_sasl_mechanism
            arguments["sasl_plain_username"] = self.kafka_sasl_username
            arguments["sasl_plain_password"] = _reveal(self.kafka_sasl_password)
        if self.kafka_security_protocol.endswith("SSL"):
            arguments["ssl_context"] = self._ssl_context()
        return arguments

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=_text(self.kafka_ssl_ca_file))
            if self.kafka_ssl_cert_file is not None:
                context.load_cert_chain(
                    self.kafka_ssl_cert_file, self.kafka_ssl_key_file, _reveal(self.kafka_ssl_key_password)
                )
        except OSError as error:
            raise SettingsError(
                f"KAFKA_SSL_CA_FILE, KAFKA_SSL_CERT_FILE or KAFKA_SSL_KEY_FILE cannot be used: {error}"
            ) from error
        return context

    def shown(self) -> dict[str, str]:
        """Every variable that is set to something else than its default, secrets hidden."""
        given = {
            str(field.alias or variable(name)): getattr(self, name)
            for name, field in type(self).model_fields.items()
            if getattr(self, name) != field.default
        }
        return {name: "(hidden)" if name in SECRETS else str(value) for name, value in given.items()}


VARIABLES: Final = {str(field.alias or variable(name)): name for name, field in Settings.model_fields.items()}
"""Every variable that is read, and the field it sets."""


def load_settings(folder: Path | None = None) -> Settings:
    """Read the settings from the environment and from the files in `folder` (the current one)."""
    here = folder or Path()
    try:
        return Settings(_env_file=(here / SERVICES_FILE, here / ".env"))  # type: ignore[call-arg]  # read at run time
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(problem) for problem in error.errors())) from None


def _secret(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{name}_FILE: {error.strerror}") from error


def _complaint(problem: Mapping[str, Any]) -> str:
    """One clear line; the value is not repeated, since it may be a secret."""
    names = [str(part) for part in problem["loc"][:1]]
    message = str(problem["msg"]).removeprefix("Value error, ")
    # An abbreviation stays as it is.
    message = message if message[1:2].isupper() else message[:1].lower() + message[1:]
    return f"{', '.join(names)}: {message}" if names else message


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)

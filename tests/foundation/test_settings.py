"""The one place that reads the environment."""

from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from schemas.logs import KAFKA_CLIENT
from schemas.settings import SECRETS, VARIABLES, Settings, SettingsError, load_settings, variable

SASL = {
    "KAFKA_BOOTSTRAP_SERVERS": "a:1, b:2",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_USERNAME": "laurels",
    "KAFKA_SASL_PASSWORD": "hunter2",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and an environment without a setting of ours."""
    for name in [*VARIABLES, *(f"{secret}_FILE" for secret in SECRETS)]:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_environment_overrides_env_which_overrides_a_running_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".laurels").mkdir()
    (folder / ".laurels" / "env").write_text("LAURELS_GROUP=up\nLAURELS_PARTITIONS=7\nLAURELS_HTTP_PORT=7\n")
    (folder / ".env").write_text("LAURELS_GROUP=dotenv\nLAURELS_PARTITIONS=8\nUNRELATED=1\n")
    monkeypatch.setenv("LAURELS_GROUP", "environment")
    settings = load_settings(folder)
    assert (settings.group, settings.partitions, settings.http_port) == ("environment", 8, 7)


def test_a_secret_may_stand_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "secret").write_text("postgresql://u:p@h/db\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(folder / "secret"))
    assert load_settings(folder).database_url == "postgresql://u:p@h/db"
    (folder / ".env").write_text(f"KAFKA_SASL_PASSWORD_FILE={folder / 'secret'}\n")
    assert load_settings(folder).kafka_sasl_password is not None
    monkeypatch.setenv("DATABASE_URL", "postgresql://given")
    assert load_settings(folder).database_url == "postgresql://given"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"LAURELS_HTTP_PORT": "99999"}, "LAURELS_HTTP_PORT: input should be less than or equal to 65535"),
        ({"LAURELS_BATCH_EVENTS": "many"}, "LAURELS_BATCH_EVENTS: input should be a valid integer"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka"}, "KAFKA_BOOTSTRAP_SERVERS: must be host:port"),
        ({"DATABASE_URL": "mysql://u:hunter2@h"}, "DATABASE_URL: must begin with postgresql://"),
        ({"DATABASE_URL_FILE": "missing"}, "DATABASE_URL_FILE: No such file"),
        (SASL | {"KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD are needed"),
        ({"LAURELS_ROSTER_CRITICAL_HOURS": "1"}, "LAURELS_ROSTER_CRITICAL_HOURS must not be less"),
        ({"LAURELS_JWKS_URL": "https://issuer"}, "LAURELS_JWT_ISSUER and LAURELS_JWT_AUDIENCE are needed"),
        ({"LAURELS_WEBHOOK_URL": "hunter2:9093/api"}, "LAURELS_WEBHOOK_URL: URL scheme should be 'http' or 'https'"),
        ({"LAURELS_TOPIC_PREFIX": "a b"}, "LAURELS_TOPIC_PREFIX: string should match"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable_and_keeps_the_value_to_itself(
    given: dict[str, str], complaint: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(folder)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_wrong_value_is_named_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAURELS_HTTP_PORT", "x")
    monkeypatch.setenv("LAURELS_LOG_LEVEL", "x")
    with pytest.raises(SettingsError, match=r"LAURELS_HTTP_PORT.*; LAURELS_LOG_LEVEL"):
        load_settings(folder)


def test_what_is_needed_and_not_given_is_named_when_it_is_needed(folder: Path) -> None:
    settings = load_settings(folder)
    with pytest.raises(SettingsError, match="DATABASE_URL is not set"):
        _ = settings.database_url
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS is not set"):
        settings.librdkafka()


def test_no_secret_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = SASL | {"DATABASE_URL": "postgresql://u:hunter2@h", "LAURELS_WEBHOOK_URL": "https://hook/hunter2"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(folder)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.shown())
    assert settings.shown()["KAFKA_SASL_USERNAME"] == "laurels"
    assert settings.shown()["DATABASE_URL"] == "(hidden)"


def test_postgres_tls_is_part_of_the_url(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg2://u@h:1/db?application_name=x")
    monkeypatch.setenv("DATABASE_SSLMODE", "verify-full")
    monkeypatch.setenv("DATABASE_SSL_ROOT_CERT", "/etc/ca.pem")
    assert (
        load_settings(folder).database_url
        == "postgresql://u@h:1/db?application_name=x&sslmode=verify-full&sslrootcert=/etc/ca.pem"
    )


def test_both_kafka_clients_are_let_in_the_same_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SASL.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(folder)
    assert settings.librdkafka() == {
        "logger": KAFKA_CLIENT,
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "laurels",
        "sasl.password": "hunter2",
    }
    theirs = settings.aiokafka()
    assert theirs.pop("ssl_context").check_hostname
    assert theirs == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "laurels",
        "sasl_plain_password": "hunter2",
    }


def test_librdkafka_knows_every_setting_it_is_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SASL.items():
        monkeypatch.setenv(name, value)
    AdminClient(load_settings(folder).librdkafka())


def test_a_certificate_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "a:1")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("KAFKA_SSL_CA_FILE", str(folder / "missing.pem"))
    with pytest.raises(SettingsError, match="KAFKA_SSL_CA_FILE"):
        load_settings(folder).aiokafka()


def test_variables_are_prefixed_unless_others_share_them() -> None:
    assert variable("kafka_sasl_mechanism") == "KAFKA_SASL_MECHANISM"
    assert variable("log_level") == "LAURELS_LOG_LEVEL"
    assert len(VARIABLES) == len(Settings.model_fields)

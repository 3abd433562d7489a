"""Settings: the error for a wrong value has the key, the value and the allowed values."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from conf import settings as configuration
from conf.errors import SettingError
from conf.places import base_dir
from conf.settings import Settings


def test_every_setting_has_a_default_in_the_file(settings: Settings) -> None:
    assert settings.kafka.topic == "images"
    assert settings.kafka.bootstrap == ""


@pytest.mark.parametrize(
    ("name", "value", "message_parts"),
    [
        ("HUB__INGEST__JPEG_QUALITY", "101", ["ingest.jpeg_quality", "'101'", "less than or equal to 100"]),
        ("HUB__KAFKA__BOOTSTRAP", "localhost", ["kafka.bootstrap", "'localhost'", "host:port"]),
        ("HUB__KAFKA__BOOTSTRAP", "a:1,b:70000", ["kafka.bootstrap", "b:70000"]),
        ("HUB__KAFKA__SECURITY_PROTOCOL", "TLS", ["kafka.security_protocol", "'TLS'", "SASL_SSL"]),
        ("HUB__BROKER__HEAP", "lots", ["broker.heap", "'lots'"]),
        ("HUB__LAKE__ROOT", " ", ["lake.root", "s3a://"]),
        ("HUB__LABELS__MODE", "ajar", ["labels.mode", "'open' or 'closed'"]),
        ("HUB__ORGANIZE__SEED", "4294967296", ["organize.seed", "less than or equal to 4294967295"]),
        ("HUB__TRAIN__SEED", "-1", ["train.seed", "'-1'", "greater than or equal to 0"]),
        ("HUB__TRAIN__LEARNING_RATE", "nan", ["train.learning_rate", "'nan'", "finite"]),
        ("HUB__ORGANIZE__FRACTIONS", "[0.5, 0.5, 0.5]", ["organize.fractions", "sum to 1"]),
        (
            "HUB__ORGANIZE__KEEP_TOGETHER",
            '["place"]',
            ["organize.keep_together", "'user', 'device' or 'batch'"],
        ),
        (
            "HUB__PAYLOADS__PREFIX",
            "s3://Bucket/x",
            ["payloads.prefix", "'s3://Bucket/x'", "s3://bucket/path"],
        ),
        ("HUB__PAYLOADS__PREFIX", "build/objects", ["payloads.prefix", "file:///folder"]),
        ("HUB__PAYLOADS__ALLOWED", '["s3://bucket/../x"]', ["payloads.allowed", "s3://bucket/../x"]),
        ("HUB__PAYLOADS__ALLOWED", '["file:///"]', ["payloads.allowed", "file:///folder"]),
        ("HUB__S3__ENDPOINT", "localhost:9000", ["s3.endpoint", "'localhost:9000'", "https?://"]),
    ],
)
def test_error_for_a_wrong_value_has_key_value_and_allowed_values(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message_parts: list[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError) as caught:
        configuration.load()
    for part in [*message_parts, name]:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_error_for_a_misspelt_section_lists_the_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB__KAFFKA__TOPIC", "x")
    with pytest.raises(SettingError, match=r"no section 'kaffka'.*kafka"):
        configuration.load()


def test_error_for_a_misspelt_key_lists_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB__KAFKA__BOOTSTARP", "x:1")
    with pytest.raises(SettingError, match=r"kafka has no 'bootstarp'.*bootstrap"):
        configuration.load()


def test_environment_wins_over_the_file(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB__KAFKA__BOOTSTRAP", "kafka.example:9092,other.example:9093")
    assert configuration.load().kafka.bootstrap == "kafka.example:9092,other.example:9093"


def test_s3_root_is_converted_to_s3a(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB__LAKE__ROOT", "s3://bucket/lake/")
    assert configuration.load().lake.at("uploads") == "s3a://bucket/lake/uploads"


def test_relative_folder_is_resolved_from_the_checkout(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB__LAKE__ROOT", "build/elsewhere")
    assert configuration.load().lake.root == str(base_dir() / "build/elsewhere")


def test_settings_cannot_be_changed(settings: Settings) -> None:
    with pytest.raises(ValidationError):
        settings.kafka.topic = "other"


def test_error_for_a_missing_key_shows_no_other_value_of_its_section(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (base_dir() / "conf" / "hub.toml").read_text().replace("connect_seconds", "# connect_seconds")
    (tmp_path / "hub.toml").write_text(text)
    monkeypatch.setitem(Settings.model_config, "toml_file", tmp_path / "hub.toml")
    monkeypatch.setenv("HUB__KAFKA__SASL_PASSWORD", "open-sesame")
    with pytest.raises(SettingError, match=r"setting kafka\.connect_seconds: Field required") as caught:
        configuration.load()
    assert "open-sesame" not in str(caught.value)


def test_password_is_not_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB__KAFKA__SASL_PASSWORD", "open-sesame")
    loaded = configuration.load()
    assert loaded.kafka.sasl_password == "open-sesame"
    assert "open-sesame" not in repr(loaded)

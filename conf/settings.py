"""Loading the settings: hub.toml and HUB__SECTION__KEY variables, validated into frozen models."""

import os

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from conf.curation_sections import Checks, Clusters
from conf.errors import SettingError
from conf.organize_section import Organize
from conf.places import CONF
from conf.sections import (
    S3,
    Broker,
    Decoding,
    Ingest,
    Kafka,
    Labels,
    Lake,
    Logs,
    Metrics,
    Payloads,
    Push,
    Quality,
    Spark,
    Train,
)
from conf.web_section import Faces, Web


class Settings(BaseSettings):
    """All sections of hub.toml."""

    model_config = SettingsConfigDict(
        env_prefix="HUB__",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        toml_file=CONF / "hub.toml",
    )

    lake: Lake
    logs: Logs
    kafka: Kafka
    broker: Broker
    push: Push
    spark: Spark
    ingest: Ingest
    decoding: Decoding
    web: Web
    faces: Faces
    metrics: Metrics
    quality: Quality
    labels: Labels
    organize: Organize
    clusters: Clusters
    checks: Checks
    train: Train
    payloads: Payloads
    s3: S3

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Precedence: arguments, then the environment, then hub.toml."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load() -> Settings:
    """Read and validate the settings.

    Raises:
        SettingError: a key is unknown or a value is not allowed. The message has the key, the value and the
            allowed values.
    """
    _refuse_unknown_variables()
    try:
        return Settings()  # type: ignore[call-arg]  # the fields come from the file and the environment
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        variable = "HUB__" + "__".join(str(part).upper() for part in first["loc"][:2])
        # If a key is missing, pydantic's input is the whole section, passwords included: do not print it.
        value = "" if isinstance(first.get("input"), dict) else f" = {first.get('input')!r}"
        raise SettingError(f"setting {key}{value}: {message} (set in conf/hub.toml or {variable})") from None


def _refuse_unknown_variables() -> None:
    """Reject misspelt HUB__ variables: pydantic-settings would ignore an unknown section silently."""
    for name in os.environ:
        if name.startswith("HUB__"):
            section, _, key = name.removeprefix("HUB__").lower().partition("__")
            field = Settings.model_fields.get(section)
            if field is None:
                raise SettingError(
                    f"{name}: there is no section {section!r}; the sections are "
                    f"{', '.join(Settings.model_fields)} (see conf/hub.toml)"
                )
            keys = field.annotation.model_fields  # type: ignore[union-attr]  # every section is a model
            if key.partition("__")[0] not in keys:
                raise SettingError(f"{name}: section {section} has no {key!r}; it has {', '.join(keys)}")

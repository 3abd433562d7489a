"""Spark's options for a Kafka cluster."""

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from streaming.kafka_source import spark_options

pytestmark = pytest.mark.services


@pytest.mark.parametrize(
    "password", ["open-sesame", 'a"b', "back\\slash", 'x" evil="y', "semi;colon", "two\nlines", "\\n", "käse"]
)
@pytest.mark.parametrize(
    ("mechanism", "module"), [("PLAIN", "PlainLoginModule"), ("SCRAM-SHA-512", "ScramLoginModule")]
)
def test_kafka_parses_a_login_unchanged(
    spark: SparkSession, settings: Settings, mechanism: str, module: str, password: str
) -> None:
    """Uses Kafka's own parser, in the JVM."""
    login = {"sasl_mechanism": mechanism, "sasl_username": f"hub {password}", "sasl_password": password}
    secured = settings.kafka.model_copy(update={"security_protocol": "SASL_SSL"} | login)
    options = spark_options(secured, "a.example:9092")

    jvm = spark._jvm
    assert jvm is not None
    config = jvm.java.util.HashMap()
    secret = jvm.org.apache.kafka.common.config.types.Password(options["kafka.sasl.jaas.config"])
    config.put("sasl.jaas.config", secret)
    context = jvm.org.apache.kafka.common.security.JaasContext.loadClientContext(config)

    (entry,) = context.configurationEntries()
    assert entry.getLoginModuleName().endswith(f".{module}")
    assert dict(entry.getOptions()) == {"username": f"hub {password}", "password": password}

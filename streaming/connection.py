"""How Spark reaches a Kafka cluster."""

from conf.sections import Kafka


def connection(kafka: Kafka, bootstrap: str) -> dict[str, str]:
    """Options of Spark's Kafka source and sink for a cluster."""
    options = {"kafka.bootstrap.servers": bootstrap, "kafka.security.protocol": kafka.security_protocol}
    if kafka.security_protocol.startswith("SASL"):
        module = "plain.PlainLoginModule" if kafka.sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
        options["kafka.sasl.mechanism"] = kafka.sasl_mechanism
        options["kafka.sasl.jaas.config"] = (
            f"org.apache.kafka.common.security.{module} required "
            f'username="{kafka.sasl_username}" password="{kafka.sasl_password}";'
        )
    return options | {"kafka.max.request.size": "12582912"}

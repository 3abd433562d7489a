"""How a single-node KRaft broker is set up: ports, files and command lines."""

import base64
import json
import os
import shutil
import socket
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from conf.places import home
from conf.sections import Broker
from local.errors import PartsMissing

# Ceiling of a record: 10 MiB of picture and 2 MiB of headers and framing.
RECORD_BYTES = 12_582_912

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{ports.controller}
listeners=PLAINTEXT://127.0.0.1:{ports.broker},CONTROLLER://127.0.0.1:{ports.controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{ports.broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes={record_bytes}
replica.fetch.max.bytes={record_bytes}
socket.request.max.bytes=104857600
num.network.threads=2
num.io.threads=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.segment.bytes=134217728
log.cleaner.dedupe.buffer.size=8388608
"""

_LOGGING = """\
status = error
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {logs}/server.log
appender.file.filePattern = {logs}/server-%i.log
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{yyyy-MM-dd HH:mm:ss.SSS}} %p %c{{1}}: %m%n%ex
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 20MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
"""


@dataclass(frozen=True)
class Ports:
    """What stays the same from one start of the broker to the next, as long as the ports are free."""

    broker: int
    controller: int

    @property
    def bootstrap(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.broker}"


def prepare(settings: Broker) -> Ports:
    """Choose ports where none are kept or the kept ones are taken, and write the broker's files."""
    logs(settings).mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        (logs(settings) / "server.log").rename(logs(settings) / "server-before.log")
    (logs(settings) / "broker.out").write_text("")
    kept = settings.dir / "ports.json"
    ports = _kept(kept)
    if ports is None or not (_is_free(ports.broker) and _is_free(ports.controller)):
        ports = Ports(*_free_ports(2))
        write(kept, json.dumps(asdict(ports)))
    write(settings.dir / "server.properties", _properties(ports, data(settings)))
    write(settings.dir / "format.properties", _properties(ports, _unfinished(settings)))
    write(settings.dir / "log4j2.properties", _LOGGING.format(logs=logs(settings)))
    return ports


def data(settings: Broker) -> Path:
    """Where the broker keeps its records."""
    return settings.dir / "data"


def logs(settings: Broker) -> Path:
    """Where the broker writes its own log: server.log, and broker.out for what the JVM prints."""
    return settings.dir / "logs"


def format_command(settings: Broker) -> list[str]:
    """The command that makes the data folder, beside its place: an interruption leaves no half of it."""
    shutil.rmtree(_unfinished(settings), ignore_errors=True)
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}"]
    return [*_java(settings), *tool, "--config", str(settings.dir / "format.properties")]


def keep_formatted(settings: Broker) -> None:
    """Move the finished data folder into its place."""
    _unfinished(settings).rename(data(settings))


def run_command(settings: Broker) -> list[str]:
    """The command that runs the broker."""
    return [*_java(settings), "kafka.Kafka", str(settings.dir / "server.properties")]


def last_complaint(settings: Broker) -> str:
    """The last error in the broker's log, or else the last line that the JVM printed; may be empty."""
    for name, marks in (("server.log", (" ERROR ", " FATAL ")), ("broker.out", ("",))):
        try:
            lines = (logs(settings) / name).read_text(errors="replace").splitlines()
        except OSError:
            continue
        found = [line.strip() for line in lines if line.strip() and any(mark in line for mark in marks)]
        if found:
            return found[-1]
    return ""


def check_parts() -> tuple[str, Path]:
    """Java and the folder of the broker's jars.

    Raises:
        PartsMissing: one of them is not installed.
    """
    jars = home() / "jars" / "broker"
    if not any(jars.glob("kafka_*.jar")):
        raise PartsMissing(f"no JVM parts in {jars}: run `make setup`")
    java_home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{java_home}/bin") if java_home else shutil.which("java")
    if java is None:
        where = f"JAVA_HOME={java_home}" if java_home else "the PATH"
        raise PartsMissing(f"no java in {where}: install Java 17 or later (`make setup` tells how)")
    return java, jars


def _java(settings: Broker) -> list[str]:
    java, jars = check_parts()
    logging = settings.dir / "log4j2.properties"
    # One collector thread: the broker shares a small machine with Spark.
    flags = [f"-Xmx{settings.heap}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
    return [java, *flags, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]


def _properties(ports: Ports, folder: Path) -> str:
    return _PROPERTIES.format(ports=ports, data=folder, record_bytes=RECORD_BYTES)


def _unfinished(settings: Broker) -> Path:
    return settings.dir / "data.unfinished"


def _kept(path: Path) -> Ports | None:
    try:
        return Ports(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()

"""Ports, configuration files and command lines of a single-node KRaft broker."""

import base64
import json
import os
import shutil
import socket
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from conf.places import base_dir, is_executable
from conf.sections import Broker
from local.errors import JvmMissing

# Maximum size of a record: 10 MiB of picture and 2 MiB of headers and framing.
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
    """The broker's ports; each start uses the same ones, as long as they are free."""

    broker: int
    controller: int

    @property
    def bootstrap(self) -> str:
        """The bootstrap address."""
        return f"127.0.0.1:{self.broker}"


def prepare(settings: Broker) -> Ports:
    """Choose the ports (the saved ones if they are free) and write the broker's configuration files."""
    log_folder(settings).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(_temporary_folder(settings), ignore_errors=True)  # left by a broker that was killed
    _temporary_folder(settings).mkdir()
    with suppress(FileNotFoundError):
        (log_folder(settings) / "server.log").rename(log_folder(settings) / "server-before.log")
    (log_folder(settings) / "broker.out").write_text("")
    saved = settings.dir / "ports.json"
    ports = _read_ports(saved)
    if ports is None or not (_is_free(ports.broker) and _is_free(ports.controller)):
        ports = Ports(*_free_ports(2))
        write_atomically(saved, json.dumps(asdict(ports)))
    write_atomically(settings.dir / "server.properties", _properties(ports, data_folder(settings)))
    write_atomically(settings.dir / "format.properties", _properties(ports, _temporary_data_folder(settings)))
    logs = _in_properties(log_folder(settings))
    write_atomically(settings.dir / "log4j2.properties", _LOGGING.format(logs=logs))
    return ports


def data_folder(settings: Broker) -> Path:
    """The folder of the broker's records."""
    return settings.dir / "data"


def log_folder(settings: Broker) -> Path:
    """The folder of the broker's own log: server.log, and broker.out for the JVM's standard output."""
    return settings.dir / "logs"


def format_command(settings: Broker) -> list[str]:
    """The command that formats a new data folder, under a temporary name: it is never half done."""
    shutil.rmtree(_temporary_data_folder(settings), ignore_errors=True)
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}"]
    return [*_java_command(settings), *tool, "--config", str(settings.dir / "format.properties")]


def activate_data_folder(settings: Broker) -> None:
    """Rename the formatted data folder to its final name."""
    _temporary_data_folder(settings).rename(data_folder(settings))


def run_command(settings: Broker) -> list[str]:
    """The command that runs the broker."""
    return [*_java_command(settings), "kafka.Kafka", str(settings.dir / "server.properties")]


def last_error(settings: Broker) -> str:
    """The last error in the broker's log, or the last line of the JVM's output; may be empty."""
    for name, levels in (("server.log", (" ERROR ", " FATAL ")), ("broker.out", ("",))):
        try:
            lines = (log_folder(settings) / name).read_text(errors="replace").splitlines()
        except OSError:
            continue
        errors = [line.strip() for line in lines if line.strip() and any(level in line for level in levels)]
        if errors:
            return errors[-1]
    return ""


def find_jvm() -> tuple[str, Path]:
    """Find the `java` command and the folder of the broker's jars.

    Raises:
        JvmMissing: one of them is not installed.
    """
    jars = base_dir() / "jars" / "broker"
    if not any(jars.glob("kafka_*.jar")):
        raise JvmMissing(f"no jars in {jars}: run `make setup`")
    java_home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{java_home}/bin") if java_home else shutil.which("java")
    if java is None:
        where = f"JAVA_HOME={java_home}" if java_home else "the PATH"
        raise JvmMissing(f"no java in {where}: install Java 17 or later (`make setup` tells how)")
    return java, jars


def _java_command(settings: Broker) -> list[str]:
    java, jars = find_jvm()
    logging = settings.dir / "log4j2.properties"
    # One garbage collector thread: the broker shares a small machine with Spark.
    flags = [f"-Xmx{settings.heap}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
    # Native libraries (zstd, snappy) cannot be loaded from a /tmp that is mounted noexec.
    if is_executable(settings.dir):
        flags.append(f"-Djava.io.tmpdir={_temporary_folder(settings)}")
    return [java, *flags, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]


def _properties(ports: Ports, folder: Path) -> str:
    return _PROPERTIES.format(ports=ports, data=_in_properties(folder), record_bytes=RECORD_BYTES)


def _in_properties(path: Path) -> str:
    """A path as Java reads it in a properties file, whose encoding is Latin-1 (java.util.Properties.load)."""
    units = str(path).replace("\\", "\\\\").encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)]
    return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)


def _temporary_folder(settings: Broker) -> Path:
    return settings.dir / "tmp"


def _temporary_data_folder(settings: Broker) -> Path:
    return settings.dir / "data.unfinished"


def _read_ports(path: Path) -> Ports | None:
    try:
        return Ports(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_atomically(path: Path, text: str) -> None:
    """Write a file atomically: a reader sees all of it or nothing."""
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

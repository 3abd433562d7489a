"""A real standalone cluster of Spark with one worker on this machine; and the page of an invented one."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyspark

from lake.spark import master_page
from lake.spark.master_page import ClusterUse
from tests.support.s3server import free_port
from tests.support.waiting import port_is_open, wait_until

SPARK = Path(pyspark.__file__).parent


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Args:
        master: its address, spark://.
        page: address of the master's page.
    """

    master: str
    page: str

    @property
    def variables(self) -> dict[str, str]:
        """Variables with which commands use the cluster."""
        return {
            "HUB__SPARK__MASTER": self.master,
            "HUB__SPARK__TRAIN_MASTER": self.master,
            "HUB__SPARK__MASTER_PAGE": self.page,
        }

    def held(self) -> dict[str, int]:
        """Application to the cores that it holds."""
        use: ClusterUse | None = master_page.read(self.page)
        return {holder.name: holder.cores for holder in use.holders} if use else {}


@contextmanager
def daemon(name: str, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a master or worker of Spark's standalone cluster during the block."""
    command = [str(SPARK / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def running(folder: Path, cores: int, memory: str, properties: str = "") -> Iterator[Cluster]:
    """Run a cluster during the block.

    Args:
        folder: for logs, and for the worker's files in `work`.
        cores, memory: of the worker; it may offer more cores than the machine has.
        properties: lines of the worker's properties file.
    """
    port, page_port, file = free_port(), free_port(), folder / "worker.conf"
    file.write_text(properties)
    cluster = Cluster(f"spark://127.0.0.1:{port}", f"http://127.0.0.1:{page_port}")
    host = "--host", "127.0.0.1", "--webui-port", str(page_port)
    with daemon("master.Master", folder / "master.log", *host, "--port", str(port)):
        assert wait_until(lambda: port_is_open(f"127.0.0.1:{port}"), 60)
        own = "--cores", str(cores), "--memory", memory, "--work-dir", str(folder / "work")
        given = "--properties-file", str(file), cluster.master
        worker = *own, "--host", "127.0.0.1", "--webui-port", str(free_port()), *given
        with daemon("worker.Worker", folder / "worker.log", *worker):
            log = folder / "worker.log"
            assert wait_until(lambda: b"Successfully registered" in log.read_bytes(), 60)
            yield cluster


@contextmanager
def page(cores: int, **held: int) -> Iterator[str]:
    """Serve the page of a standalone master during the block; yields its address."""
    apps = [{"id": f"app-{name}", "name": f"hub {name}", "cores": n} for name, n in held.items()]
    content = json.dumps({"cores": cores, "activeapps": apps}).encode()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/json/" else 404)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()

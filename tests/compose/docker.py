"""Docker and its Compose for tests, in a project of their own."""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from conf.version import head_commit
from lake.spark import master_page
from tests.support.commands import ROOT
from tests.support.s3server import free_port

LONG = 3600.0  # seconds for a build, which downloads all packages and jars
_NONE: Mapping[str, str] = {}
SERVICES = ("kafka", "s3", "master", "worker-1", "worker-2", "web")


def docker(
    *arguments: str, timeout: float = 600.0, variables: Mapping[str, str] = _NONE
) -> subprocess.CompletedProcess[str]:
    """Run a Docker command; its output and exit status."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        ["docker", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def succeed(*arguments: str, timeout: float = 600.0, variables: Mapping[str, str] = _NONE) -> str:
    """Run a Docker command that must succeed; its standard output."""
    done = docker(*arguments, timeout=timeout, variables=variables)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr[-3000:]}{done.stdout[-1000:]}"
    return done.stdout


def skip_without_daemon() -> None:
    """Skip the test, with the reason, where there is no Docker daemon or no Compose."""
    for arguments, missing in ((("info",), "a Docker daemon"), (("compose", "version"), "Docker Compose")):
        try:
            done = docker(*arguments)
            why = (done.stderr.strip().splitlines() or [""])[-1] if done.returncode else ""
        except FileNotFoundError:
            why = "there is no command `docker`"
        if why:
            pytest.skip(f"needs {missing}: {why}")


@dataclass(frozen=True)
class Stack:
    """The stack in a Compose project of its own, with free ports, and folders of jobs deleted after 30 s.

    Args:
        project: name of the Compose project.
        s3_port, master_port, web_port: on which the S3 server and the pages of master and hub are published.
        commit: of the checkout at the build.
    """

    project: str = field(default_factory=lambda: f"hub-test-{uuid.uuid4().hex[:8]}")
    s3_port: int = field(default_factory=free_port)
    master_port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    commit: str = field(default_factory=lambda: head_commit(ROOT) or "")

    @property
    def variables(self) -> dict[str, str]:
        """What docker-compose.yml reads from the environment."""
        numbers = {"S3_PORT": self.s3_port, "MASTER_PORT": self.master_port, "WEB_PORT": self.web_port}
        ports = {name: str(number) for name, number in numbers.items()}
        return ports | {"WORKER_KEEP_SECONDS": "30", "WORKER_CLEANUP_SECONDS": "5"}

    def compose(self, *arguments: str, timeout: float = 600.0) -> str:
        """Run a command of Compose that must succeed; its standard output."""
        return succeed(
            "compose", "--project-name", self.project, *arguments, timeout=timeout, variables=self.variables
        )

    def hub(self, *arguments: str, timeout: float = 900.0) -> str:
        """Run a command of the hub in a new container; its standard output."""
        return self.compose("run", "--rm", "--no-TTY", "hub", *arguments, timeout=timeout)

    def json(self, *arguments: str) -> Any:
        """Run a command of the hub with --json; its results."""
        return json.loads(self.hub(*arguments, "--json"))

    def count(self, table: str) -> int:
        """Rows of a table."""
        return int(self.json("sql", f"SELECT count(*) AS n FROM {table}")[0]["n"])

    def containers(self) -> dict[str, dict[str, Any]]:
        """Service to its container, as `docker inspect` describes it."""
        ids = succeed(
            "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"
        )
        described = json.loads(succeed("inspect", *ids.split()))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in described}

    def held(self) -> dict[str, int]:
        """Application to the cores that it holds, of those that hold some."""
        use = master_page.read(f"http://127.0.0.1:{self.master_port}")
        return {holder.name: holder.cores for holder in use.holders if holder.cores} if use else {}

    @contextmanager
    def started(self, *arguments: str) -> Iterator["Job"]:
        """Run a command of the hub in the background during the block."""
        name = f"{self.project}-{arguments[0]}-{uuid.uuid4().hex[:6]}"
        self.compose("run", "--detach", "--name", name, "hub", *arguments)
        try:
            yield Job(name)
        finally:
            docker("rm", "--force", name)


@dataclass(frozen=True)
class Job:
    """A container that runs a command of the hub."""

    name: str

    def output(self) -> str:
        """What it has printed."""
        done = docker("logs", self.name)
        return done.stdout + done.stderr

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return succeed("inspect", "--format", "{{.State.Running}}", self.name).strip() == "true"

    def stop(self) -> tuple[int, float]:
        """Stop it as `docker stop` does; exit status, and seconds until it ended."""
        begun = time.monotonic()
        succeed("stop", self.name)
        seconds = time.monotonic() - begun
        return int(succeed("inspect", "--format", "{{.State.ExitCode}}", self.name)), seconds

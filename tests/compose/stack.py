"""The stack of docker-compose.yml: built, used by several commands at once, stopped, taken down and up again.

`make compose-test` runs these tests, in this order. They need a Docker daemon, and the base image of the
Dockerfile or a registry that has it.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from hub_client import HubClient
from tests.compose.docker import LONG, SERVICES, Stack, docker, skip_without_daemon, succeed
from tests.support import pictures
from tests.support.waiting import wait_until


def dangling() -> set[str]:
    return set(succeed("image", "ls", "--quiet", "--filter", "dangling=true").split())


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The running stack of an image that is built here."""
    skip_without_daemon()
    stack = Stack()
    stack.compose("build", timeout=LONG)
    try:
        stack.compose("up", "--detach")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "20")


@pytest.fixture(scope="module")
def demo(stack: Stack) -> dict[str, Any]:
    """Results of `hub demo`."""
    results: dict[str, Any] = stack.json("demo", "--epochs", "4")
    return results


def test_the_first_run_of_a_command_keeps_the_stack_and_builds_no_further_image(stack: Stack) -> None:
    before, images = stack.containers(), dangling()
    assert len({each["Image"] for each in before.values()}) == 1
    status = stack.hub("status")
    assert "no tables yet" in status
    after = stack.containers()
    assert {name: after[name]["Id"] for name in SERVICES} == {name: before[name]["Id"] for name in SERVICES}
    assert dangling() <= images


def test_no_container_has_a_volume_without_a_name(stack: Stack) -> None:
    for name, each in stack.containers().items():
        for mount in each["Mounts"]:
            assert mount["Name"].startswith(stack.project), f"{name} mounts {mount}"


def test_only_the_s3_server_and_commands_have_its_keys(stack: Stack) -> None:
    with_keys = {
        name
        for name, each in stack.containers().items()
        if any(variable.startswith("AWS_") for variable in each["Config"]["Env"])
    }
    assert with_keys == {"s3", "hub", "web"}


def test_the_image_has_no_test_tools_and_an_archive_of_sparks_classes(stack: Stack) -> None:
    script = "import importlib.util as u; print([n for n in ('pytest', 'mypy', 'tests') if u.find_spec(n)])"
    listed = stack.compose("run", "--rm", "--no-TTY", "--entrypoint", "python", "hub", "-c", script)
    assert listed.strip() == "[]"
    stack.compose("exec", "-T", "master", "test", "-s", "/hub/jars/spark.jsa")


def test_the_demo_keeps_its_report_and_names_the_commit_of_the_code(
    stack: Stack, demo: dict[str, Any]
) -> None:
    assert demo["accepted"] == demo["pushed"] - demo["rejected"] > 1000
    batch = demo["report"].rpartition("/")[2].removesuffix(".html")
    assert demo["report"] == f"s3a://hub/lake/reports/{batch}.html"
    page = stack.hub("report", batch, "--to", "-")
    assert page.startswith("<!doctype html>")
    assert all(text in page for text in (batch, demo["dataset_id"], demo["model_id"], "Confusion matrix"))
    model = stack.json("models", "show", demo["model_id"])
    assert f"+{stack.commit[:12]}" in str(model)
    assert "uploads, samples, labels, datasets, models" in stack.hub("status")


def test_nobody_lists_or_reads_the_bucket_without_a_key(stack: Stack, demo: dict[str, Any]) -> None:
    for path in ("", "hub", "hub/?list-type=2", "hub/" + demo["report"].removeprefix("s3a://hub/")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{stack.s3_port}/{path}", timeout=20)
        assert refused.value.code == 403, path


def test_a_phone_uploads_to_the_web_server_and_sees_page_and_verdict(
    stack: Stack, demo: dict[str, Any]
) -> None:
    key = stack.json("keys", "add", "anna", "--device", "phone-7")["key"]
    with HubClient(f"http://127.0.0.1:{stack.web_port}", key, timeout=60) as hub:
        sent = hub.upload(pictures.jpeg(seed=1), "cat")
        assert hub.status(sent.id).state == "stored"
        assert stack.json("ingest", "--once")["accepted"] == 1
        assert hub.wait_for_verdict(sent.id).state == "accepted"
        assert wait_until(lambda: [each["id"] for each in hub.all("uploads")] == [sent.id], 60)
        assert hub.picture(sent.id).startswith(b"\xff\xd8\xff")
    page = urllib.request.Request(
        f"http://127.0.0.1:{stack.web_port}/mine", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(page, timeout=60) as answer:
        assert sent.id in answer.read().decode()


def test_ingestion_query_and_training_run_together(stack: Stack, demo: dict[str, Any]) -> None:
    uploads = stack.count("uploads")
    train = "train", "--dataset", demo["dataset_id"], "--workers", "2", "--epochs", "500"
    with stack.started("ingest") as ingest, stack.started(*train) as training:
        together = wait_until(lambda: stack.held() == {"hub ingest": 1, "hub train": 2}, 240)
        assert together, f"{stack.held()}; {ingest.output()}; {training.output()}"
        assert wait_until(lambda: "training: 500 epochs" in training.output(), 240), training.output()
        pushed = stack.json("push", "digits")["acknowledged"]
        assert wait_until(lambda: stack.count("uploads") == uploads + pushed, 400), ingest.output()
        assert training.is_running(), training.output()
        mapped = stack.compose("exec", "-T", "worker-1", "bash", "-c", "grep -l spark.jsa /proc/[0-9]*/maps")
        assert mapped.strip(), "the executor of the training does not map the archive of Spark's classes"
        for job in (training, ingest):
            status, seconds = job.stop()
            assert status == 143, job.output()
            assert seconds < 60, job.output()
    assert stack.json("ingest", "--once")["records"] == 0  # at once: the lease is free


def test_a_killed_ingestion_does_not_keep_the_next_one_out(stack: Stack, demo: dict[str, Any]) -> None:
    with stack.started("ingest") as ingest:
        assert wait_until(lambda: "hub ingest" in stack.held(), 120), ingest.output()
        second = docker(
            "compose", "--project-name", stack.project, "run", "--rm", "hub", "ingest", "--once",
            variables=stack.variables,
        )  # fmt: skip
        assert second.returncode == 1
        assert "is in use by `hub ingest`" in second.stderr
        succeed("kill", ingest.name)
        assert stack.json("ingest", "--once")["records"] == 0


def test_folders_of_ended_jobs_are_deleted(stack: Stack, demo: dict[str, Any]) -> None:
    def folders() -> list[str]:
        names = (
            stack.compose("exec", "-T", worker, "ls", "/data/work") for worker in ("worker-1", "worker-2")
        )
        return " ".join(names).split()

    assert wait_until(lambda: not folders(), 180), folders()


def test_after_down_and_up_everything_is_there(stack: Stack, demo: dict[str, Any]) -> None:
    tables = "uploads", "samples", "datasets", "models"
    before = {table: stack.count(table) for table in tables}
    topics = stack.json("status")["topics"]
    stack.compose("down")
    stack.compose("up", "--detach")
    assert {table: stack.count(table) for table in tables} == before
    assert stack.json("status")["topics"] == topics
    assert stack.json("evaluate", "--model", demo["model_id"])["model_id"] == demo["model_id"]
    pushed = stack.json("push", "digits")["acknowledged"]
    assert stack.json("ingest", "--once")["records"] == pushed

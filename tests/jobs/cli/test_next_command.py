"""What to type next: as in a shell, or as around a container."""

import pytest

from jobs.cli.next_command import typed, typed_with_file
from jobs.demo import _next_commands

COMPOSE = "docker compose run --rm OPTIONS hub"


def test_in_a_shell_commands_are_typed_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUB_CALL", raising=False)
    assert typed("status") == "hub status"
    assert typed_with_file("predict --model m", "cat.jpg") == "hub predict --model m cat.jpg"
    assert ". .venv/bin/activate" in _next_commands("m", "digits-1")


def test_around_a_container_commands_start_it_and_mount_the_folder_of_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HUB_CALL", COMPOSE)
    assert typed("status") == "docker compose run --rm hub status"
    assert typed_with_file("predict --model m", "cat.jpg") == (
        'docker compose run --rm -v "$PWD:/pictures:ro" hub predict --model m /pictures/cat.jpg'
    )
    lines = _next_commands("m", "digits-1").splitlines()
    commands = [line for line in lines if line.startswith("  ")]
    assert len(commands) == len(lines) - 2
    assert all(line.startswith("  docker compose run --rm ") for line in commands)
    assert ".venv" not in "\n".join(lines)
    assert "OPTIONS" not in "\n".join(lines)

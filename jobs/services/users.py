"""`hub users`: accounts of people who use the pages."""

import sys
from typing import TYPE_CHECKING

import click

from conf import settings as configuration
from jobs.cli.command import Command, Group, Outcome, run

if TYPE_CHECKING:
    from web.access.accounts import Accounts

ROLES = ("uploader", "reviewer", "trainer", "admin")


@click.group(cls=Group, name="users", example="hub users add anna --role reviewer --json")
def main() -> None:
    """List, add and remove accounts of people.

    Without a command, accounts are listed. Each command has --json. As soon as there is an account, the pages
    ask for a login.
    """


@main.command(cls=Command, name="list", example="hub users list")
def list_users() -> Outcome:
    """List accounts by name."""
    from jobs.cli.text_table import format_table

    people = _accounts().people()
    rows = [[each.name, each.role.value, each.created] for each in people]
    text = format_table(["name", "role", "since"], rows) if rows else "no accounts; `hub users add` makes one"
    users = [{"name": each.name, "role": each.role.value, "created": each.created} for each in people]
    return {"users": users}, text, 0


@main.command(cls=Command, name="add", example="hub users add anna --role reviewer")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="uploader", show_default=True)
def add(name: str, role: str) -> Outcome:
    """Add an account, or change its role and password.

    The password is asked for, or read from standard input if that is no terminal. A new password ends the
    account's sessions. An uploader sees their own uploads, a reviewer all, a trainer also trains, an admin
    also manages.
    """
    from web.access.principal import Role

    _accounts().set_person(name, Role(role), _password())
    return {"name": name, "role": role}, f"{name} can log in as {role}.", 0


@main.command(cls=Command, name="remove", example="hub users remove anna")
@click.argument("name")
def remove(name: str) -> Outcome:
    """Remove an account, end its sessions, and revoke its keys. Its uploads stay: see `hub erase`."""
    _accounts().remove_person(name)
    return {"removed": name}, f"{name} is removed, with all keys.", 0


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\n")


def _accounts() -> "Accounts":
    from web.access.accounts import Accounts

    return Accounts(configuration.load().web.dir / "accounts.db")


if __name__ == "__main__":
    run(main)

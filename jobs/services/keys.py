"""`hub keys`: API keys of devices."""

from typing import TYPE_CHECKING

import click

from conf import settings as configuration
from jobs.cli.command import Command, Group, Outcome, run
from jobs.services.users import ROLES

if TYPE_CHECKING:
    from web.access.accounts import Accounts, Key

_POSITIVE = click.IntRange(min=1)


@click.group(cls=Group, name="keys", example="hub keys add anna --device phone-7 --json")
def main() -> None:
    """List, add and revoke API keys, one for each device.

    Without a command, keys are listed. Each command has --json.
    """


@main.command(cls=Command, name="list", example="hub keys list")
def list_keys() -> Outcome:
    """List keys, the newest first; never their secrets."""
    from jobs.cli.text_table import format_table

    keys = _accounts().keys()
    rows = [
        [each.key_id, each.user, each.device, each.role.value, each.created, each.revoked, _limits(each)]
        for each in keys
    ]
    columns = ["key", "user", "device", "role", "since", "revoked", "limits"]
    text = format_table(columns, rows) if rows else "no keys; `hub keys add` makes one"
    return {"keys": [vars(each) | {"role": each.role.value} for each in keys]}, text, 0


@main.command(cls=Command, name="add", example="hub keys add anna --device phone-7")
@click.argument("user")
@click.option("--device", required=True, help="Id of the device; its uploads have it as ce_source.")
@click.option("--role", type=click.Choice(ROLES), default="uploader", show_default=True)
@click.option("--uploads-per-minute", type=_POSITIVE, help="Default: web.uploads_per_minute.")
@click.option("--upload-bytes", type=_POSITIVE, help="Of one upload. Default: ingest.max_bytes.")
@click.option("--bytes-per-hour", type=_POSITIVE, help="Default: web.upload_bytes_per_hour.")
def add(user: str, device: str, role: str, **limits: int | None) -> Outcome:
    """Make a key for a device of a user. It is shown once, and stored as a hash.

    The device sends it as `Authorization: Bearer KEY`. A key with the role admin may send for other users, as
    a gateway does.
    """
    from web.access.principal import Limits, Role

    key, secret = _accounts().make_key(user, device, Role(role), Limits(**limits))
    text = f"Key {key.key_id} of {user}'s {device}, shown only now:\n{secret}"
    made = {"key_id": key.key_id, "user": user, "device": device, "role": role, "key": secret}
    return made | limits, text, 0


@main.command(cls=Command, name="revoke", example="hub keys revoke 3fa9c07e")
@click.argument("key_id", metavar="KEY")
def revoke(key_id: str) -> Outcome:
    """Revoke a key: a running server refuses it at once."""
    _accounts().revoke(key_id)
    return {"revoked": key_id}, f"Key {key_id} is revoked.", 0


def _limits(key: "Key") -> str:
    limits = {
        "uploads/min": key.uploads_per_minute, "bytes": key.upload_bytes, "bytes/h": key.bytes_per_hour,
    }  # fmt: skip
    return ", ".join(f"{value:,} {name}" for name, value in limits.items() if value)


def _accounts() -> "Accounts":
    from web.access.accounts import Accounts

    return Accounts(configuration.load().web.dir / "accounts.db")


if __name__ == "__main__":
    run(main)

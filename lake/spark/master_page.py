"""The JSON page of a standalone master: how many cores the cluster has, and which application holds them."""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from conf.sections import Spark

_SECONDS = 2.0
_PORT = 8080  # Spark's default
# A proxy of this machine leads out of the cluster's network.
_OPENER = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Holder:
    """An application and the cores that it holds."""

    app_id: str
    name: str
    cores: int


@dataclass(frozen=True)
class ClusterUse:
    """The cores of a standalone cluster.

    Args:
        cores: of all its workers.
        holders: running and waiting applications.
    """

    cores: int
    holders: tuple[Holder, ...]

    @property
    def free(self) -> int:
        """Cores that no application holds."""
        return self.cores - sum(holder.cores for holder in self.holders)

    def held_by(self, app_id: str) -> int:
        """Cores that an application holds."""
        return sum(holder.cores for holder in self.holders if holder.app_id == app_id)

    def others(self, app_id: str) -> str:
        """Which other applications hold cores, as `hub ingest holds 2`; empty if none does."""
        held = [holder for holder in self.holders if holder.cores and holder.app_id != app_id]
        return ", ".join(f"{holder.name} holds {holder.cores}" for holder in held)


def address_of(spark: Spark, master: str) -> str:
    """The address of a standalone master's page; empty for another kind of cluster.

    Of several masters (`spark://a:7077,b:7077`) the first is asked unless `spark.master_page` names another.
    """
    if match := re.match(r"spark://([^,]+):\d+", master):
        return spark.master_page or f"http://{match[1]}:{_PORT}"
    return ""


def read(address: str) -> ClusterUse | None:
    """Read a master's page; None if it does not answer or there is none."""
    if not address:
        return None
    try:
        with _OPENER.open(f"{address.rstrip('/')}/json/", timeout=_SECONDS) as response:
            return _parse(json.load(response))
    except (OSError, URLError, ValueError, KeyError, TypeError):
        return None


def _parse(page: dict[str, Any]) -> ClusterUse:
    apps = page["activeapps"]
    return ClusterUse(
        int(page["cores"]), tuple(Holder(app["id"], app["name"], int(app["cores"])) for app in apps)
    )

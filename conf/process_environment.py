"""The environment variables that the hub gives its processes, so that each machine gives the same results."""

import io
import os
import sys
import time
from collections.abc import Mapping

from conf.places import CONF

_FIXED = {
    "TZ": "UTC",  # all times are read, stored and printed in UTC
    "LC_ALL": "C.UTF-8",  # Java takes the encoding of file names, digits and upper case from the locale
    "MPLBACKEND": "agg",  # a notebook's backend cannot be imported here
    "PYTHONWARNINGS": "ignore",  # `error` of another project would end what a library only warns of
    "PYTHONSAFEPATH": "1",  # Python imports nothing from the folder where a command is typed
}


def of_children(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a child process: these variables, with those that would change its results fixed.

    PYTHONPATH may name a folder with a conf.py or a models/ of the user's, so the hub's packages come first.
    A relative or empty entry starts from the current folder, as for Python.
    """
    children = dict(variables) | _FIXED
    if path := children.get("PYTHONPATH"):
        own = str(CONF.parent)
        entries = [os.path.abspath(entry) for entry in path.split(os.pathsep)]  # noqa: PTH100 - keeps links
        children["PYTHONPATH"] = os.pathsep.join([own, *(entry for entry in entries if entry != own)])
    return children


def apply() -> None:
    """Give this process, a command of the hub, the same environment as its children."""
    os.environ.update(of_children())
    time.tzset()
    if isinstance(sys.stdout, io.TextIOWrapper):  # PYTHONIOENCODING may name an encoding that lacks letters
        sys.stdout.reconfigure(errors="backslashreplace")


def restart_in_utf8() -> None:
    """Start this command again in Python's UTF-8 mode if its locale has another encoding.

    Python reads names of files, settings and text files in the encoding of the locale at its start.
    """
    if sys.getfilesystemencoding() != "utf-8":
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONUTF8": "1"})


def bypass_proxy(*hosts: str) -> None:
    """Let gRPC connect to these hosts directly: a proxy of this machine leads out of the cluster's network.

    gRPC reads `no_grpc_proxy` in place of `no_proxy`; a proxy for S3 stays in use.
    """
    os.environ["no_grpc_proxy"] = ",".join(hosts)  # noqa: SIM112 - gRPC's name

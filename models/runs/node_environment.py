"""What a TensorFlowOnSpark node takes from its machine: its address, and the place of its sockets."""

import ipaddress
import multiprocessing.util
import os
import socket
import tempfile
from contextlib import suppress
from typing import Any

_LONGEST_FOLDER = 60  # bytes; the path of a Unix socket has at most 107, some of them are for its own name
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def prepare(nodes: Any, driver: str) -> None:
    """Prepare this process, before it becomes a node.

    Args:
        nodes: the module `TFSparkNode`.
        driver: host at which the reservation server answers.
    """
    os.environ.pop("HADOOP_PREFIX", None)  # with it TensorFlowOnSpark asks for a CLASSPATH for HDFS
    if address := address_towards(driver):
        set_address(nodes, address)
    _shorten_socket_paths()


def set_address(nodes: Any, address: str) -> None:
    """Let TensorFlowOnSpark use this address of this machine.

    It would take the one that leads to the internet or, without a way there, what the machine's name resolves
    to; that may be nothing.
    """
    nodes.util.get_ip_address = lambda: address


def address_towards(host: str) -> str | None:
    """The address with which this machine reaches a host; None if that is only known within this machine.

    If a host's name resolves to a loopback address here, other machines know it under another address.
    """
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # of a datagram socket; nothing is sent
        own = str(probe.getsockname()[0])
        return own if host == own or not ipaddress.ip_address(own).is_loopback else None
    return None


def _shorten_socket_paths() -> None:
    """Let `multiprocessing` create its sockets in a folder with a short name if TMPDIR is a long one."""
    default = tempfile.gettempdir()
    if len(os.fsencode(default)) <= _LONGEST_FOLDER:
        return
    tempfile.tempdir = next((name for name in _SHORT_FOLDERS if os.access(name, os.W_OK)), default)
    try:
        multiprocessing.util.get_temp_dir()  # the process keeps it
    finally:
        tempfile.tempdir = default

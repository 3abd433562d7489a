"""What to type next, as its reader types it: in a shell, or on the machine around the hub's container."""

import os

CALL = "HUB_CALL"  # set in a container: how it is started, with OPTIONS in place of mounts
FOLDER = "/pictures"  # where a container has the current folder


def in_container() -> bool:
    """Whether the reader starts the hub in a container."""
    return CALL in os.environ


def typed(arguments: str) -> str:
    """A command line that reads no files of the reader's machine."""
    return f"{_call('')} {arguments}"


def typed_with_file(arguments: str, file: str) -> str:
    """A command line whose last argument is a file or folder of the current folder."""
    if not in_container():
        return f"hub {arguments} {file}"
    mount = f'-v "$PWD:{FOLDER}:ro" '
    return f"{_call(mount)} {arguments} {FOLDER}/{file}"


def _call(options: str) -> str:
    return os.environ.get(CALL, "hub").replace("OPTIONS ", options)

"""The base of every error the hub raises on purpose."""


class HubError(Exception):
    """Something the reader of the message can put right.

    The message is one line that names the bad value and the way out. Commands print it without
    a stack trace and leave with `exit_status`.
    """

    exit_status = 1


class SettingError(HubError):
    """A setting is unknown or its value is not allowed."""

    exit_status = 2


class UsageError(HubError):
    """An argument has a value the command cannot take."""

    exit_status = 2

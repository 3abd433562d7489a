"""Base classes of the errors that a command prints as one line."""


class HubError(Exception):
    """An error that the user can fix.

    The message is one line with the wrong value and what to do next. Commands print it without
    a stack trace and exit with `exit_status`.
    """

    exit_status = 1


class SettingError(HubError):
    """A setting is unknown or its value is not allowed."""

    exit_status = 2


class UsageError(HubError):
    """An argument of a command has a value that is not allowed."""

    exit_status = 2

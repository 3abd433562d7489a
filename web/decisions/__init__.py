"""Decisions about labels that people take on pages: words to wishes, agreement of several people, the log."""

"""Errors of requests as problem+json (RFC 9457)."""

"""Locks that one process at a time holds: OS locks on a local lake, leases on S3."""

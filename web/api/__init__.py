"""The HTTP API: routers below /api/v1, and the addresses that machines watch."""

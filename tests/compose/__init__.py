"""The stack of docker-compose.yml on a real Docker daemon; run by `make compose-test`."""

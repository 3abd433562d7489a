"""The HTTP server: the application with its routers and middleware, and the process that runs it."""

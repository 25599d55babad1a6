"""Requests to and from bytes: the HTTP server, the client that speaks to functions, and the ASGI bridge."""

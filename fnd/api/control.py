"""The control routes: what an operator asks of the daemon, over its control socket.

Who may reach them is decided before a request gets here. Streams are NDJSON, and end when their reader goes away.
"""

"""jobctl launches web applications in containers, each with its own port, TLS and password."""

__version__ = "0.1.0"

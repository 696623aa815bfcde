"""mediagate: one OpenAI-compatible server in front of every provider that generates media."""

__version__ = "0.1.0"

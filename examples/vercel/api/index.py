"""mediagate as a function of Vercel. README.md says how to put it there."""

from gateway.app import app

__all__ = ["app"]

"""Senyum: an attendance unit that knows a face, asks for a smile and signs what it saw."""

__version__ = "0.1.0"

"""Fixtures of the central room."""

from places import file_place, place, postgres, server_place

__all__ = ["file_place", "place", "postgres", "server_place"]

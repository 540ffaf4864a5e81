"""Cues to light and sound."""

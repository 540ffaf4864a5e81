"""Enrolment: people and their photos to the roster."""

from edge.enrol.assessment import for_stills, look
from edge.enrol.enrolment import MOST_REMOVED, Files, Result, enrol

__all__ = ["MOST_REMOVED", "Files", "Result", "enrol", "for_stills", "look"]

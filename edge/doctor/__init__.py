"""Looks a unit over, whether its daemon runs or not: one finding a thing, and what to do next."""

from edge.doctor.examine import examine
from edge.doctor.finding import Ailment, Finding, Verdict, healthy
from edge.doctor.patient import Patient

__all__ = ["Ailment", "Finding", "Patient", "Verdict", "examine", "healthy"]

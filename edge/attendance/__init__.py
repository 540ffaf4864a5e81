"""The rules of attendance, pure: no input or output, no threads, the clock is an argument."""

from edge.attendance.session import Session, Step
from edge.attendance.table import State

__all__ = ["Session", "State", "Step"]

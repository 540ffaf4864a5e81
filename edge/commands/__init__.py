"""What a unit does when it is ordered to."""

from edge.commands.desk import Commands, Doors
from edge.commands.steward import Change, change_of

__all__ = ["Change", "Commands", "Doors", "change_of"]

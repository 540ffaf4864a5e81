"""What a unit does when it is ordered to."""

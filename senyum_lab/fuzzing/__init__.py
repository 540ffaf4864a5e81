"""Malformed input for every reader of the event path, made from good input, the same for a seed."""

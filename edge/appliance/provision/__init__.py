"""Configures a unit from a claim: its identity, location and broker.

`claim` reads it, `plan` checks it against the machine and changes nothing, `atomic_apply` replaces
all files or none.
"""

"""Who can be recognised: the encrypted roster file, person numbers and ids, 1:N search."""

from edge.roster.content import MAX_PHOTOS, Person, Roster, stripped
from edge.roster.file import load, read, save
from edge.roster.keys import KEY_BYTES, make_key, read_key
from edge.roster.limits import Estimate, estimate, in_force
from edge.roster.people import (
    Entry,
    PeopleList,
    check_number,
    mask,
    person_id,
    read_people,
    read_people_list,
)
from edge.roster.search import DIMENSION, Gallery, fuse

__all__ = [
    "DIMENSION",
    "KEY_BYTES",
    "MAX_PHOTOS",
    "Entry",
    "Estimate",
    "Gallery",
    "PeopleList",
    "Person",
    "Roster",
    "check_number",
    "estimate",
    "fuse",
    "in_force",
    "load",
    "make_key",
    "mask",
    "person_id",
    "read",
    "read_key",
    "read_people",
    "read_people_list",
    "save",
    "stripped",
]

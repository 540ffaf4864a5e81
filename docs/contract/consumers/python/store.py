"""What a store adds to the proof of a message: duplicates, forks, moves, what is missing."""

import re
from itertools import pairwise

URN = re.compile(r"urn:senyum(:[a-z0-9-]{1,32}){3}")


class Store:
    """What a database remembers, of every unit."""

    def __init__(self):
        self.ids = {}  # digest by unit and id
        self.events, self.named = {}, {}  # by unit and number
        self.moves = set()  # number of a `moved`, the unit's name, its name before

    def judge(self, event, digest):
        unit, data = event["source"], event["data"]
        if "sequence" not in event:  # a state or health, which names the newest event
            at, head = (unit, int(data["sequence"])), data["head"]
            if head and head not in (self.events.get(at) or {self.named.get(at, head)}):
                return "fork"
            self.named.update({at: head} if head else {})
            return "genuine"
        number, previous = int(event["sequence"]), event.get("previous")
        key = (unit, event["id"])
        if key in self.ids:
            return "duplicate" if self.ids[key] == digest else "fork"
        before, same, after = (self.events.get((unit, number + by), {}) for by in (-1, 0, 1))
        broken = (before and previous not in before) or (after and digest not in after.values())
        fork = broken or same or self.named.get((unit, number), digest) != digest
        self.ids[key] = digest
        self.events.setdefault((unit, number), {})[digest] = previous
        if not fork and (origin := moved_from(event)):
            self.moves.add((number, unit, origin))
            last = self.events.get((origin, number - 1))
            fork = last and previous not in last
        return "fork" if fork else "genuine"

    def missing(self, unit):
        """Return the holes of a unit's numbers, without going through what lies in them."""
        stored = {number for of, number in self.events if of == unit}
        highest = max([0, *stored, *(number for of, number in self.named if of == unit)])
        gaps = between(sorted({0, *stored, highest + 1}))
        for first, last in self.elsewhere(unit):
            gaps = [
                part
                for a, b in gaps
                for part in ((a, min(b, first - 1)), (max(a, last + 1), b))
                if part[0] <= part[1]
            ]
        return ",".join(f"{a}-{b}" if a < b else f"{a}" for a, b in gaps) or "-"

    def elsewhere(self, unit):
        """Yield the numbers that a unit gave under other names, as far as its moves tell."""
        known = sorted(self.moves, reverse=True)
        for number, name, origin in known:
            if name != unit:
                continue
            begin, former = number, origin
            for earlier, to, source in known:
                if former != unit and earlier < begin and to == former:
                    begin, former = earlier, source
            yield (begin if former == unit else 1), number - 1


def between(numbers):
    return [(a + 1, b - 1) for a, b in pairwise(numbers) if a + 1 < b]


def moved_from(event):
    """Return the name that a unit had before, of a `moved` that does not contradict itself."""
    detail, number = event["data"].get("detail", {}), int(event["sequence"])
    origin, last = detail.get("from"), detail.get("last")
    moved = event["data"].get("code") == "moved" and number > 1 and last == number - 1
    known = isinstance(origin, str) and URN.fullmatch(origin) and origin != event["source"]
    return origin if moved and known and last is not True else None

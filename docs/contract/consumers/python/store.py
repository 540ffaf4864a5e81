"""What a store adds to the proof of a message: duplicates, forks, what is missing."""


class Store:
    """What a database remembers of one unit."""

    def __init__(self):
        self.ids, self.events, self.named = {}, {}, {}

    def judge(self, event, digest):
        if "sequence" not in event:  # a state or health, which names the newest event
            number, head = event["data"]["sequence"], event["data"]["head"]
            if number and head not in (self.events.get(number) or {self.named.get(number, head)}):
                return "fork"
            self.named.update({number: head} if number else {})
            return "genuine"
        number, previous = int(event["sequence"]), event.get("previous")
        if event["id"] in self.ids:
            return "duplicate" if self.ids[event["id"]] == digest else "fork"
        before, same, after = (self.events.get(number + step, {}) for step in (-1, 0, 1))
        broken = (before and previous not in before) or (after and digest not in after.values())
        fork = broken or same or self.named.get(number, digest) != digest
        self.ids[event["id"]] = digest
        self.events.setdefault(number, {})[digest] = previous
        return "fork" if fork else "genuine"

    def missing(self):
        gaps = []
        for number in range(1, max([0, *self.events, *self.named]) + 1):
            if number not in self.events:
                first = gaps.pop()[0] if gaps and gaps[-1][1] == number - 1 else number
                gaps.append((first, number))
        return ",".join(f"{a}-{b}" if a < b else f"{a}" for a, b in gaps) or "-"

"""Which events are on their way to the broker. Pure: no socket, no disk, no clock."""


class Window:
    """Counts out events in order, and moves `delivered` only over those the broker took.

    After a refusal nothing more is sent until every event in flight is answered; then counting
    starts again behind the last delivered one, with a single event, until one is taken.
    """

    def __init__(self, size: int, delivered: int) -> None:
        self.delivered = delivered  # the broker took this event and all before it
        self.last = delivered  # the newest event that was handed out
        self._size = size
        self._flying: dict[int, int] = {}  # packet id to sequence
        self._taken: set[int] = set()  # beyond `delivered`
        self._refused = False
        self._probing = False

    @property
    def flying(self) -> int:
        """How many events wait for their answer."""
        return len(self._flying)

    @property
    def refused(self) -> bool:
        """Whether the broker refused an event since `again`, and every answer is in."""
        return self._refused and not self._flying

    @property
    def room(self) -> int:
        """How many more events may be sent now."""
        if self._refused:
            return 0
        return (1 if self._probing else self._size) - len(self._flying)

    def send(self, mid: int, sequence: int) -> None:
        """Note that an event went out as packet `mid`."""
        self._flying[mid] = sequence
        self.last = sequence

    def answer(self, mid: int, *, taken: bool) -> bool:
        """Note the broker's answer; False where the packet was none of ours."""
        sequence = self._flying.pop(mid, None)
        if sequence is None:
            return False
        if taken:
            self._probing = False
            self._taken.add(sequence)
            while self.delivered + 1 in self._taken:
                self.delivered += 1
                self._taken.remove(self.delivered)
        else:
            self._refused = True
        return True

    def again(self) -> None:
        """Begin anew behind the last delivered event, carefully."""
        self._flying.clear()
        self._taken.clear()
        self.last = self.delivered
        self._refused = False
        self._probing = True

"""Records the event numbers in use in a second place, independent of the outbox.

The outbox may be damaged, or restored from an old backup, and then no longer show the highest
number. Using a number again under the same key would be a fork, so a file next to the signing key
(`signing.key.begun`) records it independently:

- `reserved`, durable before a number up to it is used, a block at a time;
- `started` and `sequence`, before and after every commit, left to the kernel to write back. So
  they are exact after a kill, and after an orderly end; after a power cut they may be old, and
  only `reserved` bounds what was used.

Two slots of 512 bytes, one a sector, take turns, each with its checksum: whatever happens to the
one that is written, the other is whole. Both lie in one block of the file system, so that seldom
events cost the card one block each. The file never grows, so a full disk does not stop it.
"""

import contextlib
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from edge.errors import OutboxError
from edge.system.boot_id import boot_id
from edge.system.files import sync_folder

BLOCK = 256  # numbers reserved at a time: the most that a lost outbox leaves unused
SLOT_BYTES = 512
SLOTS = (0, 512)  # offsets
_MAGIC = "senyum-numbers-1"
_CLOSED = "closed"  # in the place of a boot id: an orderly end, and durable


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """The content of the file."""

    schema: int  # of the outbox
    epoch: int = 0  # which outbox file goes with the key; counts the renewals
    session: int = 0
    reserved: int = 0  # no event has a higher number
    started: int = 0  # the newest number that was about to be stored
    sequence: int = 0  # the newest event that was stored
    digest: str | None = None  # of that event
    boot: str = ""  # boot id of who wrote it
    suspect: bool = False  # the outbox was found damaged while at work

    def exact(self, boot: str) -> bool:
        """Whether `sequence` is the newest event for certain."""
        return self.boot in (_CLOSED, boot) and self.started == self.sequence


class SequenceLog:
    """The file, open for writing. One thread at a time. Methods raise OutboxError."""

    def __init__(self, file: Path) -> None:
        """Open the file, or make it; `mark` is None where it says nothing (yet, or any more)."""
        self.file = file
        self._count = 0
        self.boot = boot_id()
        try:
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            sync_folder(file.parent)
        except OSError as error:
            raise OutboxError(f"{file}: cannot be opened: {error.strerror}") from None
        try:
            slots = [os.pread(self._descriptor, SLOT_BYTES, offset) for offset in SLOTS]
        except OSError as error:
            os.close(self._descriptor)
            raise OutboxError(f"{file}: cannot be read: {error.strerror}") from None
        marks = [mark for slot in slots if (mark := _parse(slot)) is not None]
        self.mark: SequenceRecord | None = None
        if marks:
            self._count, self.mark = max(marks, key=lambda found: found[0])
        if self.mark is not None and len(marks) < len(SLOTS):
            # The other slot may have been the newer one.
            self.mark = replace(self.mark, boot="")

    def initialize_from(
        self, schema: int, epoch: int, session: int, head: int, digest: str | None
    ) -> None:
        """Begin a session over a sound outbox whose newest event is `head`; durable."""
        reserved = max(head, self.mark.reserved if self.mark is not None else 0)
        mark = SequenceRecord(schema, epoch, session, reserved, head, head, digest, self.boot)
        for _ in SLOTS:  # both, so that a damaged one is healed
            self._write(mark, durable=True)

    def begin(self, last: int) -> None:
        """Say that numbers up to `last` are about to be stored; durable when this returns."""
        mark = self._known()
        reserved = last + BLOCK if last > mark.reserved else mark.reserved
        self._write(replace(mark, started=last, reserved=reserved), durable=last > mark.reserved)

    def stored(self, sequence: int, digest: str | None) -> None:
        """Say that the newest event is this one, and none is on its way."""
        self._write(
            replace(self._known(), started=sequence, sequence=sequence, digest=digest),
            durable=False,
        )

    def mark_uncertain(self) -> None:
        """Have the next start look at the whole outbox, whatever its size; durable."""
        self._write(replace(self._known(), suspect=True), durable=True)

    def rewrite(self, sequence: int, digest: str | None, schema: int) -> None:
        """Say that another file goes on behind `sequence`, and no older one ever again; durable."""
        known = self._known()
        reserved = max(known.reserved, sequence)
        mark = SequenceRecord(
            schema,
            known.epoch + 1,
            known.session,
            reserved,
            sequence,
            sequence,
            digest,
            self.boot,
        )
        self._write(mark, durable=True)

    def close(self, *, orderly: bool) -> None:
        """Close; after an orderly end the numbers are exact even if the power goes next."""
        try:
            if orderly and self.mark is not None:
                self._write(replace(self.mark, boot=_CLOSED), durable=True)
        finally:
            os.close(self._descriptor)

    def _known(self) -> SequenceRecord:
        if self.mark is None:
            raise OutboxError(f"{self.file}: says nothing of the numbers used")
        return self.mark

    def _write(self, mark: SequenceRecord, *, durable: bool) -> None:
        if mark == self.mark and not durable:
            return
        count = self._count + 1
        try:
            os.pwrite(self._descriptor, _format(count, mark), SLOTS[count % len(SLOTS)])
            if durable:
                os.fdatasync(self._descriptor)
        except OSError as error:
            raise OutboxError(f"{self.file}: cannot be written: {error.strerror}") from None
        self._count, self.mark = count, mark


def _format(count: int, mark: SequenceRecord) -> bytes:
    fields = (
        _MAGIC,
        count,
        mark.schema,
        mark.epoch,
        mark.session,
        mark.reserved,
        mark.started,
        mark.sequence,
        mark.digest or "-",
        mark.boot or "-",
        int(mark.suspect),
    )
    text = " ".join(str(field) for field in fields).encode("ascii")
    return (text + b" %08x\n" % zlib.crc32(text)).ljust(SLOT_BYTES, b"\n")


def _parse(slot: bytes) -> tuple[int, SequenceRecord] | None:
    """Read a slot; None where it was never written, or is damaged."""
    with contextlib.suppress(ValueError):
        text, check = slot.rstrip(b"\n").rsplit(b" ", 1)
        if int(check, 16) != zlib.crc32(text):
            return None
        magic, count, *numbers, digest, boot, suspect = text.decode("ascii").split(" ")
        if magic != _MAGIC:
            return None
        schema, epoch, session, reserved, started, sequence = map(int, numbers)
        return int(count), SequenceRecord(
            schema,
            epoch,
            session,
            reserved,
            started,
            sequence,
            None if digest == "-" else digest,
            "" if boot == "-" else boot,
            suspect == "1",
        )
    return None

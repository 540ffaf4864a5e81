"""Provisions a unit: by a claim file, with or without a person there."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ProvisionError, SenyumError
from edge.provision import present
from edge.provision.claim import NAME, Documents
from edge.provision.plan import Machine, Plan, prepare
from edge.provision.staging import Staging, overwrite
from edge.secrets import sync_folder

# Of Raspberry Pi OS since Bookworm, and before.
BOOT = (Path("/boot/firmware"), Path("/boot"))
RECEIPT, COMPLAINT, REQUEST = "senyum-receipt.txt", "senyum-error.txt", "senyum-request.csr"


_WIPED = (
    "The claim was overwritten and removed. Flash may keep copies of it where no program",
    "reaches them: change the broker's password if this card leaves your hands.",
)
_BRING_IN = (
    "where the broker goes by certificates, bring it in with a claim of one line,",
    'certificate = "FILE", or with senyum provision --certificate FILE.',
)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    plan: Plan
    changed: tuple[Path, ...]

    @property
    def sentence(self) -> str:
        """One line for the journal and the terminal."""
        unit = self.plan.unit.source
        if self.plan.moved_from is not None:
            return f"moved from {self.plan.moved_from.source} to {unit}"
        return f"is now {unit}" if self.changed else f"is {unit} already; nothing changed"


def provision(documents: Documents, machine: Machine) -> Done:
    """Check the claim whole, then put everything in place, or nothing. Raises SenyumError."""
    staging = Staging(machine.config.parent)
    staging.finish()
    plan = prepare(documents, machine)
    state = plan.settings.outbox.file.parent
    if plan.files:
        _make_folders(machine, state)
        staging.put(plan.files)
    return Done(plan, tuple(file.path for file in plan.files))


def at_boot(machine: Machine, folders: Sequence[Path] = BOOT) -> Done | None:
    """Finish what was begun, and take the claim that lies in the first folder that has one.

    The claim is wiped and a receipt, with the request for a certificate, left in its place. What
    is wrong with a claim is written beside it, for whoever put the card in. None: there is no
    claim. Raises SenyumError.
    """
    Staging(machine.config.parent).finish()
    claim = next((path for folder in folders if (path := folder / NAME).is_file()), None)
    if claim is None:
        return None
    if _wiping_began(claim):  # power went then; it was taken before
        wipe(claim)
        return None
    folder = claim.parent
    try:
        done = provision(Documents.read(claim), machine)
    except SenyumError as error:
        _leave(folder / COMPLAINT, f"{error}\nNothing was changed.\n")
        raise
    _leave(folder / REQUEST, done.plan.request.decode())
    _leave(folder / RECEIPT, receipt(done))
    wipe(claim)
    (folder / COMPLAINT).unlink(missing_ok=True)
    return done


def receipt(done: Done, folder: Path | None = None) -> str:
    """Return what a person may know afterwards: nothing in it is secret.

    `folder` holds the request for a certificate; None: it lies beside the receipt.
    """
    plan = done.plan
    place, broker = plan.settings.unit.place, plan.settings.broker
    request = REQUEST if folder is None else folder / present.REQUEST
    keys = json.dumps({"keys": [plan.registration, plan.recipient]}, indent=2)
    where = f"{place.latitude}, {place.longitude} ({place.zone})"
    lines = [
        f"This unit {done.sentence}.",
        f"It hangs at {where} and reports to {broker.host}:{broker.port}.",
        "",
    ]
    if folder is None:
        lines += [*_WIPED, ""]
    if broker.tls and broker.certificate is None:
        lines += [f"{request} asks for a certificate;", *_BRING_IN, ""]
    lines += ["For the central server's keys.json:", keys, ""]
    return "\n".join(lines)


def wipe(claim: Path) -> None:
    """Overwrite a claim and remove it. Raises ProvisionError."""
    try:
        overwrite(claim)
    except OSError as error:
        raise ProvisionError(
            f"{claim}: cannot be wiped: {error.strerror}; remove it, for it may hold a password"
        ) from None


def _wiping_began(claim: Path) -> bool:
    try:
        with claim.open("rb") as file:
            return file.read(1) in (b"", b"\0")
    except OSError as error:
        raise ProvisionError(f"{claim}: cannot be read: {error.strerror}") from None


def _leave(path: Path, text: str) -> None:
    """Write a note on the boot partition; one that cannot be written stops nothing."""
    try:
        path.write_text(text, encoding="utf-8")
        sync_folder(path.parent)
    except OSError:
        return


def _make_folders(machine: Machine, state: Path) -> None:
    try:
        if not machine.config.parent.exists():
            machine.config.parent.mkdir(parents=True)
            machine.config.parent.chmod(0o755)  # the daemon reads there, whatever the umask
        if not state.exists():
            state.mkdir(parents=True, mode=0o700)
            if machine.owner.uid != os.geteuid():
                os.chown(state, machine.owner.uid, machine.owner.gid)
    except OSError as error:
        raise ProvisionError(f"{error.filename}: cannot be made: {error.strerror}") from None

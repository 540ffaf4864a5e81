"""Provisions a unit from what it is given, all or nothing."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from edge.appliance.provision import current_config as present
from edge.appliance.provision.atomic_apply import AtomicApply
from edge.appliance.provision.claim import Documents
from edge.appliance.provision.plan import ProvisioningPlan, ProvisioningTarget, prepare
from edge.errors import ProvisionError

REQUEST = "senyum-request.csr"  # beside the receipt on the boot partition

_WIPED = (
    "The claim was overwritten and removed. Flash may keep copies of it where no program",
    "reaches them: change the broker's password if this card leaves your hands.",
)
_BRING_IN = (
    "where the broker goes by certificates, bring it in with a claim of one line,",
    'certificate = "FILE", or with senyum provision --certificate FILE.',
)


@dataclass(frozen=True, slots=True)
class AppliedChanges:
    """What came of it."""

    plan: ProvisioningPlan
    changed: tuple[Path, ...]

    @property
    def sentence(self) -> str:
        """One line for the journal and the terminal."""
        unit = self.plan.unit.source
        if self.plan.moved_from is not None:
            return f"moved from {self.plan.moved_from.source} to {unit}"
        return f"is now {unit}" if self.changed else f"is {unit} already; nothing changed"


def provision(documents: Documents, machine: ProvisioningTarget) -> AppliedChanges:
    """Check the claim whole, then put everything in place, or nothing. Raises SenyumError."""
    staging = AtomicApply(machine.config.parent)
    staging.finish()
    plan = prepare(documents, machine)
    state = plan.settings.outbox.file.parent
    if plan.files:
        _make_folders(machine, state)
        staging.put(plan.files)
    return AppliedChanges(plan, tuple(file.path for file in plan.files))


def receipt(done: AppliedChanges, folder: Path | None = None) -> str:
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
    if plan.remarks:
        lines += ["Please note:", *plan.remarks, ""]
    if folder is None:
        lines += [*_WIPED, ""]
    if broker.tls and broker.certificate is None:
        lines += [f"{request} asks for a certificate;", *_BRING_IN, ""]
    lines += ["For the central server's keys.json:", keys, ""]
    return "\n".join(lines)


def _make_folders(machine: ProvisioningTarget, state: Path) -> None:
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

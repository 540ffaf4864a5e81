"""All checks, in the order in which a technician mends things."""

from collections.abc import Callable, Iterable, Iterator

from edge.appliance.doctor import broker as wire
from edge.appliance.doctor import camera as sight
from edge.appliance.doctor import credentials as papers
from edge.appliance.doctor import machine
from edge.appliance.doctor import outputs as signs
from edge.appliance.doctor.context import DiagnosticContext
from edge.appliance.doctor.result import DiagnosticResult, failed
from edge.errors import ErrorCode

Check = Callable[[DiagnosticContext], DiagnosticResult | Iterable[DiagnosticResult]]

CHECKS: dict[str, Check] = {
    "settings": papers.settings,
    "claim": papers.claim,
    "power": machine.power,
    "temperature": machine.temperature,
    "clock": machine.clock,
    "disk": machine.disk,
    "disk wear": machine.wear,
    "memory limit": machine.memory,
    "daemon": machine.daemon,
    "camera": sight.camera,
    "light and sound": signs.signs,
    "models": papers.models,
    "roster": papers.roster,
    "signing key": papers.signing_key,
    "certificates": papers.certificates,
    "brokers": wire.brokers,
}


def run_checks(patient: DiagnosticContext) -> Iterator[DiagnosticResult]:
    """Yield findings as they come; a check that fails itself is a finding too."""
    for name, check in CHECKS.items():
        try:
            found = check(patient)
            yield from [found] if isinstance(found, DiagnosticResult) else found
        except Exception as error:  # noqa: BLE001 - the other checks are still wanted
            yield failed(
                name, ErrorCode.INTERNAL, f"the check itself failed ({type(error).__name__})"
            )

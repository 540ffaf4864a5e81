"""All checks, in the order in which a technician repairs a unit."""

from collections.abc import Callable, Iterable, Iterator

from edge.appliance.doctor import broker, camera, credentials, gpio, system
from edge.appliance.doctor.diagnostics import DiagnosticContext, DiagnosticResult, failed
from edge.errors import ErrorCode

Check = Callable[[DiagnosticContext], DiagnosticResult | Iterable[DiagnosticResult]]

CHECKS: dict[str, Check] = {
    "settings": credentials.check_settings,
    "claim": credentials.check_claim,
    "power": system.check_power,
    "temperature": system.check_temperature,
    "clock": system.check_clock,
    "disk": system.check_disk,
    "disk wear": system.check_disk_wear,
    "memory limit": system.check_memory_limit,
    "daemon": system.check_daemon,
    "camera": camera.check_camera,
    "light and sound": gpio.check_actuators,
    "models": credentials.check_models,
    "roster": credentials.check_roster,
    "signing key": credentials.check_signing_key,
    "certificates": credentials.check_certificates,
    "brokers": broker.check_brokers,
}


def run_checks(context: DiagnosticContext) -> Iterator[DiagnosticResult]:
    """Yield each result as soon as it is known; a check that raises is reported as failed."""
    for name, check in CHECKS.items():
        try:
            result = check(context)
            yield from [result] if isinstance(result, DiagnosticResult) else result
        except Exception as error:  # noqa: BLE001 - the other checks still run
            yield failed(
                name, ErrorCode.INTERNAL, f"the check itself failed ({type(error).__name__})"
            )

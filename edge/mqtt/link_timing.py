"""How often the link does what, beside the back-off of the settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """Seconds."""

    health_interval: float = 60.0  # between two reports
    puback_timeout: float = 30.0  # a broker that answers no PUBLISH for so long is given up
    persist_interval: float = 600.0  # before deliveries are noted on disk, where few come together
    settled: float = 10.0  # a connection that lasted so long was a good one
    operator_retry: float = 300.0  # between two tries where a person has to mend something
    # Between two tries to come back to a better broker; doubles to `max_retry`.
    failback_retry: float = 300.0
    max_retry: float = 3600.0
    # Before an event that was set aside is tried again; doubles to `max_retry`.
    quarantine_retry: float = 60.0
    credential_poll: float = 30.0  # between two looks at the certificate's and the password's files
    # For the next part of a roster, then it is asked for again; doubles.
    fetch_timeout: float = 10.0

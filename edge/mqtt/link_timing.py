"""How often the link does what, beside the back-off of the settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds."""

    health: float = 60.0  # between two reports
    answer: float = 30.0  # a broker that answers no PUBLISH for so long is given up
    note: float = 600.0  # before deliveries are noted on disk, where few come together
    settled: float = 10.0  # a connection that lasted so long was a good one
    slow: float = 300.0  # between two tries where a person has to mend something
    back: float = 300.0  # between two tries to come back to a better broker; doubles to `rarely`
    rarely: float = 3600.0
    aside: float = 60.0  # before an event that was set aside is tried again; doubles to `rarely`
    files: float = 30.0  # between two looks at the certificate's and the password's files
    fetch: float = 10.0  # for the next part of a roster, then it is asked for again; doubles

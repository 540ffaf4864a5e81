"""What docs/broker/access.acl says of units by a pattern, spelled out for each of them."""

from edge.contract.topics import ROOT

# The leaves of a unit's topics; a test holds them against the file.
WRITES = ("event", "state", "health", "reply/+")
READS = ("command/+", "roster", "roster/+")


def expand_acl(unit: str) -> str:
    """Return the lines of mosquitto's access list for one unit, ORG/SITE/UNIT."""
    rights = (("write", WRITES), ("read", READS))
    lines = [f"topic {right} {ROOT}/{unit}/{leaf}" for right, leaves in rights for leaf in leaves]
    shared = f"topic read {ROOT}/{unit.partition('/')[0]}/all/all/roster/+"
    return "\n".join((f"user {unit}", *lines, shared)) + "\n"

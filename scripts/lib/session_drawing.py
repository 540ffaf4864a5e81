"""Draw the session's table as docs/session.md: rules, a diagram, and what each state does."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from generated_page import write_or_check

from edge.attendance import table
from edge.attendance.table import IGNORED, LASTS, SIGNS, STATES, TABLE, State, Transition, Trigger

PAGE = Path(__file__).parents[2] / "docs" / "session.md"


def rules() -> str:
    """Return the rules at the top of the table's module, as it has them."""
    assert table.__doc__ is not None
    return table.__doc__.split("Rules\n", 1)[1].strip()


def diagram() -> Iterator[str]:
    """Yield a Mermaid state diagram. Faults are left out: they lead from everywhere to faulty."""
    yield "stateDiagram-v2"
    yield f"    [*] --> {State.NOBODY}"
    for state, rows in TABLE.items():
        arrows: dict[State, list[Trigger]] = defaultdict(list)
        for sign, rule in rows.items():
            if rule.to is not state and sign is not Trigger.FAULT:
                arrows[rule.to].append(sign)
        for to, signs in arrows.items():
            yield f"    {state} --> {to}: {', '.join(signs)}"


def row(sign: Trigger, rule: Transition) -> str:
    """Return one line of a state's table."""
    cue = "-"
    if rule.cue is not None:
        heard = rule.cue.level > 0 and sign is not Trigger.SAME
        cue = f"{rule.cue.name}, heard" if heard else str(rule.cue.name)
    event = rule.event or "-"
    again = " (the person is forgotten)" if rule.resets_person else ""
    return f"| {sign} | {SIGNS[sign]} | {rule.to}{again} | {cue} | {event} |"


def lasting(state: State) -> str:
    """Return how long `state` may last, as a half sentence."""
    if (lasts := LASTS.get(state)) is None:
        return ""
    return f" At most `{lasts}`." if isinstance(lasts, str) else f" At most {lasts:g} s."


def chapter(state: State) -> Iterator[str]:
    """Yield what `state` does with each sign."""
    yield f"## {state}"
    yield ""
    yield f"{STATES[state].capitalize()}.{lasting(state)}"
    yield ""
    yield "| sign | meaning | next | cue | event |"
    yield "| --- | --- | --- | --- | --- |"
    for sign in Trigger:
        if sign in TABLE[state]:
            yield row(sign, TABLE[state][sign])
    yield ""
    yield f"Ignored: {', '.join(s for s in Trigger if s in IGNORED[state])}."
    never = [s for s in Trigger if s not in TABLE[state] and s not in IGNORED[state]]
    if never:
        yield f"Cannot come: {', '.join(never)}."
    yield ""


def page() -> str:
    """Return the whole page."""
    lines = [
        "# The session",
        "",
        "Written by `scripts/draw_session` from `edge/attendance/table.py`. Change that, not this.",
        "",
        "## Rules",
        "",
        rules(),
        "",
        "## Diagram",
        "",
        "```mermaid",
        *diagram(),
        "```",
        "",
    ]
    for state in State:
        lines += chapter(state)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), "draw_session"))

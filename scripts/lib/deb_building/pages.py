"""The manual page and the shell completion, generated from the parser of `senyum`."""

import argparse
import gzip
from collections.abc import Iterator
from typing import Any

from edge.cli import build_parser

Parser = argparse.ArgumentParser
# Not on the device, or run by systemd only.
OMITTED = {"admin", "export", "receive", "simulate", "verify", "clock-watch"}


def _is_choice(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - argparse has no public interface for this


def _commands(of: Parser) -> dict[str, Parser]:
    choices: list[Any] = [a.choices for a in of._actions if _is_choice(a)]  # noqa: SLF001
    found = dict(choices[0]) if choices else {}
    return {name: sub for name, sub in found.items() if name not in OMITTED}


def _options(of: Parser) -> Iterator[argparse.Action]:
    yield from (action for action in of._actions if action.option_strings)  # noqa: SLF001


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("\n.", "\n\\&.").lstrip(".'")


def _described(name: str, of: Parser) -> Iterator[str]:
    yield f".SS {_escaped(name)}"
    yield _escaped(of.description or "")
    for action in of._actions:  # noqa: SLF001
        if action.dest in {"help", argparse.SUPPRESS} or _is_choice(action):
            continue
        value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
        words = (", ".join(action.option_strings), str(value))
        yield ".TP"
        yield f".B {_escaped(' '.join(filter(None, words)))}"
        help_text = (action.help or "").replace("%(default)s", str(action.default))
        yield _escaped(help_text) or "\\&"
    for inner, sub in _commands(of).items():
        yield from _described(f"{name} {inner}", sub)


def manual(version: str, day: str) -> bytes:
    """Return senyum.1, compressed, without a time stamp."""
    top = build_parser()
    lines = [
        f'.TH SENYUM 1 "{day}" "senyum {version}" "User Commands"',
        ".SH NAME",
        "senyum \\- attendance unit: recognises a face, asks for a smile, signs the event",
        ".SH SYNOPSIS",
        ".B senyum",
        "[\\-\\-log\\-level LEVEL] COMMAND ...",
        ".SH DESCRIPTION",
        _escaped(
            "The unit runs as senyum.service; senyum-fault.service shows the out-of-order cue "
            "while it is down, senyum-power.service monitors temperature and voltage. The commands "
            "below are for technicians."
        ),
        ".SH COMMANDS",
    ]
    for name, sub in _commands(top).items():
        lines += _described(name, sub)
    lines += [
        ".SH FILES",
        ".TP\n.B /etc/senyum/senyum.toml\nSettings.",
        ".TP\n.B /etc/senyum/roster.key\nKey of the roster, readable by root only.",
        ".TP\n.B /var/lib/senyum\nRoster, signing key and events.",
        ".SH EXIT STATUS",
        "0 success, 2 wrong usage or settings, 1 any other error.",
        ".SH SEE ALSO",
        ".BR systemctl (1),\n/usr/share/doc/senyum\\-edge",
    ]
    return gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0)


def completion() -> str:
    """Return the bash completion: commands, then the options of the typed command."""
    top = build_parser()
    cases = []

    def words(path: str, of: Parser) -> None:
        inner = _commands(of)
        flags = [flag for action in _options(of) for flag in action.option_strings]
        cases.append(f'        "{path}") words="{" ".join([*inner, *flags])}" ;;')
        for name, sub in inner.items():
            words(f"{path} {name}".strip(), sub)

    words("", top)
    known = "\n".join(cases)
    paths = "|".join(f'"{path}"' for path in _paths(top))
    return f"""# bash completion for senyum; written by scripts/build_deb
_senyum() {{
    local here=${{COMP_WORDS[COMP_CWORD]}} path="" word words=""
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "${{path:+$path }}$word" in
            {paths}) path="${{path:+$path }}$word" ;;
        esac
    done
    case "$path" in
{known}
    esac
    if [[ $here == -* || -z $path ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$here")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -f -- "$here")
    fi
}}
complete -o filenames -F _senyum senyum
"""


def _paths(of: Parser, before: str = "") -> Iterator[str]:
    for name, sub in _commands(of).items():
        path = f"{before} {name}".strip()
        yield path
        yield from _paths(sub, path)

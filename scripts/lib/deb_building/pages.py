"""The manual page and the shell completion, from the command line's own parser."""

import argparse
import gzip
from collections.abc import Iterator

from edge.cli import build_parser

Parser = argparse.ArgumentParser


def _commands(of: Parser) -> dict[str, Parser]:
    for action in of._actions:  # noqa: SLF001 - argparse has no public way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def _options(of: Parser) -> Iterator[argparse.Action]:
    yield from (action for action in of._actions if action.option_strings)  # noqa: SLF001


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("\n.", "\n\\&.").lstrip(".'")


def _described(name: str, of: Parser) -> Iterator[str]:
    yield f".SS {_escaped(name)}"
    yield _escaped(of.description or "")
    for action in _options(of):
        if action.dest == "help":
            continue
        value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
        yield ".TP"
        yield f".B {_escaped(', '.join(action.option_strings))} {_escaped(str(value))}".rstrip()
        help_text = (action.help or "").replace("%(default)s", str(action.default))
        yield _escaped(help_text) or "\\&"
    for inner, sub in _commands(of).items():
        yield from _described(f"{name} {inner}", sub)


def manual(version: str, day: str) -> bytes:
    """Return senyum.1, compressed, without a time in it."""
    top = build_parser()
    lines = [
        f'.TH SENYUM 1 "{day}" "senyum {version}" "User Commands"',
        ".SH NAME",
        "senyum \\- attendance unit: knows a face, asks for a smile, signs what it saw",
        ".SH SYNOPSIS",
        ".B senyum",
        "[\\-\\-log\\-level LEVEL] COMMAND ...",
        ".SH DESCRIPTION",
        _escaped(
            "The unit runs as senyum.service; senyum-fault.service shows the out-of-order cue "
            "while it is down, senyum-power.service watches heat and voltage. The commands below "
            "are for people."
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
        "0 where all went well, 2 where the caller can mend it, 1 otherwise.",
        ".SH SEE ALSO",
        ".BR systemctl (1),\n/usr/share/doc/senyum\\-edge",
    ]
    return gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0)


def completion() -> str:
    """Return the completion for bash: commands, then the options of the one that is typed."""
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

"""Lists as spreadsheets, editors and tired people write them."""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge.errors import LabelsError, PeopleError
from edge.roster.people import PeopleList, PersonEntry, check_number, read_people, read_people_list
from edge.system.text import escaped, visible
from senyum_lab.evaluate.labels import read as read_labels

inputs = settings.get_profile("inputs")

TODAY = date(2026, 1, 1)
NUMBER = "198503022010011003"
EXEMPT = {"yes": True, "Ya": True, "1": True, "TRUE": True, "no": False, "tidak": False, "": False}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists") / "people.csv"


def read(file: Path, content: bytes) -> PeopleList | None:
    """Return what was read, or None if the list as a whole was refused as it should be."""
    file.write_bytes(content)
    said = ""
    try:
        people = read_people_list(file)
    except PeopleError as error:
        said = str(error)
    if said:
        assert said.startswith(f"{file}: ")
        assert len(escaped(said)) < len(str(file)) + 2000
        return None
    for entry in people.entries:
        assert re.fullmatch("[0-9]{18}", entry.number)
        assert visible(entry.name) == entry.name
        assert not re.search(r"[0-9]{8}", entry.name)
    return people


def unaccounted(content: bytes, people: PeopleList) -> list[int]:
    """Return the lines that are neither used nor reported nor blank; there must be none."""
    text = content.decode("utf-8", "surrogateescape").lstrip("\ufeff")
    lines = dict(enumerate(re.split("\r\n|\n|\r", text), 1))
    known = [entry.line for entry in people.entries]
    known += [problem.line for problem in people.problems]
    header = min((n for n, line in lines.items() if visible(line)), default=0)
    if re.fullmatch("sep=[;,\t|]+", lines[header].strip('" '), re.IGNORECASE):
        header = min(n for n, line in lines.items() if n > header and visible(line))
    assert not [line for line in known if line <= header]
    assert len(known) == len(set(known))
    return [
        n
        for n, line in lines.items()
        if n > header and n not in known and visible(line.strip(',;"\t '))
    ]


# --- good lists --------------------------------------------------------------------------------

numbers = st.integers(1, 999_999).map(
    lambda n: (
        f"1985{n % 12 + 1:02}{n % 28 + 1:02}2010{n // 1000 % 12 + 1:02}{n % 2 + 1}{n % 999 + 1:03}"
    )
)
letters = st.characters(categories=["L", "M"], exclude_characters="\ufffd")
names = (
    st.text(letters | st.sampled_from(" .,;'\u2019\"()-\t/"), min_size=1, max_size=30)
    .map(lambda text: unicodedata.normalize("NFC", visible(text)))
    .filter(lambda name: visible(name) == name and name != "")
)
rows = st.lists(
    st.tuples(numbers, names, st.sampled_from(sorted(EXEMPT))),
    min_size=1, max_size=12, unique_by=lambda row: row[0],
)  # fmt: skip
headers = st.fixed_dictionaries(
    {
        "number": st.sampled_from(
            ["number", "NIP", "Person Number", " person_number ", "\u200bnip"]
        ),
        "name": st.sampled_from(["name", "Nama", "NAME\u00a0"]),
        "exempt": st.sampled_from(["exempt", "EXEMPT"]),
        "other": st.sampled_from(["", "Jabatan", "catatan, lain"]),
    }
)


@inputs
@given(
    rows,
    headers,
    st.permutations(["number", "name", "exempt", "other"]),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["utf-8", "utf-8-sig", "twice", "utf-16"]),
    st.booleans(),
    st.sampled_from(["", "\u200b ", "DDD"]),
)
def test_what_spreadsheets_write_is_read_to_the_letter(
    file: Path,
    rows: list[tuple[str, str, str]],
    header: dict[str, str],
    order: Sequence[str],
    delimiter: str,
    end: str,
    quoting: int,
    encoding: str,
    says_separator: bool,
    blank: str,
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow([header[column] for column in order])
    for number, name, exempt in rows:
        row = {"number": number, "name": name, "exempt": exempt, "other": "x, y; z"}
        writer.writerow([row[column] for column in order])
    text = out.getvalue() + end + blank.replace("D", delimiter)
    if says_separator:
        text = f"sep={delimiter}{end}{text}"
    content = text.encode("utf-8-sig" if encoding == "twice" else encoding)
    people = read(file, b"\xef\xbb\xbf" * (encoding == "twice") + content)
    assert people is not None
    assert people.problems == ()
    first = 3 if says_separator else 2
    assert people.entries == tuple(
        PersonEntry(line, number, name, EXEMPT[exempt])
        for line, (number, name, exempt) in enumerate(rows, first)
    )


# --- one bad line --------------------------------------------------------------------------------


def plain_list(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    lines = ["number,name,exempt"]
    for row in rows:
        cells = [
            '"' + cell.replace('"', '""') + '"' if set(cell) & set('",') else cell for cell in row
        ]
        lines.append(",".join(cells))
    return lines


MARKS = ['"', '""', '",', ',"', ",", ";", "'", "\u2019", "=", "1", " ", "x"]
ODD = ["\t", "\0", "\x1b[2J", "\u200b", "\ufeff", "\u202e", "\u00a0", "\u0661", "\udce9", "\ufffd"]
wrong = st.sampled_from([*MARKS, *ODD]) | st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=4
)


@inputs
@given(rows.filter(lambda rows: len(rows) >= 3), st.data())
def test_a_bad_line_concerns_nobody_but_its_own_person(
    file: Path, rows: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    lines = plain_list(rows)
    good = read(file, "\n".join(lines).encode())
    assert good is not None
    bad = data.draw(st.sets(st.integers(2, len(lines)), min_size=1, max_size=2))
    for number in bad:
        line = lines[number - 1]
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(line)))
            line = line[:at] + data.draw(wrong) + line[at + data.draw(st.integers(0, 2)) :]
        lines[number - 1] = line
    content = "\n".join(lines).encode("utf-8", "surrogateescape")
    people = read(file, content)
    assert people is not None
    assert unaccounted(content, people) == []
    found = {entry.line: entry for entry in people.entries}
    taken = {entry.number for entry in people.entries if entry.line in bad}
    for entry in good.entries:
        if entry.line in bad:
            continue
        doubled = [each for each in people.problems if each.line == entry.line]
        assert found.get(entry.line) == (None if doubled else entry)
        # Only a bad line that now has the same number can be in the way.
        assert not doubled or (len(doubled) == 1 and "same person number" in doubled[0].what)
        assert entry.number not in taken or found.get(entry.line) == entry


@inputs
@given(rows.filter(lambda rows: len(rows) >= 2), st.data())
def test_a_stray_quotation_mark_is_reported_where_it_stands(
    file: Path, rows: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    rows = [(number, name.replace('"', "x"), exempt) for number, name, exempt in rows]
    assume(all(visible(name) == name for _, name, _ in rows))
    lines = plain_list(rows)
    bad = sorted(data.draw(st.sets(st.integers(2, len(lines)), min_size=1, max_size=4)))
    for number in bad:
        line = lines[number - 1]
        at = data.draw(st.integers(0, len(line)))
        lines[number - 1] = line[:at] + '"' + line[at:]
    people = read(file, "\n".join(lines).encode())
    assert people is not None
    assert [problem.line for problem in people.problems] == bad
    assert all("quotation mark" in problem.what for problem in people.problems)
    assert [entry.name for entry in people.entries] == [
        name for line, (_, name, _) in enumerate(rows, 2) if line not in bad
    ]


# --- anything ----------------------------------------------------------------------------------

LINES = [b"number,name,exempt", b"number;name;exempt", b"number\tname\texempt", b"sep=;"]
ROWS = [f"{NUMBER},Siti,no".encode(), f"{NUMBER};Siti;no".encode(), b"199001012022211003,Ani,ya"]
BYTES = [b",", b";", b"\t", b'"', b"\0", b"\xe9", b"\xff\xfe", b"\xef\xbb\xbf", b" ", b"no", b"="]
pieces = (
    st.sampled_from([*LINES, *ROWS, *BYTES, b"\n", b"\r\n", b"\r"])
    | st.binary(max_size=6)
    | st.text(max_size=4).map(lambda text: text.encode("utf-8", "replace"))
)


@inputs
@given(st.lists(pieces, max_size=30).map(b"".join), st.booleans())
def test_whatever_the_file_holds_no_line_vanishes(
    file: Path, content: bytes, has_header: bool
) -> None:
    content = b"number,name,exempt\n" + content if has_header else content
    people = read(file, content)
    if people is not None and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        assert unaccounted(content, people) == []
    elif people is None:
        with pytest.raises(PeopleError):
            read_people(file)


@inputs
@given(st.lists(pieces, max_size=30).map(b"".join), st.booleans())
def test_labels_are_read_or_refused_in_one_message(
    file: Path, content: bytes, has_header: bool
) -> None:
    file.write_bytes(b"number,name,exempt\n" + content if has_header else content)
    said = ""
    try:
        labels = read_labels(file, "number", "exempt", key="number")
    except LabelsError as error:
        said = str(error)
    if said:
        assert said.startswith(f"{file}: ")
    else:
        assert all(row.cells["number"] and row.cells["exempt"] for row in labels.rows)


@inputs
@given(st.characters(exclude_characters="0123456789"), st.integers(0, 18), st.integers(1, 3))
def test_a_foreign_character_in_a_number_is_left_out_or_named(
    character: str, place: int, times: int
) -> None:
    text = NUMBER[:place] + character * times + NUMBER[place:]
    said = ""
    try:
        assert check_number(text, TODAY) == NUMBER
    except PeopleError as error:
        said = str(error)
    if said:
        assert f"character {place + 1} is U+{ord(character):04X} " in said
        assert escaped(said) == said


@pytest.mark.parametrize(
    "cell",
    [
        "\u200b198503022010011003",
        "\u2019198503022010011003",
        "\ufeff198503022010011003\u00a0",
        "'198503022010011003",
        "\u202a198503022010011003\u202c",
        "19850302 201001 1 003",
        "19850302\u2009201001\u20111\u2013003",
        '="198503022010011003"',
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_numbers_as_spreadsheets_and_chats_decorate_them(
    file: Path, cell: str, delimiter: str
) -> None:
    lines = (
        delimiter.join(cells) for cells in (["number", "name", "exempt"], [cell, "Siti", "no"])
    )
    people = read(file, "\n".join(lines).encode())
    assert people is not None
    assert people.entries == (PersonEntry(2, NUMBER, "Siti", False),)


def test_an_open_quotation_mark_is_reported_at_its_line_of_41(file: Path) -> None:
    lines = [f"198503022010011{n:03},Orang {n},no" for n in range(1, 41)]
    lines[4] = lines[4].replace("Orang", '"Orang')
    people = read(file, "\n".join(["number,name,exempt", *lines]).encode())
    assert people is not None
    assert [str(problem)[:46] for problem in people.problems] == [
        "line 6, name: a quotation mark opens here and "
    ]
    assert len(people.entries) == 39
    with pytest.raises(PeopleError, match=r"people\.csv: line 6, name: a quotation mark"):
        read_people(file)


@pytest.mark.parametrize("said", [";", ",", "\t", "|"])
@pytest.mark.parametrize("used", [";", ",", "\t"])
def test_a_separator_that_excel_was_told_and_the_list_does_not_use(
    file: Path, said: str, used: str
) -> None:
    rows = ("number", "name", "exempt"), (NUMBER, "Andi", "no")
    people = read(file, "\n".join([f"sep={said}", *map(used.join, rows)]).encode())
    assert people is not None
    assert [entry.number for entry in people.entries] == [NUMBER]

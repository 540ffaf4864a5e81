import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import PeopleError
from edge.roster.people import check_number, mask, person_id, read_people

TODAY = date(2025, 6, 1)
PNS = "198503302010121002"
PPPK = "199001012022211003"

births = st.dates(date(1900, 1, 1), date(2005, 12, 31))
gaps = st.integers(15, 60)
sexes = st.sampled_from("12")
serials = st.integers(1, 999)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    birth = draw(births)
    year = min(birth.year + draw(gaps), TODAY.year + 1)
    count = draw(st.integers(1, 99))  # a month, or a contract count
    return f"{birth:%Y%m%d}{year}{count:02}{draw(sexes)}{draw(serials):03}"


@given(numbers())
def test_possible_numbers_are_accepted_as_they_are(number: str) -> None:
    assert check_number(number, TODAY) == number


@given(numbers(), st.sampled_from([" ", ".", "-", "\u00a0"]))
def test_gaps_between_the_parts_do_not_matter(number: str, gap: str) -> None:
    written = gap.join((number[:8], number[8:14], number[14], number[15:]))
    assert check_number(written, TODAY) == number


@given(numbers(), st.integers(0, 99), st.integers(0, 99))
def test_only_dates_of_the_calendar_are_birth_dates(number: str, month: int, day: int) -> None:
    changed = f"{number[:4]}{month:02}{day:02}{number[8:]}"
    try:
        date(int(number[:4]), month, day)
    except ValueError:
        with pytest.raises(PeopleError, match="digits 1 to 8"):
            check_number(changed, TODAY)
    else:
        assert check_number(changed, TODAY) == changed


def verdict(text: str) -> str:
    try:
        return check_number(text, TODAY)
    except PeopleError as error:
        return str(error)


@given(st.text(max_size=30) | st.from_regex(r"[0-9 .-]{15,22}", fullmatch=True))
def test_whatever_is_given_the_verdict_is_18_digits_or_one_line(text: str) -> None:
    said = verdict(text)
    assert re.fullmatch(r"[0-9]{18}|[^\n]* [^\n]*", said)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("19850330201012100", "17 digits"),
        ("1985033020101210021", "19 digits"),
        ("", "empty"),
        ("١٩٨٥٠٣٣٠٢٠١٠١٢١٠٠٢", "18 digits"),  # digits, but not these
        ("1.98503E+17", "spreadsheet"),
        ("1,98503302010121E+17", "spreadsheet"),
        ("198502302010121002", "digits 1 to 8"),
        ("198513302010121002", "digits 1 to 8"),
        ("188503302010121002", "digits 1 to 8"),
        ("202507302040121002", "digits 1 to 8"),
        ("198503301999121002", "digits 9 to 12"),
        ("198503302027121002", "digits 9 to 12"),
        ("198503302010001002", "digits 13 and 14"),
        ("198503302010120002", "digit 15"),
        ("198503302010123002", "digit 15"),
        ("198503302010121000", "spreadsheet rounded"),
    ],
)
def test_the_impossible_is_refused_by_part_and_never_repeated(number: str, says: str) -> None:
    with pytest.raises(PeopleError, match=says) as caught:
        check_number(number, TODAY)
    assert number == "" or number not in str(caught.value)


def test_both_forms_and_a_contract_count_that_is_no_month() -> None:
    assert check_number(PNS, TODAY) == PNS
    assert check_number(PPPK, TODAY) == PPPK


def test_the_id_is_the_documented_hmac() -> None:
    # printf 198503302010121002 | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707...07
    assert person_id(PNS, bytes([7]) * 32) == "d1089a78c1389c9aab186a8e72f647e1"


@given(numbers(), numbers(), st.binary(min_size=32, max_size=32))
def test_ids_tell_people_and_organisations_apart(a: str, b: str, key: bytes) -> None:
    assert (person_id(a, key) == person_id(b, key)) == (a == b)
    assert person_id(a, key) != person_id(a, key[::-1] + b"x")
    assert len(person_id(a, key)) == 32
    assert a not in person_id(a, key)


def test_the_mask_hides_birth_and_sex() -> None:
    assert mask(PNS) == "…002"


def people(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "people.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "header", ["number,name,exempt", "Exempt,NIP,Nama", "name,PERSON_NUMBER,exempt"]
)
def test_what_spreadsheets_write_is_read(
    tmp_path: Path, bom: bytes, delimiter: str, end: str, header: str
) -> None:
    columns = header.lower().split(",")
    cells = {
        "number": PNS,
        "nip": PNS,
        "person_number": PNS,
        "name": "Siti Ñur",
        "nama": "Siti Ñur",
    }
    row = [cells.get(column, "Ya") for column in columns]
    text = end.join((delimiter.join(header.split(",")), "", delimiter.join(row), ""))
    (entry,) = read_people(people(tmp_path, bom + text.encode()))
    assert (entry.line, entry.number, entry.name, entry.exempt) == (3, PNS, "Siti Ñur", True)


@pytest.mark.parametrize(
    ("word", "exempt"),
    [("yes", True), ("YA", True), ("1", True), ("true", True), ("", False), ("tidak", False),
     ("No", False), ("0", False), ("false", False)],
)  # fmt: skip
def test_words_for_exempt(tmp_path: Path, word: str, exempt: bool) -> None:
    (entry,) = read_people(people(tmp_path, f"number,name,exempt\n{PNS},Siti,{word}\n"))
    assert entry.exempt is exempt


GOOD = f"number,name,exempt\n{PNS},Siti,no\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f"number,name,exempt\n{PPPK},Ani,no\n{PNS},Jos\xe9,no\n".encode("latin-1"),
         r"line 3, name: character 4 \(byte \\xe9\) is not UTF-8; save the list as \"CSV UTF-8\""),
        (GOOD.encode("utf-16-le"), "is not UTF-8 text; save the list as"),
        (GOOD.encode("utf-16")[:-1], "is damaged UTF-16"),
        (GOOD.encode("utf-32"), "is not UTF-8 text"),
        (b"PK\3\4 and more", r"is a spreadsheet file \(xlsx or ods\); save the list as"),
        (b"\xd0\xcf\x11\xe0 and more", r"is a spreadsheet file \(xls\)"),
        (f"number,exempt\n{PNS},no\n", r"column 'name' is missing; line 1 names 'number'"),
        (f"nomor,name,exempt\n{PNS},Siti,no\n", "column 'number' is missing"),
        (f"number,name\n{PNS},Siti\n", "column 'exempt' is missing"),
        ("", "column 'number' is missing; line 1 names nothing"),
        ('\nnumber,"name,exempt\n', "line 2, cell 2: a quotation mark opens here"),
        ("number,nip,name,exempt\n", "column 'number' is there 2 times"),
        ("number,name,exempt\n\n , ,\n", "lists nobody"),
        (GOOD + f"{PPPK},Ani,no\n19850330 201012 1 002,Sari,no\n",
         "line 2, number: is the same .* as on line 4; .*; line 4, number: is .* as on line 2; "),
        (GOOD + f"{PNS},Siti,no\n", "people.csv: line 3, number: is the same .* as on line 2"),
        (GOOD + f"{PPPK},Ani\n", "line 3: has 2 cells, the header has 3"),
        (GOOD + f"{PPPK},Ani, S.Kom,no\n", "line 3: has 4 cells, the header has 3; put quotation"),
        (GOOD + f"{PPPK}, ,no\n", "line 3, name: is empty"),
        (GOOD + f"{PPPK},Ani {PNS},no\n", "line 3, name: contains 18 digits"),
        (GOOD + f"{PPPK},Ani\x1b[2J,no\n", r"line 3, name: character 4 is U\+001B \(control"),
        (GOOD + f"{PPPK},Ani\u202e,no\n", r"line 3, name: contains U\+202E RIGHT-TO-LEFT OVERRIDE"),
        (GOOD + f"{PPPK},Jos\ufffd,no\n", "line 3, name: lost a letter"),
        (GOOD + f"{PPPK},{'A' * 201},no\n", "line 3, name: has 201 characters; 200 are"),
        (GOOD + f"{PPPK},{'A' * 200_000},no\n", "line 3, name: has 200000 characters; 1000"),
        (GOOD + f"{PPPK},Ani,perhaps\n", "line 3, exempt: is neither"),
        (GOOD + "1.99001E+17,Ani,no\n", "line 3, number: a spreadsheet turned"),
        (GOOD + 'x,"Ani,no\n', "line 3, name: a quotation mark opens here and is not closed"),
        (GOOD + 'x,"Ani"Sari,no\n', "line 3, name: text follows the closing quotation mark"),
        (GOOD + 'x,Ani "Sari",no\n', "line 3, name: a quotation mark stands inside the cell"),
        (GOOD + "1,A,no\n2,B,no\n3,C,no\n", r"line 3, .*; line 4, .*; line 5, number: .* has 1"),
        (GOOD + "1,A,no\n" * 8, r"line 7, .* digits; and 3 more lines are wrong"),
    ],
)  # fmt: skip
def test_a_wrong_list_is_refused_in_one_line(
    tmp_path: Path, content: str | bytes, says: str
) -> None:
    path = people(tmp_path, content)
    with pytest.raises(PeopleError, match=says) as caught:
        read_people(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert PNS not in message
    assert PPPK not in message


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PeopleError, match="cannot be read: No such file"):
        read_people(tmp_path / "people.csv")

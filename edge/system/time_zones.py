"""Time zones by the name that IANA gives them today.

Debian 13 leaves the old names out (they are in `tzdata-legacy`), so a unit or a receiver may not
know them. A unit therefore uses and signs today's name.
"""

import difflib
import re
from types import MappingProxyType
from zoneinfo import ZoneInfo, available_timezones

# Names of the database that are not places: a copy of the machine's setting, other countings.
_NO_PLACES = ("Factory", "localtime", "posixrules", "posix/", "right/")

_PLAUSIBLE = re.compile(r"(?=.{1,64}$)[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*){0,2}", re.ASCII)


def current_name(zone: str) -> str:
    """Return today's name of a time zone; ValueError, with the nearest names, if it is unknown.

    On a machine without a database of time zones every name of a plausible form passes: nothing
    on a unit is computed with it, and attendance is not to stop for it.
    """
    name = RENAMED.get(zone, zone)
    if find_zone(name) is not None:
        return name
    every = {each for each in available_timezones() if not each.startswith(_NO_PLACES)}
    if not every and _PLAUSIBLE.fullmatch(name) and not name.startswith(_NO_PLACES):
        return name
    near = difflib.get_close_matches(zone[:64], every, n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"not an IANA time zone such as Asia/Jakarta{hint}")


def find_zone(name: str) -> ZoneInfo | None:
    """Return a time zone by its name, of today or an old one; None if this machine has none.

    Names that mean something else on each machine, such as `localtime`, are not zones.
    """
    if name.startswith(_NO_PLACES):
        return None
    try:
        return ZoneInfo(RENAMED.get(name, name))
    except (ValueError, KeyError, OSError, RecursionError):  # the last for a thousand dots
        return None


# Of tzdata's file `backward`: today's name, and those it replaces.
_BACKWARD = """
Africa/Abidjan: Africa/Timbuktu Iceland
Africa/Cairo: Egypt
Africa/Nairobi: Africa/Asmera
Africa/Tripoli: Libya
America/Adak: America/Atka US/Aleutian
America/Anchorage: US/Alaska
America/Argentina/Buenos_Aires: America/Buenos_Aires
America/Argentina/Catamarca: America/Argentina/ComodRivadavia America/Catamarca
America/Argentina/Cordoba: America/Cordoba America/Rosario
America/Argentina/Jujuy: America/Jujuy
America/Argentina/Mendoza: America/Mendoza
America/Chicago: CST6CDT US/Central
America/Denver: America/Shiprock MST7MDT Navajo US/Mountain
America/Detroit: US/Michigan
America/Edmonton: America/Yellowknife Canada/Mountain
America/Halifax: Canada/Atlantic
America/Havana: Cuba
America/Indiana/Indianapolis: America/Fort_Wayne America/Indianapolis US/East-Indiana
America/Indiana/Knox: America/Knox_IN US/Indiana-Starke
America/Iqaluit: America/Pangnirtung
America/Jamaica: Jamaica
America/Kentucky/Louisville: America/Louisville
America/Los_Angeles: PST8PDT US/Pacific
America/Manaus: Brazil/West
America/Mazatlan: Mexico/BajaSur
America/Mexico_City: Mexico/General
America/New_York: EST5EDT US/Eastern
America/Noronha: Brazil/DeNoronha
America/Nuuk: America/Godthab
America/Panama: America/Coral_Harbour EST
America/Phoenix: MST US/Arizona
America/Puerto_Rico: America/Virgin
America/Regina: Canada/Saskatchewan
America/Rio_Branco: America/Porto_Acre Brazil/Acre
America/Santiago: Chile/Continental
America/Sao_Paulo: Brazil/East
America/St_Johns: Canada/Newfoundland
America/Tijuana: America/Ensenada America/Santa_Isabel Mexico/BajaNorte
America/Toronto: America/Montreal America/Nipigon America/Thunder_Bay Canada/Eastern
America/Vancouver: Canada/Pacific
America/Whitehorse: Canada/Yukon
America/Winnipeg: America/Rainy_River Canada/Central
Asia/Ashgabat: Asia/Ashkhabad
Asia/Dhaka: Asia/Dacca
Asia/Ho_Chi_Minh: Asia/Saigon
Asia/Hong_Kong: Hongkong
Asia/Jerusalem: Asia/Tel_Aviv Israel
Asia/Kathmandu: Asia/Katmandu
Asia/Kolkata: Asia/Calcutta
Asia/Macau: Asia/Macao
Asia/Makassar: Asia/Ujung_Pandang
Asia/Nicosia: Europe/Nicosia
Asia/Seoul: ROK
Asia/Shanghai: Asia/Chongqing Asia/Chungking Asia/Harbin PRC
Asia/Singapore: Singapore
Asia/Taipei: ROC
Asia/Tehran: Iran
Asia/Thimphu: Asia/Thimbu
Asia/Tokyo: Japan
Asia/Ulaanbaatar: Asia/Choibalsan Asia/Ulan_Bator
Asia/Urumqi: Asia/Kashgar
Asia/Yangon: Asia/Rangoon
Atlantic/Faroe: Atlantic/Faeroe
Australia/Adelaide: Australia/South
Australia/Brisbane: Australia/Queensland
Australia/Broken_Hill: Australia/Yancowinna
Australia/Darwin: Australia/North
Australia/Hobart: Australia/Currie Australia/Tasmania
Australia/Lord_Howe: Australia/LHI
Australia/Melbourne: Australia/Victoria
Australia/Perth: Australia/West
Australia/Sydney: Australia/ACT Australia/Canberra Australia/NSW
Etc/GMT: Etc/GMT+0 Etc/GMT-0 Etc/GMT0 Etc/Greenwich GMT+0 GMT-0 GMT0 Greenwich
Etc/UTC: Etc/UCT Etc/Universal Etc/Zulu UCT Universal Zulu
Europe/Athens: EET
Europe/Berlin: Atlantic/Jan_Mayen
Europe/Brussels: CET MET
Europe/Chisinau: Europe/Tiraspol
Europe/Dublin: Eire
Europe/Istanbul: Asia/Istanbul Turkey
Europe/Kyiv: Europe/Kiev Europe/Uzhgorod Europe/Zaporozhye
Europe/Lisbon: Portugal WET
Europe/London: Europe/Belfast GB GB-Eire
Europe/Moscow: W-SU
Europe/Warsaw: Poland
Pacific/Auckland: Antarctica/South_Pole NZ
Pacific/Chatham: NZ-CHAT
Pacific/Easter: Chile/EasterIsland
Pacific/Guadalcanal: Pacific/Ponape
Pacific/Honolulu: HST Pacific/Johnston US/Hawaii
Pacific/Kanton: Pacific/Enderbury
Pacific/Kwajalein: Kwajalein
Pacific/Pago_Pago: Pacific/Samoa US/Samoa
Pacific/Port_Moresby: Pacific/Truk Pacific/Yap
"""
RENAMED = MappingProxyType(
    {
        old: name
        for line in _BACKWARD.split("\n")
        for name, _, replaced in [line.partition(": ")]
        for old in replaced.split()
    }
)

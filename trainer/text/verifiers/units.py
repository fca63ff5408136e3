"""Units of numbers: what a word after a number measures, and which words are no units at all.

Known units have a dimension and a factor, so that 180 minutes are 3 hours and 3 kg are not 3 g.
Other words, such as `apples`, say what is counted and are not compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

F = Fraction


@dataclass(frozen=True, slots=True)
class Unit:
    """`dimension` maps a base dimension to its exponent, sorted; empty for a counted thing.

    A number with this unit times `factor` is in the dimension's base unit.
    """

    dimension: tuple[tuple[str, int], ...] = ()
    factor: Fraction = Fraction(1)


COUNTED = Unit()

# dimension: factor to the base unit, then the spellings. Plurals in s and es are known too.
TABLE: dict[str, tuple[tuple[Fraction, str], ...]] = {
    "length": (
        (F(1), "m meter metre 米 公尺 メートル 미터"),
        (F(1000), "km kilometer kilometre 千米 公里 キロメートル"),
        (F(1, 10), "dm decimeter decimetre 分米"),
        (F(1, 100), "cm centimeter centimetre 厘米 公分 センチ センチメートル"),
        (F(1, 1000), "mm millimeter millimetre 毫米 ミリ"),
        (F(1, 10**6), "μm um micrometer micron"),
        (F(1, 10**9), "nm nanometer"),
        (F(254, 10000), "in. inch inche"),
        (F(3048, 10000), "ft ft. foot feet"),
        (F(9144, 10000), "yd yard"),
        (F(1609344, 1000), "mi mile"),
    ),
    "mass": (
        (F(1), "g gram gramme gm 克"),
        (F(1000), "kg kilogram kilo kgs 千克 公斤 キロ"),
        (F(1, 1000), "mg milligram"),
        (F(10**6), "tonne 吨"),
        (F(45359237, 100000), "lb lbs pound-mass"),
        (F(45359237, 1600000), "oz ounce"),
    ),
    "time": (
        (F(1), "s sec second 秒"),
        (F(1, 1000), "ms millisecond"),
        (F(60), "min minute mins 分钟 分鐘 分 분"),
        (F(3600), "h hr hrs hour 小时 小時 時間 시간"),
        (F(86400), "day 天 日"),
        (F(604800), "week wk 周 週間"),
    ),
    "months": ((F(1), "month 月 个月 ヶ月"), (F(12), "year yr yrs 年")),
    "volume": (
        (F(1), "L l liter litre ltr 升 リットル"),
        (F(1, 1000), "mL ml milliliter millilitre cc 毫升"),
        (F(1, 100), "cL cl centiliter"),
        (F(473176473, 125000000), "gal gallon"),
    ),
    "money dollar": (
        (F(1), "$ dollar USD US$ usd 美元 ドル 달러"),
        (F(1, 100), "cent ¢"),
    ),
    "money euro": ((F(1), "€ euro EUR 欧元 ユーロ"),),
    "money pound": ((F(1), "£ GBP pence-pound"), (F(1, 100), "penny pence p."),),
    "money yen or yuan": ((F(1), "¥ yen JPY CNY RMB yuan 元 円 块"),),
    "money rupee": ((F(1), "₹ Rs Rs. rupee INR ₨"),),
    "money won": ((F(1), "₩ won KRW 원"),),
    "money rouble": ((F(1), "₽ rouble ruble RUB"),),
    "money franc": ((F(1), "CHF franc"),),
    "money other": ((F(1), "₺ ₪ ₫ ฿ ₴ ₱ R$ RM peso baht lira zloty zł kr kr."),),
    "angle": ((F(1), "° deg degree 度"), (F(180), "π-rad")),
    "radian": ((F(1), "rad radian"),),
    "degree Celsius": ((F(1), "°C ℃ Celsius 摄氏度"),),
    "degree Fahrenheit": ((F(1), "°F Fahrenheit"),),
    "kelvin": ((F(1), "K kelvin"),),
    "energy": ((F(1), "J joule"), (F(1000), "kJ kilojoule"), (F(3600000), "kWh")),
    "calorie": ((F(1), "cal calorie"), (F(1000), "kcal kilocalorie")),
    "power": ((F(1), "W watt"), (F(1000), "kW kilowatt"), (F(10**6), "MW megawatt")),
    "force": ((F(1), "N newton"), (F(1000), "kN")),
    "pressure": ((F(1), "Pa pascal"), (F(1000), "kPa"), (F(101325), "atm"), (F(100000), "bar")),
    "charge": ((F(1), "coulomb"),),
    "voltage": ((F(1), "V volt"), (F(1, 1000), "mV"), (F(1000), "kV")),
    "current": ((F(1), "A amp ampere"), (F(1, 1000), "mA")),
    "resistance": ((F(1), "Ω ohm"), (F(1000), "kΩ")),
    "frequency": ((F(1), "Hz hertz"), (F(1000), "kHz"), (F(10**6), "MHz"), (F(10**9), "GHz")),
    "amount": ((F(1), "mol mole"), (F(1, 1000), "mmol")),
    "data": (
        (F(1), "B byte"), (F(1, 8), "bit"), (F(1000), "KB kB"), (F(10**6), "MB"),
        (F(10**9), "GB"), (F(10**12), "TB"),
    ),
}  # fmt: skip
COMPOUND = {"mph": "mi/h", "kph": "km/h", "kmph": "km/h", "kmh": "km/h", "fps": "ft/s"}
SQUARE_METRES = {
    "acre": F(40468564224, 10**7), "hectare": F(10000), "ha": F(10000), "公顷": F(10000),
    "亩": F(2000, 3),
}  # fmt: skip
SCALES = {
    "dozen": 12, "dozens": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6,
    "mn": 10**6, "billion": 10**9, "bn": 10**9,
    "trillion": 10**12, "lakh": 10**5, "crore": 10**7, "百": 100, "千": 1000,
    "万": 10**4, "萬": 10**4, "億": 10**8, "亿": 10**8, "만": 10**4, "억": 10**8,
}  # fmt: skip
# Words after a number that make it another number, or one of several.
NO_UNIT = frozenset(
    """or and to not no but nor than of out over under plus minus times by divided multiplied less
    between from versus vs mod modulo remainder squared cubed root sqrt pi log ln sin cos
    tan exp base power raised choose factorial half halves third thirds quarter quarters fourth
    fourths fifths sixths eighths tenths hundredths thousandths more fewer score k e i if
    because since so is are was equals maybe perhaps either x am pm a.m p.m a.m. p.m. january
    february march april may june july august september october november december wrong incorrect
    off false oder ou o
    und et y bis à 或 和 或者 到 至""".split()  # noqa: SIM905 - a list of this length is not readable
)
WORD = re.compile(r"[^\W\d_]+")
# Factors such as `m`, `cm^2`, `s^-1`.
FACTOR = re.compile(r"(?P<unit>US\$|R\$|°\s?[CF]|[^\W\d_]+\.?|[°¢$€£¥₹₩])(?:\^(?P<power>-?[1-4]))?")


def _spellings() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for dimension, rows in TABLE.items():
        # Litres are cubic decimetres.
        base = (("length", 3),) if dimension == "volume" else ((dimension, 1),)
        scale = F(1, 1000) if dimension == "volume" else F(1)
        for factor, names in rows:
            for name in names.split():
                units[name] = Unit(base, factor * scale)
                if len(name) > 2 and name.isascii() and name.isalpha():
                    units.setdefault(name + "s", units[name])
                    units.setdefault(name + "es", units[name])
    for name, factor in SQUARE_METRES.items():
        units[name] = units[name + "s"] = Unit((("length", 2),), factor)
    return units


UNITS = _spellings()


@lru_cache(maxsize=4096)
def unit_of(text: str) -> Unit | None:
    """The unit that a text names: a known one, or COUNTED for other words; None if it is none.

    >>> unit_of("km/h") == unit_of("kilometers per hour")
    True
    >>> unit_of("red apples") == COUNTED
    True
    >>> unit_of("x") is None
    True
    """
    text = " ".join(text.split()).strip(" .,")
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1].strip()
    if not text:
        return COUNTED
    if unit := known_unit(text):
        return unit
    words = WORD.findall(text.lower())
    if not words or len(words) > 6 or NO_UNIT & {*words, *text.lower().split()}:
        return None
    # Letters such as `x` or `ab` are variables; a word of three letters and more is a thing.
    # Signs other than those of joined words belong to formulas.
    is_thing = re.fullmatch(r"[^\W\d_]+(?:[ '’/-]+[^\W\d_]+)*(?:\^\d)?\.?(?: ?\([^()]*\))?", text)
    is_long = any(len(word) > 2 or word[0] >= "\u2e80" for word in words)
    # `12 km of road`: the unit in front counts.
    leading = known_unit(words[0] if text.lower().startswith(words[0]) else "")
    return (leading or COUNTED) if is_thing and is_long else None


@lru_cache(maxsize=4096)
def known_unit(text: str) -> Unit | None:
    """The unit if it is made of known ones: `m^2`, `square metres`, `km/h`, `miles per hour`."""
    text = re.sub(r"\s*(?:/|\bper\b)\s*(?:a\s+|an\s+|each\s+)?", "/", COMPOUND.get(text, text))
    numerator, *denominators = text.split("/")
    if len(denominators) > 1 or not (over := _product(numerator)):
        return None
    if not denominators:
        return over
    if not (under := _product(denominators[0])):
        return None
    return _multiplied(over, under, -1)


def _product(text: str) -> Unit | None:
    text = text.strip()
    power = 1
    for word, exponent in (("square", 2), ("sq.", 2), ("sq", 2), ("cubic", 3), ("cu.", 3)):
        if text.lower().startswith(word + " "):
            text, power = text[len(word) :].strip(), exponent
        elif text.lower().endswith(" " + {2: "squared", 3: "cubed"}[exponent]):
            text, power = text.rpartition(" ")[0].strip(), exponent
    if text.startswith(("平方", "立方")):
        text, power = text[2:], 2 if text.startswith("平方") else 3
    unit = Unit()
    factors = [factor for factor in re.split(r"[ *·.]+(?=\S)", text) if factor]
    if len(factors) > 3:
        return None
    for factor in factors if text not in UNITS else [text]:
        match = FACTOR.fullmatch(factor)
        base = match and _spelled(match["unit"])
        if not match or not base:
            return None
        unit = _multiplied(unit, base, int(match["power"] or 1) * power)
    return unit if unit.dimension else None


def _spelled(name: str) -> Unit | None:
    name = name.replace("° ", "°")
    # Symbols depend on case (mg, Mg), words do not.
    return UNITS.get(name) or (UNITS.get(name.lower().rstrip(".")) if len(name) > 2 else None)


def _multiplied(unit: Unit, other: Unit, power: int) -> Unit:
    exponents = dict(unit.dimension)
    for dimension, exponent in other.dimension:
        exponents[dimension] = exponents.get(dimension, 0) + exponent * power
    return Unit(
        tuple(sorted((name, exponent) for name, exponent in exponents.items() if exponent)),
        unit.factor * other.factor**power,
    )

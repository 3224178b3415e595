"""Numbers as prose and tables have them."""

WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
"""What stands in a cell where nothing was measured."""


def counted(n: int, noun: str) -> str:
    """A number and its noun.

    Example:
        >>> counted(3, "seed"), counted(1, "seed"), counted(40, "seed")
        ('three seeds', 'one seed', '40 seeds')
    """
    return f"{spelled(n)} {noun}{'' if n == 1 else 's'}"


def spelled(n: int) -> str:
    """A small number as a word."""
    return WORDS[n] if n < len(WORDS) else f"{n:,}"


def number(value: float, digits: int) -> str:
    """A number with a true minus sign, and no minus before zero.

    Example:
        >>> number(-1.26, 1), number(-0.01, 1)
        ('−1.3', '0.0')
    """
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def signed(value: float, digits: int) -> str:
    """The same, with a plus sign where it is above zero."""
    text = number(value, digits)
    return f"+{text}" if float(f"{value:.{digits}f}") > 0 else text


def between(ends: tuple[float, float], digits: int) -> str:
    """From where to where; an end that is not zero is not rounded to zero.

    Example:
        >>> between((0.04, 1.7), 1), between((-0.52, 1.1), 1)
        ('0.04 to 1.70', '−0.5 to 1.1')
    """
    digits = enough(digits, *ends)
    return " to ".join(number(end, digits) for end in ends)


def enough(digits: int, *values: float) -> int:
    """So many decimals or up to two more, that nothing is rounded to zero.

    Example:
        >>> enough(1, 0.5), enough(1, 0.5, 0.02), enough(1, 0.0)
        (1, 2, 1)
    """
    for more in range(digits, digits + 2):
        if all(value == 0 or round(value, more) != 0 for value in values):
            return more
    return digits + 2


def short(count: float) -> str:
    """A large count in three digits.

    Example:
        >>> short(980), short(12_345), short(108_736), short(2_400_000)
        ('980', '12.3 k', '109 k', '2.4 M')
    """
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:g}"


def weight(count: int) -> str:
    """How large a file is.

    Example:
        >>> weight(980), weight(12_345)
        ('980 B', '12.3 kB')
    """
    text = short(count)
    return f"{text}B" if " " in text else f"{text} B"


def duration(seconds: float) -> str:
    """A time in the units that people use.

    Example:
        >>> duration(3.21), duration(75), duration(7300)
        ('3.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"

"""Counts and places in words."""

_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth")
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def counted(count: int, noun: str, plural: str = "") -> str:
    """`one update`, `two updates`, `13 updates`."""
    return f"{spelled(count)} {noun if count == 1 else plural or f'{noun}s'}"


def spelled(count: int) -> str:
    """`two`, `1,300`: a count as a word up to twelve."""
    return _COUNTS[count] if count < len(_COUNTS) else f"{count:,}"


def ordinal(place: int) -> str:
    """`second`, `7th`: a place in an order, from 1, as a word up to six."""
    if place <= len(_PLACES):
        return _PLACES[place - 1]
    ends = {1: "st", 2: "nd", 3: "rd"} if place % 100 not in (11, 12, 13) else {}
    return f"{place}{ends.get(place % 10, 'th')}"


def times(count: int) -> str:
    """`twice`, `3 times`."""
    return "twice" if count == 2 else f"{count} times"


def are(one: bool) -> str:
    """`is` for one thing, `are` for several."""
    return "is" if one else "are"

"""What every settings class is checked with: errors in one sentence, and settings of a form that several have."""

from difflib import get_close_matches
from math import inf


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence that names the culprit and what would be right."""


def require(condition: bool, sentence: str) -> None:
    """Raise `InputError(sentence)` unless `condition` holds."""
    if not condition:
        raise InputError(sentence)


def require_one_of(setting: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check a setting that has a closed set of values.

    Args:
        setting: Name of the setting, for the message.
        value: What was given.
        allowed: The values that it may have.

    Raises:
        InputError: `value` is not one of `allowed`; a name that looks like it is suggested.
    """
    close = get_close_matches(str(value), allowed, 1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    require(value in allowed, f"{setting} must be one of {', '.join(allowed)}, got {value!r}{meant}")


def require_spacing(setting: str, lengths: list[float] | None) -> None:
    """Raise InputError unless the lengths of a pixel along two or three axes are positive, or not given."""
    proper = lengths is None or (len(lengths) in (2, 3) and all(0 < one < inf for one in lengths))
    require(proper, f"{setting} must be null or a positive length for each axis, as in [2,0.5,0.5], got {lengths}")


def parse_colours(given: list[str] | None) -> list[str] | None:
    """Check `dataset.mask_colours`: null, or at least two different colours of six hexadecimal digits.

    Returns:
        The colours in lower case, without a leading #.

    Raises:
        InputError: A colour is none, or there twice.
    """
    if given is None:
        return None
    example = "as in [000000,ff0000], one for each number from 0 on"
    colours = [colour.lower().removeprefix("#") for colour in given]
    for colour in colours:
        proper = len(colour) == 6 and set(colour) <= set("0123456789abcdef")
        require(proper, f"dataset.mask_colours must hold six hexadecimal digits per colour, {example}, got {colour!r}")
    different = len(set(colours)) == len(colours) >= 2
    require(different, f"dataset.mask_colours must hold at least two colours, each once, {example}, got {given}")
    return colours


def map_numbers(setting: str, given: object) -> dict[int, int] | str | None:
    """Check a setting that maps the numbers of masks to classes.

    Args:
        setting: Its name, for the message.
        given: Null, foreground, or a map from whole numbers to classes, either of which may be text.

    Returns:
        The map with whole numbers; null and foreground as they are.

    Raises:
        InputError: It is none of these.
    """
    if given is None or given == "foreground":
        return given
    example = "must be foreground or a map from numbers to classes, as in {0: 0, 255: 1}"
    require(isinstance(given, dict) and len(given) > 0, f"{setting} {example}, got {given!r}")
    assert isinstance(given, dict)
    try:
        return {int(str(number)): int(str(of)) for number, of in given.items()}
    except ValueError as error:
        raise InputError(f"{setting} {example}, got {given!r}") from error


def check_pattern(setting: str, pattern: str) -> None:
    """Raise `InputError` unless a pattern of file names holds one `*`, which stands for the name of an image."""
    require(
        pattern.count("*") == 1 and "/" not in pattern,
        f"{setting} must hold one *, which stands for the image's name, as in *_mask, got {pattern!r}",
    )

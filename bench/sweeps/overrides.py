"""Words of the command line that say what is run: checked by name, and quoted so that any path is taken as it stands.

Hydra reads `name=value` by a grammar in which `=`, commas, brackets, umlauts and numbers mean something. Settings that
are text are quoted for it here, so that nobody who types a path needs to know that grammar.
"""

import json
import re
import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from bench.config import Config, DatasetConfig, InputError, PipelineConfig, require, require_one_of, walk_subclasses
from bench.settings import Setting, list_settings

PLAIN = re.compile(r"[A-Za-z_./][\w./:@%?*|-]*", re.ASCII)  # text that the grammar takes for itself, if it is no WORD
WORD = re.compile(r"null|true|false|inf|nan", re.IGNORECASE)
FUNCTION = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag|str|int|float|bool|json_str)\(.*\)", re.DOTALL)
OPTIONS = {  # of Hydra, and whether a word follows
    **dict.fromkeys(("--multirun", "-m", "--run", "-r", "--resolve", "--hydra-help", "--info", "-i"), False),
    **dict.fromkeys(("--cfg", "-c", "--package", "-p", "--config-dir", "-cd"), True),
}
MULTIRUN = ("-m", "--multirun")
CONFIG_DIR = ("--config-dir", "-cd")


# ---------------------------------------------------------------------------------------------------------- names


@lru_cache
def list_known_settings() -> dict[str, tuple[Setting, ...]]:
    """Return the settings of a run by dotted name; one that several arms or data sets have stands there for each."""
    found: dict[str, list[Setting]] = {}
    settings = list_settings(Config)
    for group, base in (("dataset", DatasetConfig), ("pipeline", PipelineConfig)):
        for kind in walk_subclasses(base):
            settings += list_settings(kind, f"{group}.")
    for setting in settings:
        found.setdefault(setting.name, []).append(setting)
    return {name: tuple(same) for name, same in found.items()}


def list_choices(folders: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """Return the choices of every configuration group, such as `pipeline/model`, in folders of YAML files."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.rglob("*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if group != ".":
                found.setdefault(group, set()).add(path.stem)
    return {group: tuple(sorted(names)) for group, names in sorted(found.items())}


def check_words(arguments: Sequence[str], choices: dict[str, tuple[str, ...]]) -> None:
    """Refuse the first word that is no setting, no choice of a group and no option.

    Args:
        arguments: Words of the command line without a verb.
        choices: What each configuration group has to choose from.

    Raises:
        InputError: The sentence names the word, and the one that was probably meant.
    """
    words = iter(arguments)
    for word in words:
        require(_is_encodable(word), f"{word!a} is not text in UTF-8: rename the file or folder")
        option, _, value = word.partition("=")
        if word.startswith("-") and not word.startswith("~"):
            require_one_of("the option", option, tuple(OPTIONS))
            if OPTIONS[option] and not value:
                next(words, "")
        elif not word.startswith("~"):
            _check_setting(word, choices)


def _is_encodable(word: str) -> bool:
    """Whether a word was UTF-8 when it was typed; other bytes reach Python as lone surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_setting(word: str, choices: dict[str, tuple[str, ...]]) -> None:
    name, separator, value = word.lstrip("+").partition("=")
    name = name.partition("@")[0]
    if not separator:
        raise InputError(f"{word!r} is neither a verb nor a setting: give settings as name=value")
    if name.startswith("hydra"):
        return
    if name in choices:
        if not value.startswith(("${", "'", '"', "[")) and "," not in value and not FUNCTION.fullmatch(value):
            require_one_of(name, value, choices[name])
        return
    known = list_known_settings()
    inside = name in known or any(name.startswith(f"{setting}.") for setting in known)
    if inside:
        return
    if any(setting.startswith(f"{name}.") for setting in known):
        raise InputError(f"{name} is a group of settings: give one of them, as {name}.NAME=VALUE")
    close = get_close_matches(name, [*known, *choices], 1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    raise InputError(f"{name or word} is not a setting{meant}: `python -m bench --cfg job` prints all of them")


def find_config_dir(arguments: Sequence[str]) -> Path | None:
    """Return the folder of the user's own YAML files, absolute, if the command line names one."""
    for number, word in enumerate(arguments):
        option, separator, value = word.partition("=")
        if option in CONFIG_DIR:
            given = value if separator else next(iter(arguments[number + 1 :]), "")
            require(Path(given).is_dir(), f"{option} {given} is not a folder")
            return Path(given).resolve()
    return None


# -------------------------------------------------------------------------------------------------------- quoting


def quote_words(arguments: Sequence[str]) -> list[str]:
    """Return the words of a command line with the values of text settings quoted for Hydra's grammar."""
    several = any(word in MULTIRUN for word in arguments)
    return [_quote_word(word, several) for word in arguments]


def _quote_word(word: str, several: bool) -> str:
    name, separator, value = word.partition("=")
    kinds = {_plain_kind(setting.kind) for setting in list_known_settings().get(name.lstrip("+"), ())}
    if not separator or not kinds or "${" in value or FUNCTION.fullmatch(value):
        return word
    if kinds == {str}:
        return f"{name}={_quote_parts(value) if several else quote(value)}"
    if kinds == {list[str]} and value[:1] == "[" and value[-1:] == "]":
        return f"{name}=[{_quote_parts(value[1:-1])}]"
    return word


def sets_text(word: str) -> bool:
    """Whether an override sets a text, whose quotes must not be lost."""
    kinds = {_plain_kind(setting.kind) for setting in list_known_settings().get(word.lstrip("+").partition("=")[0], ())}
    return bool(kinds & {str, list[str]})


def sets_value(word: str) -> bool:
    """Whether an override sets a setting that every run of the chosen files has, and neither chooses one nor adds."""
    name, separator, _ = word.partition("=")
    return bool(separator) and name in list_known_settings()


def takes_list(name: str) -> bool:
    """Whether the setting of a dotted name is a list."""
    return any(get_origin(_plain_kind(setting.kind)) is list for setting in list_known_settings().get(name, ()))


def _plain_kind(kind: Any) -> Any:
    """Return a type without None, as `str` for `str | None`."""
    options = [option for option in get_args(kind) if option is not NoneType]
    return options[0] if get_origin(kind) is not list and len(options) == 1 else kind


def _quote_parts(value: str) -> str:
    """Quote each of several values; a comma within one that is there as a file or folder separates nothing."""
    if Path(value).exists():
        return quote(value)
    return ",".join(quote(part.strip()) for part in re.findall(r"""(?:'[^']*'|"[^"]*"|[^,])+""", value))


def quote(text: str) -> str:
    """Return `text` so that Hydra's grammar gives it back; what is quoted already, null and plain words as they are."""
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    if text == "null" or quoted or text == "" or (PLAIN.fullmatch(text) and not WORD.fullmatch(text)):
        return text
    inner = re.sub(r"(\\*)'", lambda found: 2 * found[1] + r"\'", text)
    end = len(inner) - len(inner.rstrip("\\"))
    return f"'{inner}{end * chr(92)}'"


def unquote(word: str) -> str:
    """Return an override as a user would type it, if `quote_words` makes the same of that."""
    name, _, value = word.partition("=")
    if value[:1] == value[-1:] == "'" and len(value) >= 2:
        plain = re.sub(r"(\\*)\\'", lambda found: found[1][: len(found[1]) // 2] + "'", value[1:-1])
        end = len(plain) - len(plain.rstrip("\\"))
        plain = plain[: len(plain) - end // 2] if end else plain
        if _quote_word(f"{name}={plain}", several=False) == word:
            return f"{name}={plain}"
    return word


def format_override(value: Any) -> str:
    """Return a value of an experiment's sweep as Hydra's grammar reads it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{','.join(format_override(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{format_override(item)}' for key, item in value.items())}}}"
    return str(value) if not isinstance(value, str) or "${" in value or FUNCTION.fullmatch(value) else quote(value)


def format_command(overrides: Sequence[str], config_dir: Path | None) -> str:
    """Return the command line of a run, quoted for a POSIX shell."""
    places = [] if config_dir is None else ["--config-dir", str(config_dir)]
    return " ".join(map(_quote_shell, ["python", "-m", "bench", *places, *(unquote(word) for word in overrides)]))


def _quote_shell(word: str) -> str:
    """Return a word quoted for a POSIX shell; one with single quotes in double quotes, where these change nothing."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!\n') else shlex.quote(word)

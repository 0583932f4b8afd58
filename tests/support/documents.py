"""README and docs as data: their fenced blocks, commands, links and settings."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.source import ROOT

DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\((?!https?:)(?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_SETTING = re.compile(r"^(?P<name>[a-z_]+(?:[./][a-z_]+)*)=(?P<value>.*)$", re.DOTALL)
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block; `place` is what its first line, a comment, says of where it belongs."""

    document: Path
    language: str
    text: str

    @property
    def place(self) -> str:
        """The first line without its comment sign."""
        return self.text.splitlines()[0].lstrip("# ")


def read_blocks(document: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a document in these languages."""
    found = _BLOCK.finditer(document.read_text(encoding="utf-8"))
    return [Block(document, one["language"], one["text"]) for one in found if one["language"] in languages]


def read_commands() -> list[list[str]]:
    """The words of every shell command of every document, each command once."""
    lines = (line for path in DOCUMENTS for block in read_blocks(path, "sh") for line in block.text.splitlines())
    commands = (tuple(shlex.split(line, comments=True)) for line in lines)
    return [list(words) for words in dict.fromkeys(commands) if words]


def read_settings() -> Iterator[tuple[str, str, str]]:
    """Document, name and value of each setting that stands in code font in a running text or a table."""
    for path in DOCUMENTS:
        for code in _CODE.findall(_BLOCK.sub("", path.read_text(encoding="utf-8")).replace("\\|", "|")):
            try:
                words = shlex.split(code)
            except ValueError:  # an apostrophe: not a command
                continue
            for word in words:
                setting = _SETTING.match(word)
                if setting:
                    yield path.name, setting["name"], setting["value"]


def read_links(document: Path) -> list[tuple[Path, str | None]]:
    """The files of this project that a document links to or shows, and the anchors within them."""
    text = document.read_text(encoding="utf-8")
    return [
        ((document.parent / one["target"]).resolve() if one["target"] else document, one["anchor"])
        for one in _LINK.finditer(text)
    ]


def list_anchors(document: Path) -> set[str]:
    """The anchors that headings of a document have on common hosts."""
    titles = (found["title"] for found in _HEADING.finditer(document.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

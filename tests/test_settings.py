"""Settings of the verbs: `name=value` by type, sentences for what is none, and the help from the comments."""

from dataclasses import dataclass, field, fields

import pytest

from bench import cli
from bench.cli import VERBS, run_verb
from bench.config import InputError, ParallelConfig, require
from bench.settings import describe_settings, format_value, list_settings, parse_value, read_comments, read_settings


@dataclass
class Base:
    """What both have."""

    name: str = ""  # of the thing


@dataclass
class Thing(Base):
    """A setting of every type."""

    count: int = 3  # how many
    share: float = 0.5
    keep: bool = False  # whether to keep it
    limit: int | None = None  # null: none
    sizes: list[int] = field(
        default_factory=lambda: [1, 2]  # in pixels
    )
    shape: tuple[int, int] = (4, 5)  # height x width, a # sign within
    parallel: ParallelConfig = field(default_factory=ParallelConfig)

    def __post_init__(self) -> None:
        require(self.count >= 0, f"count must not be negative, got {self.count}")
        if self.name == "plain":
            raise ValueError("plain errors of a room without the project's own are sentences too")


def read(*arguments: str) -> Thing:
    return read_settings(Thing, arguments, "make")


def test_values_are_read_by_the_type_of_their_field() -> None:
    found = read("name=a=b, c", "count=-0", "share=2e-1", "keep=True", "limit=null", "sizes=[7, 8]", "shape=6x7")
    assert (found.name, found.count, found.share, found.keep, found.limit) == ("a=b, c", 0, 0.2, True, None)
    assert (found.sizes, found.shape, found.parallel) == ([7, 8], (6, 7), ParallelConfig())
    assert read("parallel.workers=2", "limit=4", "sizes=9").parallel.workers == 2
    assert read("sizes=[]").sizes == []


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        (
            "counts=3",
            r"'counts=3' is not a setting of make \(did you mean count=\?\): use name=value with one of",
        ),
        ("count", "'count' is not a setting of make"),
        ("parallel.worker=2", r"did you mean parallel\.workers="),
        ("parallel=2", "is not a setting"),
        ("count=many", "count must be a whole number, got 'many'"),
        ("count=1.5", "count must be a whole number, got '1.5'"),
        ("count=--5", "count must be a whole number"),
        ("count=-1", "count must not be negative"),
        ("share=nan", "share must be a finite number, got 'nan'"),
        ("share=half", "share must be a number, got 'half'"),
        ("keep=1", "keep must be true or false, got '1'"),
        ("count=null", "count must be a whole number"),
        ("shape=4", "shape must look like 4096x4096, got '4'"),
        ("shape=4xb", "shape must be a whole number, got 'b'"),
        ("sizes=1,b", "sizes must be a whole number, got 'b'"),
        ("name=plain", "plain errors of a room"),
        ("parallel.kind=x", r"parallel\.kind must be one of threads, processes"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(argument: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read(argument)


def test_a_setting_is_given_once() -> None:
    with pytest.raises(InputError, match="count is given twice"):
        read("count=1", "count=2")


def test_a_default_is_read_back_as_it_is_printed() -> None:
    for setting in list_settings(Thing):
        assert parse_value(setting.name, format_value(setting.default), setting.kind) == setting.default


def test_the_help_has_every_setting_with_its_default_and_its_comment() -> None:
    text = describe_settings(Thing)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "name= of the thing" in lines
    assert "count=3 how many" in lines
    assert "share=0.5" in lines
    assert "limit=null null: none" in lines
    assert "sizes=1,2 in pixels" in lines
    assert "shape=4x5 height x width, a # sign within" in lines
    assert "parallel.workers=0 images at once; 0: one after the other" in lines
    assert max(len(line) for line in text.splitlines()) <= 120


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_explains_each_of_its_settings(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    settings = list_settings(VERBS[name].load()[1])
    assert settings
    for setting in settings:
        assert setting.comment, f"{name}: {setting.name} has no comment"
        assert f"  {setting.name}=" in printed
    with pytest.raises(InputError, match=f"'sped=1' is not a setting of {name}"):
        run_verb(name, ["sped=1"])


def test_comments_of_a_class_stand_beside_its_own_fields() -> None:
    assert set(read_comments(Thing)) == {item.name for item in fields(Thing)}
    assert read_comments(Base) == {"name": "of the thing"}

"""Write docs/settings.md from the dataclasses of the settings and the YAML files.

Run it as `python -m tests.support.settings_page`.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import bench.config as c
from bench.arms import ARMS, Arm
from bench.files import write_atomically
from bench.settings import Setting, format_value, list_settings
from bench.sweeps.compose import CONF, describe_experiments
from bench.sweeps.overrides import list_choices

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = """\
# Settings

This page is generated from the comments in `bench/config/` and the YAML files in `conf/` by
`python -m tests.support.settings_page`; a test compares them. The settings of a verb such as `predict` are printed by
`python -m bench predict --help`.

A setting is given as `name=value` on the command line. `null` stands for no value, lists are written `[a,b]`, maps
`{0:0,255:1}`; quote both for the shell. A name that does not exist is refused, and the most similar one is suggested.
Of `dataset.` and `pipeline.` only the settings of the chosen data set and arm exist. The tables show the defaults of
one run; an experiment has its own, which `python -m bench --cfg job experiment=headline` prints.

A superpixel size is an area: 30 pixels are about 5 x 5. In a volume it is a number of voxels: 30 are about 3 x 3 x 3.
"""
FIRST: tuple[tuple[str, type, str], ...] = (
    ("Superpixels", c.SuperpixelsConfig, "superpixels."),
    ("Graph", c.GraphConfig, "graph."),
)
LAST: tuple[tuple[str, type, str], ...] = (
    ("Training", c.TrainingConfig, "training."),
    ("Scores", c.MetricsConfig, "metrics."),
    ("Measuring", c.MeasureConfig, "measure."),
    ("Preparing many images at once", c.ParallelConfig, "parallel."),
    ("Experiments", c.ExperimentConfig, "experiment."),
)
STAGE = "pipeline.coarse."  # settings of the U-Net within `coarse_gnn`
DATASETS = (c.FolderConfig, c.PublicConfig, c.EmbeddedConfig, c.SyntheticConfig)


def list_run_settings() -> list[Setting]:
    """The settings of a run that belong to no group."""
    return [setting for setting in list_settings(c.Config) if "." not in setting.name]


def format_default(value: object) -> str:
    """A default as it would be typed, in code font; nothing for an empty one."""
    text = f"[{format_value(value)}]" if isinstance(value, list) and value else format_value(value)
    return f"`{text}`" if text else ""


def format_table(settings: Sequence[Setting]) -> str:
    """A Markdown table with a row for each setting."""
    rows = [(f"`{one.name}`", format_default(one.default), one.comment) for one in settings]
    lines = [("setting", "default", "meaning"), ("---", "---", "---"), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def describe_arm(arm: Arm) -> str:
    """The settings of an arm; for one whose settings are those of another, its name and what differs."""
    settings = list_settings(arm.settings, "pipeline.")
    for other in ARMS.values():
        if other is not arm and issubclass(arm.settings, other.settings):
            fixed = "; `pipeline.model.conv` must be `none`" if arm.settings is c.SuperpixelMlpConfig else ""
            shared = {one.name for one in list_settings(other.settings, "pipeline.")}
            own = [one for one in settings if one.name not in shared]
            listed = [one for one in own if not one.name.startswith(STAGE)]
            stage = f", those of `tiled_cnn` under `{STAGE}`, with `{STAGE}scale=4`" if listed != own else ""
            return f"The settings of `{other.name}`{fixed}{stage}." + (f"\n\n{format_table(listed)}" if listed else "")
    return format_table(settings)


def read_first_sentence(path: Path) -> str:
    """What the first comment of a YAML file says, up to its first full stop; empty where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    words = " ".join(line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line)
    return re.split(r"(?<!\b[A-Z])\. ", words)[0].rstrip(".:")  # not after an initial, as in C. elegans


def format_choices() -> str:
    """A Markdown table of what each configuration group has to choose from, where its file says what it is."""
    experiments, lines = describe_experiments(), ["| choice | what it is |", "|---|---|"]
    for group, names in list_choices([CONF]).items():
        sentences = {name: read_first_sentence(CONF / group / f"{name}.yaml") for name in names}
        sentences |= experiments if group == "experiment" else {}
        lines += [f"| `{group}={name}` | {sentences[name].rstrip('.')} |" for name in names]
    return "\n".join(lines)


def list_sections() -> Iterator[tuple[str, str]]:
    """Title and text of each section."""
    yield "A run", format_table(list_run_settings())
    for data in DATASETS:
        yield f"Data set: {data().name}", format_table(list_settings(data, "dataset."))
    for title, kind, prefix in FIRST:
        yield title, format_table(list_settings(kind, prefix))
    for arm in ARMS.values():
        yield f"Arm: {arm.name}", describe_arm(arm)
    for title, kind, prefix in LAST:
        yield title, format_table(list_settings(kind, prefix))
    yield "Choices of each group", format_choices()


def build_page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(f"## {title}\n\n{text}\n" for title, text in list_sections())])


if __name__ == "__main__":
    write_atomically(PAGE, build_page())
    print(f"written to {PAGE}", file=sys.stderr)

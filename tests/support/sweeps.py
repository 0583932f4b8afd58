"""Settings of sweeps that take seconds, and the command that does them."""

import sys

TINY = (
    *("dataset.image_size=[64,64]", "dataset.train_images=1", "dataset.val_images=1", "dataset.test_images=2"),
    *("device=cpu", "measure.threads=1", "training.epochs=2"),
)
SMALL_SWEEP = ("-m", "pipeline=threshold,oracle", "superpixels=grid", *TINY)


def make_command(*arguments: str, report: bool = True) -> list[str]:
    """The real command; heeds Ctrl-C also where it is started in the background.

    Args:
        arguments: Its words.
        report: Whether it ends, as it should, with tables, figures and the report: most of what a tiny sweep takes.
    """
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code += "; import bench.__main__, bench.cli"
    code += "" if report else "; bench.cli._report = lambda _: 0"
    return [sys.executable, "-c", f"{code}; sys.exit(bench.__main__.main())", *arguments]

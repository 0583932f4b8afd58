"""`python -m bench`: see `bench/cli.py`. Guarded, because a spawned child imports this module again."""

import sys


def main() -> int:
    """Run the command line. Returns the exit code."""
    from bench import cli

    code = cli.main(sys.argv[1:])
    if code == cli.INTERRUPTED:
        cli.leave_uninterrupted()
    return code


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench`: see `bench/cli.py`. Guarded, because a spawned child imports this module again."""

import sys


def main() -> int:
    """Run the command line. Returns the exit code."""
    from bench.entry import start

    return start.main()


if __name__ == "__main__":
    sys.exit(main())

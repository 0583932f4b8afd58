"""`python -m bench`: see `bench/cli.py`. Guarded, because a spawned child imports this module again."""

import sys


def main() -> int:
    """Run the command line; the exit code."""
    from bench import cli

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

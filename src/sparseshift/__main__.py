"""The packaged project: `python -m sparseshift` runs the pipelines, as `kedro run` does."""

import sys
from collections.abc import Sequence
from pathlib import Path


def main(args: Sequence[str] | None = None) -> None:
    """Runs `kedro run` with these arguments, in a folder that has a conf/."""
    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.project import configure_project

    package = Path(__file__).parent.name
    configure_project(package)
    run = find_run_command(package)
    run(list(sys.argv[1:] if args is None else args), standalone_mode=True)


if __name__ == "__main__":
    main()

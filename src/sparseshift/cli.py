"""Commands of the project beside Kedro's own: `kedro doctor` and `kedro new-screen`."""

import os
from pathlib import Path
from typing import Any

import click


@click.group(name="sparseshift")
def cli() -> None:
    """Commands of sparseshift."""


@cli.command("new-screen")
@click.argument("name")
@click.option("--file", "path", required=True, help="h5ad file or zarr store of the screen.")
@click.option("--perturbation", default=None, help="obs column: a gene, A+B, or the control.")
@click.option("--control", default=None, help="Label of the unperturbed cells.")
@click.option("--batch", default=None, help="obs column of the batch.")
@click.option("--layer", default=None, help="Layer with the counts.")
@click.option("--force", is_flag=True, help="Write over an existing conf/NAME.")
def new_screen(name: str, path: str, *, force: bool, **columns: str | None) -> None:
    """Write conf/NAME for a screen of your own; then: kedro run --env NAME.

    What no option says is recognised in the file: kedro doctor --file PATH shows it.
    """
    from sparseshift.errors import SparseshiftError
    from sparseshift.screens.new_screen import write_configuration

    try:
        written = write_configuration(_project(), name, Path(path), columns, overwrite=force)
    except SparseshiftError as error:
        raise click.ClickException(str(error)) from None
    for reason in written.recognised:
        click.echo(f"recognised: {reason}")
    for file in written.files:
        click.echo(f"wrote {file}")
    click.echo(f"Next: kedro run --env {name}")


@cli.command("doctor")
@click.option("--env", "-e", default=None, help="Environment whose screens are looked at.")
@click.option("--file", "path", default=None, help="h5ad file or zarr store, in place of --env.")
@click.option("--name", default="mine", show_default=True, help="Of the screen in --file.")
@click.option("--write", is_flag=True, help="Write conf/NAME for --file.")
@click.option("--force", is_flag=True, help="Write over an existing conf/NAME.")
def doctor(env: str | None, path: str | None, name: str, *, write: bool, force: bool) -> None:
    """Say what a screen is, what is wrong with it, and what a run would cost; run nothing.

    The exit code is 1 if something is wrong.
    """
    from sparseshift.errors import SparseshiftError

    if path is None and write:
        raise click.UsageError("--write needs --file: an environment is written already.")
    if path is not None and env is not None:
        raise click.UsageError("Give --env or --file, not both.")
    try:
        well = (
            _examine_environment(env)
            if path is None
            else _examine_file(Path(path), name, write, force)
        )
    except SparseshiftError as error:
        raise click.ClickException(str(error)) from None
    raise SystemExit(0 if well else 1)


def _examine_file(path: Path, name: str, write: bool, force: bool) -> bool:
    from sparseshift.pipelines.examination import base_fits
    from sparseshift.screens.doctor.examine import examine
    from sparseshift.screens.doctor.text import diagnosis_text
    from sparseshift.screens.new_screen import check_place
    from sparseshift.screens.new_screen import write as write_files

    project = _project()
    if write:
        check_place(project, name, overwrite=force)
    found = examine(path, fits=base_fits(project))
    files: list[Path] = []
    if write and found.settings is not None:
        files = write_files(project, name, found.contents, found.settings)
    click.echo(diagnosis_text(found, name, written=map(str, files)))
    return not found.faults


def _examine_environment(env: str | None) -> bool:
    from sparseshift.pipelines.examination import screens_of

    env = env or os.environ.get("KEDRO_ENV")
    well = [_examine_screen(screen) for screen in screens_of(_project(), env)]
    return all(well)


def _examine_screen(screen: Any) -> bool:
    from sparseshift.errors import SparseshiftError
    from sparseshift.screens.doctor.examine import examine
    from sparseshift.screens.doctor.text import diagnosis_text

    click.echo(f"== {screen.name} ==")
    if screen.path is None:
        click.echo(f"{screen.why_not}\n")
        return True
    try:
        found = examine(screen.path, screen.settings, screen.fits)
    except SparseshiftError as error:
        click.echo(f"Faults: 1\n  {error}\n")
        return False
    click.echo(f"{diagnosis_text(found, screen.name)}\n")
    return not found.faults


def _project() -> Path:
    from kedro.utils import find_kedro_project

    return Path(find_kedro_project(Path.cwd()) or Path.cwd())

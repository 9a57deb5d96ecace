"""Commands of the project beside Kedro's own: `kedro new-screen`."""

from pathlib import Path

import click


@click.group(name="sparseshift")
def cli() -> None:
    """Commands of sparseshift."""


@cli.command("new-screen")
@click.argument("name")
@click.option("--file", "path", required=True, help="h5ad file or zarr store of the screen.")
@click.option("--perturbation", required=True, help="obs column: a gene, A+B, or the control.")
@click.option("--control", default=None, help="Label of the unperturbed cells.")
@click.option("--batch", default=None, help="obs column of the batch.")
@click.option("--layer", default=None, help="Layer with the counts; X if not given.")
@click.option("--force", is_flag=True, help="Write over an existing conf/NAME.")
def new_screen(
    name: str,
    path: str,
    perturbation: str,
    control: str | None,
    batch: str | None,
    layer: str | None,
    *,
    force: bool,
) -> None:
    """Write conf/NAME for a screen of your own; then: kedro run --env NAME."""
    from sparseshift.errors import SparseshiftError
    from sparseshift.screens.new_screen import write_configuration

    columns = {
        "perturbation": perturbation,
        "control": control,
        "batch": batch,
        "layer": layer,
    }
    try:
        written = write_configuration(Path.cwd(), name, Path(path), columns, overwrite=force)
    except SparseshiftError as error:
        raise click.ClickException(str(error)) from None
    for file in written:
        click.echo(f"wrote {file}")
    click.echo(f"Next: kedro run --env {name}")

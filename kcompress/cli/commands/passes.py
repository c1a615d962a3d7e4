"""`kcompress passes`."""

import json

import click


@click.command()
@click.argument("name", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a recipe")
def command(name: str | None, schema: bool) -> None:
    """List the passes, or explain one with all its fields."""
    from kcompress import recipe
    from kcompress.cli import manual

    if schema:
        click.echo(json.dumps(recipe.schema(), indent=2))
    else:
        click.echo(manual.overview() if name is None else manual.page(name))

"""The command line: `omnisae`. Nothing heavy is imported before a command needs it."""

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from omnisae import environment
from omnisae.errors import ConfigError, OmnisaeError

environment.prepare()  # before torch comes in

F = TypeVar("F", bound=Callable[..., Any])

_DEBUG = "omnisae.debug"
_MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


class _Words(click.Group):
    """Commands in the order in which they are used, and errors told in one message."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            from omnisae.errors import did_you_mean

            ctx.fail(f"there is no command {args[0]!r}; {did_you_mean(args[0], self.commands, n=1)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OmnisaeError as error:
            if ctx.meta.get(_DEBUG):
                raise
            _refuse(str(error), 2 if isinstance(error, ConfigError) else 1)
        except OSError as error:
            if ctx.meta.get(_DEBUG) or error.errno not in _MENDABLE:
                raise
            where = f"{error.filename}: " if error.filename else ""
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "free some space" if full else "check the permissions"
            _refuse(f"{where}{error.strerror}\n  → {remedy}, then give the same command again; what is done is kept", 1)
        except KeyboardInterrupt:
            _refuse("interrupted", 130)


def _refuse(message: str, code: int) -> None:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
    sys.exit(code)


def _debug(function: F) -> F:
    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[_DEBUG] = True

    option = click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show the traceback of an error."
    )
    return option(function)


@click.group(cls=_Words, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="omnisae", prog_name="omnisae")
@_debug
def main() -> None:
    """Look inside the models of any field with sparse autoencoders.

    \b
    omnisae run CONFIG        does all of it, and skips what has not changed
    omnisae plugins           shows what is installed, what is broken, and the mend
    omnisae new-plugin NAME DIR   begins a plug-in of your own
    """


def _stage_options(function: F) -> F:
    options = (
        click.argument("config", type=click.Path(path_type=Path)),
        click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="The run folder [runs/<name>]."),
        click.option(
            "--set", "overrides", multiple=True, metavar="A.B=C", help="Change a field of the config; may be repeated."
        ),
        _debug,
    )
    for option in reversed(options):
        function = option(function)
    return function


def _run(config: Path, out: Path | None, overrides: tuple[str, ...], stages: tuple[str, ...] | None) -> None:
    from omnisae.config_file import load

    loaded = load(config, overrides)
    from omnisae.pipeline import run

    try:
        folder = run(loaded, out, stages)
    except KeyboardInterrupt:
        kept = out or Path("runs") / loaded.name
        _refuse(f"interrupted; what is finished is kept in {kept}, and the same command goes on from there", 130)
    report = folder / "report" / "index.html"
    done = stages is None or "report" in stages
    click.echo(f"report: {report}" if done and report.exists() else f"run folder: {folder}")


@main.command()
@_stage_options
def run(config: Path, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Run all stages of CONFIG; those whose inputs have not changed are skipped."""
    _run(config, out, overrides, None)


@main.command()
@_stage_options
def extract(config: Path, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Read the model's activations into the store."""
    _run(config, out, overrides, ("extract",))


@main.command()
@_stage_options
def train(config: Path, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Train the autoencoders on the store."""
    _run(config, out, overrides, ("train",))


@main.command()
@_stage_options
def encode(config: Path, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Encode the store into posting lists."""
    _run(config, out, overrides, ("encode",))


@main.command()
@_stage_options
def score(config: Path, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Score latents against concepts, beside their controls."""
    _run(config, out, overrides, ("score",))


@main.command()
@_stage_options
def report(config: Path, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Write the report."""
    _run(config, out, overrides, ("report",))


@main.command()
@click.option("--offers", is_flag=True, help="List the components by the hook that offers them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_debug
def plugins(offers: bool, as_json: bool) -> None:
    """Show the plug-ins: ok, broken and why, or what they lack and the pip command."""
    from omnisae.commands import plugin_table
    from omnisae.plugins.registry import registry

    providers = registry().providers()
    if as_json:
        _print_json(plugin_table.as_json(providers))
    else:
        click.echo(plugin_table.offers(providers) if offers else plugin_table.table(providers))


@main.command()
@click.option("--markdown", is_flag=True, help="Print reference tables instead of JSON Schema.")
@click.option("--plugin", metavar="NAME", help="With --markdown: the components of this plug-in.")
@_debug
def schema(markdown: bool, plugin: str | None) -> None:
    """Print the JSON Schema of a config, with every installed component, for editors."""
    if plugin and not markdown:
        raise click.UsageError("--plugin goes with --markdown")
    if markdown:
        from omnisae.commands.reference import reference

        click.echo(reference(plugin), nl=False)
    else:
        from omnisae.commands.schema import json_schema

        _print_json(json_schema())


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--verify", is_flag=True, help="Check every shard of a store against its checksum.")
@_debug
def inspect(path: Path, as_json: bool, verify: bool) -> None:
    """Tell what lies at PATH: a store, posting lists, an artifact, or a run."""
    from omnisae.commands import inspection

    facts = inspection.inspect(path, verify)
    if as_json:
        _print_json(facts)
    else:
        click.echo(inspection.render(facts))


@main.command("new-plugin")
@click.argument("name")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@_debug
def new_plugin(name: str, directory: Path) -> None:
    """Begin a plug-in: a distribution in DIR whose entry point is NAME, with a model, a dataset, tests and a config."""
    from omnisae.scaffold import create

    create(name, directory)
    click.echo(f"wrote {directory}; next:\n")
    click.echo(
        f"    pip install -e {directory}\n    pytest {directory}\n    omnisae run {directory / 'quickstart.yaml'}"
    )


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))

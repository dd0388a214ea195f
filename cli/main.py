"""``coloria``: the group of all commands, and the one place where errors become exit codes.

Exit codes: 0 done, 1 some or all failed, 2 wrong use, 130 interrupted.
"""

from __future__ import annotations

import os
import select
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import click

import coloria
from coloria.errors import ColoriaError, did_you_mean

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["COMMANDS", "cli", "main"]

COMMANDS: dict[str, tuple[str, str, str]] = {
    "colorize": ("coloria.cli.colorize", "colorize", "Colour black-and-white photographs."),
    "models": ("coloria.cli.models", "models", "List the models, or compare how they are built."),
    "weights": ("coloria.cli.weights", "weights", "Fetch, check and remove weight files."),
    "compare": ("coloria.cli.compare", "compare", "Show one photograph by every model."),
    "eval": ("coloria.cli.eval", "evaluate", "Measure models on colour photographs."),
    "train": ("coloria.cli.train", "train", "Train a model from a recipe."),
    "export": ("coloria.cli.export", "export", "Write the weights of a run as one file."),
    "serve": ("coloria.cli.serve", "serve", "Serve the web site."),
    "info": ("coloria.cli.info", "info", "Show versions, devices, cache and extras."),
    "completion": ("coloria.cli.completion", "completion", "Print a shell completion script."),
}
"""Each command: its module, its name there, and the line that `coloria --help` shows of it."""

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


class Commands(click.Group):
    """Loads a command when it is called, so one that is slow or broken is not in others' way."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name, loaded now."""
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        return cast(click.Command, getattr(import_module(module), attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments call; an unknown name gets the nearest known one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"no command {name!r}{did_you_mean(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table, then the options of the group."""
        from click.shell_completion import CompletionItem

        rows = [(name, text) for name, (_, _, text) in COMMANDS.items()]
        items = [CompletionItem(n, help=text) for n, text in rows if n.startswith(incomplete)]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; what it raises ends here."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort):
            click.echo("\ninterrupted", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            if _reader_left():
                raise  # click ends quietly
            ctx.exit(_report_unexpected(debug=bool(ctx.params["traceback"])))
        except ColoriaError as error:
            ctx.exit(_report(error, debug=bool(ctx.params["traceback"])))
        except Exception:
            ctx.exit(_report_unexpected(debug=bool(ctx.params["traceback"])))


def _report(error: ColoriaError, *, debug: bool) -> int:
    """One red line, and the exit code."""
    if debug:
        _print_traceback()
    _say(f"error: {error}")
    return error.exit_code


def _report_unexpected(*, debug: bool) -> int:
    """One red line for what nobody foresaw, and the exit code."""
    if debug:
        _print_traceback()
    error = sys.exc_info()[1]
    first = (str(error).splitlines() or [""])[0]
    again = "" if debug else "; 'coloria --traceback ...' shows where"
    _say(
        f"unexpected error: {type(error).__name__}: {first}{again}. It is a mistake in coloria: "
        "please report it where you got coloria from, with what 'coloria info' prints"
    )
    return 1


def _print_traceback() -> None:
    import traceback

    click.echo(traceback.format_exc(), err=True)


def _say(text: str) -> None:
    plain = False if os.environ.get("NO_COLOR") else None
    click.secho(text, fg="red", err=True, color=plain)


def _reader_left() -> bool:
    """Whether it was our own stdout or stderr whose reader has gone."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(coloria.__version__, message="%(prog)s %(version)s")
@click.option(
    "--traceback",
    is_flag=True,
    envvar="COLORIA_DEBUG",
    help="Show where an error came from (or set COLORIA_DEBUG=1).",
)
def cli(traceback: bool) -> None:
    """Colour black-and-white photographs, and train the models that do it.

    \b
    coloria colorize photo.jpg        writes photo_artistic.jpg beside it
    coloria colorize album -o out     colours a folder
    """  # noqa: D301  (click reads the escape)


def main() -> None:
    """The console command."""
    try:
        cli(prog_name="coloria")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)

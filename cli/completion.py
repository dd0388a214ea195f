"""``coloria completion``: the script that teaches a shell our commands, options and names."""

from __future__ import annotations

from typing import cast

import click

__all__ = ["completion"]


@click.command(short_help="Print a shell completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and model names in SHELL.

    \b
    bash   eval "$(coloria completion bash)"     in ~/.bashrc
    zsh    eval "$(coloria completion zsh)"      in ~/.zshrc
    fish   coloria completion fish > ~/.config/fish/completions/coloria.fish
    """  # noqa: D301  (click reads the escape)
    from click.shell_completion import ShellComplete, get_completion_class

    kind = cast(type[ShellComplete], get_completion_class(shell))
    click.echo(kind(ctx.find_root().command, {}, "coloria", "_COLORIA_COMPLETE").source())

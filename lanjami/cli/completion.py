"""`lanjami completion`: have a shell complete what is typed."""

import click
from click.shell_completion import ShellComplete, get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(*, shell: str) -> None:
    """Print the script that has SHELL complete the commands of lanjami and their options.

    Installed packages bring it to where shells look. Else: source <(lanjami completion bash)
    """
    click.echo(script(shell), nl=False)


def script(shell: str) -> str:
    """The script for one of `SHELLS`; it asks the program that is called `lanjami`."""
    made = get_completion_class(shell)
    assert made is not None
    asking = made(click.Command("lanjami"), {}, "lanjami", "_LANJAMI_COMPLETE")
    return ShellComplete.source(asking)  # bash's own would start a bash to see how old it is

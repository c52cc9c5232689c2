"""Makes what is installed beside the program: manual pages and scripts for shells.

`python -m lanjami.cli.manual FOLDER` writes it to `FOLDER`, as it lies in a system's `share`.
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

import lanjami
from lanjami.cli import completion, places
from lanjami.cli.main import main

_WIDTH = 72  # characters of a line, before what man(7) adds to some

_SCRIPTS = {
    "bash": "bash-completion/completions/lanjami",
    "zsh": "zsh/site-functions/_lanjami",
    "fish": "fish/vendor_completions.d/lanjami.fish",
}
_OF_THEM_ALL = f"""\
.SH EXIT STATUS
.TP
.B 0
It was done, or all is well.
.TP
.B 1
What was looked at has a fault.
.TP
.B 2
The command was not written as it should be.
.TP
.B 3
The box does not run.
.TP
.B 69
The machine, or the box, refuses for now.
.TP
.B 78
The configuration is wrong.
.SH ENVIRONMENT
.TP
.B NO_COLOR
If it is set, and not empty, nothing is coloured.
.SH FILES
.TP
.I {places.SYSTEM_CONFIG}
The configuration; without it, that of the user is read.
.TP
.I ~/.config/lanjami/lanjami.toml
The configuration of a user.
.TP
.I {places.SYSTEM_STATE}
The state folder of the system service.
.TP
.I ~/.local/state/lanjami
The state folder of a user.
"""


def files() -> dict[str, str]:
    """The texts of all files, by their paths."""
    pages = {f"man/man1/{name}.1": text for name, text in _pages()}
    return pages | {path: completion.script(shell) for shell, path in _SCRIPTS.items()}


def _pages() -> Iterator[tuple[str, str]]:
    """A page for the program, and one for each command, with its verbs."""
    top = click.Context(main, info_name="lanjami")
    commands = [(name, _command(main, top, name)) for name in main.list_commands(top)]
    listed = "".join(
        f".TP\n.BR lanjami\\-{_roff(name)} (1)\n{_roff(_summary(command))}\n"
        for name, command in commands
    )
    yield "lanjami", _page(top, f".SH COMMANDS\n{listed}{_OF_THEM_ALL}")
    for name, command in commands:
        context = click.Context(command, info_name=name, parent=top)
        yield f"lanjami-{name}", _page(context, f"{_verbs(context)}.SH SEE ALSO\n.BR lanjami (1)\n")


def _page(context: click.Context, more: str) -> str:
    command, path = context.command, context.command_path
    name = path.replace(" ", "-")
    summary = _summary(command).rstrip(".")
    if context.parent is not None:  # the program's own begins with a name
        summary = summary[0].lower() + summary[1:]
    return (
        f'.TH {_roff(name.upper())} 1 "" "lanjami {lanjami.__version__}" "lanjami"\n'
        f".SH NAME\n{_roff(name)} \\- {_roff(summary)}\n"
        f".SH SYNOPSIS\n{_usage(context)}.SH DESCRIPTION\n{_text(command)}"
        f".SH OPTIONS\n{_options(context)}{more}"
    )


def _verbs(context: click.Context) -> str:
    group = context.command
    if not isinstance(group, click.Group):
        return ""
    shown = []
    for name in group.list_commands(context):
        verb = click.Context(_command(group, context, name), info_name=name, parent=context)
        shown.append(f".SS {_roff(name)}\n{_usage(verb)}.PP\n{_text(verb.command)}{_options(verb)}")
    return f".SH COMMANDS\n{''.join(shown)}"


def _command(group: click.Group, context: click.Context, name: str) -> click.Command:
    command = group.get_command(context, name)
    assert command is not None
    return command


def _usage(context: click.Context) -> str:
    words = context.command.collect_usage_pieces(context)
    return f".B {_roff(context.command_path)}\n{_roff(' '.join(words))}\n"


def _summary(command: click.Command) -> str:
    """What the help begins with, as a sentence."""
    return " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())


def _text(command: click.Command) -> str:
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return ".PP\n".join(f"{_roff(words)}\n" for words in paragraphs)


def _options(context: click.Context) -> str:
    options = [p for p in context.command.get_params(context) if isinstance(p, click.Option)]
    records = [option.get_help_record(context) for option in options]
    return "".join(
        f".TP\n.B {_roff(flags)}\n{_roff(help)}\n" for flags, help in filter(None, records)
    )


def _roff(text: str) -> str:
    """A text as man(7) has it, in lines; what is in backquotes is to be typed."""
    text = "\n".join(textwrap.wrap(text, _WIDTH, break_on_hyphens=False))
    text = text.replace("\\", r"\e").replace("-", r"\-")
    text = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


if __name__ == "__main__":
    for path, text in files().items():
        file = Path(sys.argv[1], path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")

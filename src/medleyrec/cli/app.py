"""What all commands share: the application, its options, and how it speaks. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from medleyrec.schema import InputError

if TYPE_CHECKING:
    from medleyrec.recipes.experiment import Experiment

WRONG_INPUT, INTERRUPTED = 2, 130


class Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Ctrl-C, where no command makes more of it, is said: by itself typer leaves without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("medley: interrupted; the same command begins again, or goes on where it can", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="medley",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a log and a catalogue to an honestly evaluated next-item recommender.",
    epilog="A first look, with nothing of your own: [bold]medley demo[/bold]",
)

Target = Annotated[Path, typer.Argument(help="A project folder, a medley.toml, or a run folder.", show_default=False)]
SplitKind = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="leave-one-out or time: each user's last events, or one cut in time.",
        show_default="leave-one-out",
    ),
]
ModelName = Annotated[str | None, typer.Option("--model", help="One of `medley models`.", show_default="sasrec")]
Items = Annotated[
    str | None, typer.Option("--items", help="What an item is: id, text, image, attributes, described_text, ...")
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        help="What training may take at most, such as 4GB; it is then taken in smaller parts where needed.",
        show_default="what is available",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, such as train.seed=3; can be repeated.", metavar="KEY=VALUE"),
]


def examples(*lines: str) -> str:
    """An epilog that keeps its lines apart."""
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(lines)


def experiment_of(target: Path, overrides: list[str] | None, *flags: dict[str, Any] | None) -> Experiment:
    """Later flags win over earlier ones, overrides over all."""
    from medleyrec.recipes.experiment import load_experiment

    return load_experiment(target, overrides=overrides or (), flags=[given for given in flags if given])


def split_flags(kind: str | None) -> dict[str, Any]:
    return {} if kind is None else {"split": {"kind": kind}}


def training_flags(
    *, model: str | None, items: str | None, memory_limit: str | None, split: str | None
) -> dict[str, Any]:
    """What the options of `train` and `plan` say, as sections of an experiment."""
    flags: dict[str, Any] = {"model": {}, "train": {}, **split_flags(split)}
    if model is not None:
        flags["model"]["name"] = model
    if items is not None:
        flags["model"]["settings"] = {"items": [part.strip() for part in items.split(",") if part.strip()]}
    if memory_limit is not None:
        flags["train"]["memory_limit"] = memory_limit
    return flags


def pairs(values: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for value in values or ():
        name, equals, column = value.partition("=")
        if not equals:
            raise InputError(
                f'{option} {value!r} is not of the form name=column, for example {option} user_id="customer"'
            )
        pairs[name.strip()] = column.strip()
    return pairs


def console() -> Any:
    from medleyrec.progress import ConsoleListener

    return ConsoleListener()


def say(text: str, *, markup: bool = False) -> None:
    from rich.console import Console

    Console(soft_wrap=True, highlight=False, emoji=False).print(text, markup=markup)


def show(table: Any) -> None:
    from rich.console import Console

    console = Console()
    wide = Console(width=max(console.width, 150)) if not console.is_terminal else console
    wide.print(table)

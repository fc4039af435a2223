"""The command `medley`: parse, call one recipe, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleyrec.schema import InputError

if TYPE_CHECKING:
    from medleyrec.recipes.experiment import Experiment

WRONG_INPUT, INTERRUPTED = 2, 130

app = typer.Typer(
    name="medley",
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
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, such as train.seed=3; can be repeated.", metavar="KEY=VALUE"),
]


def _examples(*lines: str) -> str:
    """An epilog that keeps its lines apart."""
    return "[bold]Examples[/bold]\n\n" + "\n\n".join(lines)


def _experiment(target: Path, overrides: list[str] | None, flags: dict[str, Any] | None = None) -> Experiment:
    from medleyrec.recipes.experiment import load_experiment

    return load_experiment(target, overrides=overrides or (), flags=flags)


def _split_flags(kind: str | None) -> dict[str, Any]:
    return {} if kind is None else {"split": {"kind": kind}}


def _pairs(values: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for value in values or ():
        name, equals, column = value.partition("=")
        if not equals:
            raise InputError(
                f'{option} {value!r} is not of the form name=column, for example {option} user_id="customer"'
            )
        pairs[name.strip()] = column.strip()
    return pairs


@app.command(
    epilog=_examples(
        "medley prepare shop --interactions log.csv --items items.csv --images pictures/",
        'medley prepare shop --interactions log.csv --column user_id="customer no" --column timestamp=bought_at',
        "medley prepare shop.toml --set prepare.min_user_events=3",
    )
)
def prepare(
    target: Target,
    interactions: Annotated[
        Path | None, typer.Option(help="The log: CSV, TSV, Parquet or JSONL (.gz too), or a folder of such files.")
    ] = None,
    items: Annotated[Path | None, typer.Option(help="The catalogue, in any of these formats.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder of <item_id>.jpg/png/webp, or a table of item_id and bytes.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="user_id, item_id, timestamp, ... = the log's own name for it.")
    ] = None,
    item_column: Annotated[list[str] | None, typer.Option(help="The same for the catalogue.")] = None,
    bazaar: Annotated[bool, typer.Option("--bazaar", help="Generate the planted bazaar instead.")] = False,
    memory_limit: Annotated[str | None, typer.Option(help="For DuckDB, such as 2GB; it spills beyond.")] = None,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """Clean a log and its catalogue into PROJECT/dataset, and cut it into what teaches and what judges."""
    from medleyrec.recipes.prepare import BAZAAR_OPTIONS, run_prepare

    source: dict[str, Any] = {"kind": "bazaar"} if bazaar else {}
    given = {"interactions": interactions, "items": items, "images": images}
    source |= {name: str(path) for name, path in given.items() if path is not None}
    if columns := _pairs(column, "--column"):
        source["columns"] = columns
    if item_columns := _pairs(item_column, "--item-column"):
        source["item_columns"] = item_columns
    flags: dict[str, Any] = {"source": source} if source else {}
    if bazaar:
        flags["prepare"] = BAZAAR_OPTIONS
    flags |= _split_flags(split)
    experiment = _experiment(target, set_, flags)
    with _console() as listener:
        dataset = run_prepare(experiment, listener, memory_limit=memory_limit)
    _say(f"Ready: {dataset.folder}. Next: medley encode {target}")


@app.command(
    epilog=_examples("medley encode shop", "medley encode shop --image none", "medley encode shop --refit-encoders")
)
def encode(
    target: Target,
    text: Annotated[str | None, typer.Option(help="Encoder of texts, or none.", show_default="tfidf-svd")] = None,
    image: Annotated[str | None, typer.Option(help="Encoder of pictures, or none.", show_default="descriptors")] = None,
    refit_encoders: Annotated[
        bool, typer.Option("--refit-encoders", help="Fit the encoders anew; every item is encoded again.")
    ] = False,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """Turn texts and pictures into vectors; unchanged items are not encoded again."""
    from medleyrec.recipes.encode import run_encode

    flags = {"encode": {n: v for n, v in (("text", text), ("image", image)) if v is not None}, **_split_flags(split)}
    with _console() as listener:
        encoded = run_encode(_experiment(target, set_, flags), listener, refit=refit_encoders)
    _say(f"Next: medley train {target} --items {','.join(['id', *encoded])}")


@app.command(
    epilog=_examples(
        "medley train shop --items id,text,image",
        "medley train shop --items id --seed 1 --set train.targets_per_step=256",
        "medley train shop --items id,text,image --refit",
        "medley train shop/runs/NAME --again",
        "The same command continues an interrupted run.",
    )
)
def train(
    target: Target,
    model: Annotated[str | None, typer.Option(help="One of `medley models`.", show_default="sasrec")] = None,
    items: Annotated[str | None, typer.Option(help="What an item is: id, text, image, with commas.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, show_default="0")] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train on all events, for the epochs the finished run needed; to be served.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Repeat a finished run beside it.")] = False,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """Train a model into PROJECT/runs/NAME; stops early by the validation metric."""
    from medleyrec.recipes.train import run_train

    flags: dict[str, Any] = {"model": {}, "train": {}, **_split_flags(split)}
    refit = refit or _is_refit(target)
    if model is not None:
        flags["model"]["name"] = model
    if items is not None:
        flags["model"]["settings"] = {"items": [part.strip() for part in items.split(",") if part.strip()]}
    if seed is not None:
        flags["train"]["seed"] = seed
    with _console() as listener:
        run, interrupted = run_train(_experiment(target, set_, flags), listener, refit=refit, again=again)
    if interrupted:
        _say(f"Interrupted; {run.folder} is saved. The same command goes on from there.")
        raise typer.Exit(INTERRUPTED)
    done = run.result
    told = (
        ""
        if done["best_validation"] is None
        else f" with {run.record['train']['metric']} {done['best_validation']:.4f}"
    )
    _say(f"Finished: {run.folder} (epoch {done['best_epoch']} of {done['epochs']} was best{told}).")
    _say(f"Next: medley evaluate {run.folder.parent.parent}, or medley recommend {run.folder} --history ID,ID")


@app.command(epilog=_examples("medley evaluate shop", "medley evaluate shop/runs/NAME --out comparison/"))
def evaluate(
    targets: Annotated[
        list[Path], typer.Argument(help="A project (all its finished runs), or run folders of one project.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the report; by default the project.")] = None,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """Judge runs on the test events beside popularity and the transition heuristic; write report.html."""
    from medleyrec.evaluation.console import console_table
    from medleyrec.recipes.evaluate import run_evaluate
    from medleyrec.recipes.experiment import RUN_RECORD
    from medleyrec.recipes.run import open_run

    runs = [open_run(t) for t in targets if (t / RUN_RECORD).exists()]
    homes = {run.folder.resolve().parent.parent for run in runs}
    if len(targets) > 1 and (len(runs) < len(targets) or len(homes) > 1):
        raise InputError("name either one project or run folders of one project")
    command = "medley evaluate " + " ".join(str(t) for t in targets)
    experiment = _experiment(runs[0].folder if runs else targets[0], set_, _split_flags(split))
    with _console() as listener:
        report = run_evaluate(experiment, listener, runs=runs, out=out, command=command)
    _print(console_table(report))
    _say(report.verdict)
    _say(f"Report: {(out or experiment.project) / 'report.html'}")


@app.command(
    epilog=_examples(
        "medley recommend shop/runs/NAME --history A17,B03",
        "medley recommend shop/runs/NAME --all --out recommendations.parquet",
    )
)
def recommend(
    run_folder: Annotated[Path, typer.Argument(help="A finished run.", metavar="RUN")],
    history: Annotated[str | None, typer.Option(help="Item ids, oldest first, with commas.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="For every user of the dataset, to --out.")] = False,
    out: Annotated[Path | None, typer.Option(help="A .parquet or .csv file.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    seen: Annotated[
        bool | None,
        typer.Option(
            "--with-seen/--without-seen",
            help="Whether items of the history can come again.",
            show_default="without where repeats are rare in the log",
        ),
    ] = None,
) -> None:
    """The next items after one history, or for all users into a file."""
    from medleyrec.recipes.run import open_run

    if all_ == (history is not None):
        raise InputError("give either --history ID,ID or --all with --out FILE")
    run, leave_out = open_run(run_folder), None if seen is None else not seen
    if not run.result:
        raise InputError(f"{run_folder} is unfinished; run the same `medley train` again to finish it")
    if all_:
        from medleyrec.recipes.recommend import recommend_all

        if out is None:
            raise InputError("--all needs --out FILE, ending in .parquet or .csv")
        with _console() as listener:
            rows = recommend_all(run, out, listener, k=k, leave_out_seen=leave_out)
        _say(f"{rows:,} rows in {out}.")
        return
    titles, rows_of = run.dataset.catalogue.column("title"), run.dataset.item_rows
    wanted = [part.strip() for part in (history or "").split(",") if part.strip()]
    if unknown := [item for item in wanted if item not in rows_of]:
        _say(f"Not in the log, left out: {', '.join(unknown)}")
    for rank, (item, score) in enumerate(run.recommend(wanted, k, leave_out_seen=leave_out), 1):
        _say(f"{rank:3d}  {item}  {score:8.3f}  {titles[rows_of[item] - 1].as_py() or ''}")


@app.command(epilog=_examples("medley models"))
def models() -> None:
    """What can be trained, and the settings of each; and the baselines of every report."""
    from medleyrec.models import BASELINES, MODELS, model_class

    for name in sorted(MODELS):
        cls = model_class(name)
        first = (sys.modules[cls.__module__].__doc__ or name).splitlines()[0]
        _say(f"[bold]{name}[/bold]  {first}", markup=True)
        for key, field in cls.Settings.model_fields.items():
            about = f"  {field.description}" if field.description else ""
            _say(f"    model.settings.{key} = {field.default!r}{about}")
    _say(f"[bold]baselines[/bold]  {', '.join(BASELINES)}", markup=True)


@app.command(epilog=_examples("medley demo", "medley demo --project twin --noise"))
def demo(
    project: Annotated[Path, typer.Option(help="Where it is made.")] = Path("demo"),
    noise: Annotated[bool, typer.Option("--noise", help="The noise twin: nothing may be found there.")] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """The whole way on a generated shop with a known answer: prepare, encode, train, evaluate, report."""
    from medleyrec.evaluation.console import console_table
    from medleyrec.recipes.demo import run_demo

    with _console() as listener:
        report = run_demo(project, listener, noise=noise, seed=seed)
    if report is None:
        _say("Interrupted and saved. The same command goes on from there.")
        raise typer.Exit(INTERRUPTED)
    _print(console_table(report))
    _say(report.verdict)
    _say(f"Report: {project / 'report.html'}")
    _say("The same with your own files:")
    _say("  medley prepare shop --interactions log.csv --items items.csv --images pictures/")
    _say("  medley encode shop && medley train shop --items id,text,image && medley evaluate shop")


def _is_refit(target: Path) -> bool:
    """Whether `target` is the folder of a run that was trained on all events: repeating it means just that."""
    from medleyrec import storage
    from medleyrec.recipes.experiment import RUN_RECORD

    return (target / RUN_RECORD).exists() and bool(storage.read_json(target / RUN_RECORD).get("refit"))


def _console() -> Any:
    from medleyrec.progress import ConsoleListener

    return ConsoleListener()


def _say(text: str, *, markup: bool = False) -> None:
    from rich.console import Console

    Console(soft_wrap=True, highlight=False, emoji=False).print(text, markup=markup)


def _print(table: Any) -> None:
    from rich.console import Console

    console = Console()
    wide = Console(width=max(console.width, 150)) if not console.is_terminal else console
    wide.print(table)


def main() -> None:
    """What is wrong with the input is one sentence and exit code 2."""
    try:
        app()
    except InputError as error:
        typer.echo(f"medley: {error}", err=True)
        sys.exit(WRONG_INPUT)
    except OSError as error:
        typer.echo(f"medley: {error.filename or 'a file'}: {error.strerror or error}", err=True)
        sys.exit(WRONG_INPUT)
    except KeyboardInterrupt:
        typer.echo("medley: interrupted", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()

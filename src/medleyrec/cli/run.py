"""Commands on models: train, evaluate, recommend, models, demo."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from medleyrec.cli.app import (
    INTERRUPTED,
    Items,
    MemoryLimit,
    ModelName,
    Set,
    SplitKind,
    Target,
    app,
    console,
    examples,
    experiment_of,
    say,
    show,
    split_flags,
    training_flags,
)
from medleyrec.schema import InputError


@app.command(
    epilog=examples(
        "medley train shop --items id,text,image",
        "medley train shop --items id --seed 1 --set train.targets_per_step=256",
        "medley train shop --recipe recipes/dmesr/full.toml",
        "medley train shop --items id,text,image --refit",
        "medley train shop/runs/NAME --again",
        "medley train shop --model hm4sr --items id,text --memory-limit 4GB",
        "The same command continues an interrupted run.",
    )
)
def train(
    target: Target,
    model: ModelName = None,
    items: Items = None,
    seed: Annotated[int | None, typer.Option(min=0, show_default="0")] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train on all events, for the epochs the finished run needed; to be served.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Repeat a finished run beside it.")] = False,
    recipe: Annotated[Path | None, typer.Option(help=r"A TOML file with \[model] and \[train].")] = None,
    memory_limit: MemoryLimit = None,
    plan: Annotated[
        bool, typer.Option("--plan/--no-plan", help="Whether a few steps first tell what the run will take.")
    ] = True,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """Train a model into PROJECT/runs/NAME; stops early by the validation metric."""
    from medleyrec.recipes.experiment import recipe_of
    from medleyrec.recipes.train import run_train

    given = {} if recipe is None else recipe_of(recipe)
    flags = training_flags(model=model, items=items, memory_limit=memory_limit, split=split)
    refit = refit or _is_refit(target)
    if seed is not None:
        flags["train"]["seed"] = seed
    if not plan:
        flags["train"]["plan"] = False
    with console() as listener:
        run, interrupted = run_train(experiment_of(target, set_, given, flags), listener, refit=refit, again=again)
    if interrupted:
        say(f"Interrupted; {run.folder} is saved. The same command goes on from there.")
        raise typer.Exit(INTERRUPTED)
    done = run.result
    told = (
        ""
        if done["best_validation"] is None
        else f" with {run.record['train']['metric']} {done['best_validation']:.4f}"
    )
    say(f"Finished: {run.folder} (epoch {done['best_epoch']} of {done['epochs']} was best{told}).")
    say(f"Next: medley evaluate {run.folder.parent.parent}, or medley recommend {run.folder} --history ID,ID")


@app.command(
    epilog=examples(
        "medley evaluate shop",
        "medley evaluate shop/runs/NAME --out comparison/",
        "medley evaluate shop --protocol sampled --set evaluate.negatives=100",
    )
)
def evaluate(
    targets: Annotated[
        list[Path], typer.Argument(help="A project (all its finished runs), or run folders of one project.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the report; by default the project.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="full: every target among all candidates. sampled: that, and a table of its own of every target among "
            "100 sampled negatives, with head and tail users and items.",
            show_default="full",
        ),
    ] = None,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """Judge runs on the test events beside popularity and the transition heuristic; write report.html."""
    from medleyrec.evaluation.console import console_tables
    from medleyrec.recipes.evaluate import run_evaluate
    from medleyrec.recipes.experiment import RUN_RECORD
    from medleyrec.recipes.run import open_run

    runs = [open_run(t) for t in targets if (t / RUN_RECORD).exists()]
    homes = {run.folder.resolve().parent.parent for run in runs}
    if len(targets) > 1 and (len(runs) < len(targets) or len(homes) > 1):
        raise InputError("name either one project or run folders of one project")
    told = [*(("--protocol", protocol) if protocol else ()), *(("--split", split) if split else ())]
    told += [word for setting in set_ or () for word in ("--set", setting)]
    command = shlex.join(["medley", "evaluate", *map(str, targets), *told])
    flags = split_flags(split)
    if protocol is not None:
        flags["evaluate"] = {"protocol": protocol}
    experiment = experiment_of(runs[0].folder if runs else targets[0], set_, flags)
    with console() as listener:
        report = run_evaluate(experiment, listener, runs=runs, out=out, command=command)
    for table in console_tables(report):
        show(table)
    say(report.verdict)
    say(f"Report: {(out or experiment.project) / 'report.html'}")


@app.command(
    epilog=examples(
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
        with console() as listener:
            rows = recommend_all(run, out, listener, k=k, leave_out_seen=leave_out)
        say(f"{rows:,} rows in {out}.")
        return
    titles, rows_of = run.dataset.catalogue.column("title"), run.dataset.item_rows
    wanted = [part.strip() for part in (history or "").split(",") if part.strip()]
    if unknown := [item for item in wanted if item not in rows_of]:
        say(f"Not in the log, left out: {', '.join(unknown)}")
    for rank, (item, score) in enumerate(run.recommend(wanted, k, leave_out_seen=leave_out), 1):
        say(f"{rank:3d}  {item}  {score:8.3f}  {titles[rows_of[item] - 1].as_py() or ''}")


@app.command(epilog=examples("medley models"))
def models() -> None:
    """What can be trained, and the settings of each; and the baselines of every report."""
    from medleyrec.models import BASELINES, MODELS, model_class

    for name in sorted(MODELS):
        cls = model_class(name)
        first = (sys.modules[cls.__module__].__doc__ or name).splitlines()[0]
        say(f"[bold]{name}[/bold]  {first}", markup=True)
        for key, field in cls.Settings.model_fields.items():
            about = f"  {field.description}" if field.description else ""
            default = f"{field.default!r}"
            if key == "items" and cls.default_items:
                default = f"those encoded of {cls.default_items!r}, else {default}"
            say(f"    model.settings.{key} = {default}{about}")
    say(f"[bold]baselines[/bold]  {', '.join(BASELINES)}", markup=True)


@app.command(epilog=examples("medley demo", "medley demo --project twin --noise"))
def demo(
    project: Annotated[Path, typer.Option(help="Where it is made.")] = Path("demo"),
    noise: Annotated[bool, typer.Option("--noise", help="The noise twin: nothing may be found there.")] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """The whole way on a generated shop with a known answer: prepare, encode, train, evaluate, report."""
    from medleyrec.evaluation.console import console_table
    from medleyrec.recipes.demo import run_demo

    with console() as listener:
        report = run_demo(project, listener, noise=noise, seed=seed)
    if report is None:
        say("Interrupted and saved. The same command goes on from there.")
        raise typer.Exit(INTERRUPTED)
    show(console_table(report))
    say(report.verdict)
    say(f"Report: {project / 'report.html'}")
    say("The same with your own files:")
    say("  medley prepare shop --interactions log.csv --items items.csv --images pictures/")
    say("  medley encode shop && medley train shop --items id,text,image && medley evaluate shop")


def _is_refit(target: Path) -> bool:
    """Whether `target` is the folder of a run that was trained on all events: repeating it means just that."""
    from medleyrec import storage
    from medleyrec.recipes.experiment import RUN_RECORD

    return (target / RUN_RECORD).exists() and bool(storage.read_json(target / RUN_RECORD).get("refit"))

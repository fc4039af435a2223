"""Commands of research: ablate, inspect, verify, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medleyrec.cli.app import (
    Set,
    app,
    console,
    examples,
    experiment_of,
    say,
)
from medleyrec.schema import InputError


@app.command(
    epilog=examples(
        "medley ablate recipes/hm4sr/*.toml --project shop",
        "medley ablate recipes/hm4sr/full.toml --project shop --seeds 3",
        "medley ablate recipes/hm4sr/*.toml --project shop --table",
        "medley ablate recipes/cammsr/full.toml recipes/hm4sr/full.toml --project shop",
        "The same command goes on where it was stopped.",
    )
)
def ablate(
    recipes: Annotated[list[Path], typer.Argument(help=r"TOML files with \[model] and \[train].")],
    project: Annotated[Path, typer.Option(help="A prepared and encoded project.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each recipe.")] = 1,
    table: Annotated[bool, typer.Option("--table", help="Train nothing; print what is finished.")] = False,
    set_: Set = None,
) -> None:
    """Train several recipes, seed by seed, and print what each part of a model is worth."""
    from medleyrec.recipes.ablate import run_ablate

    with console() as listener:
        found = run_ablate(recipes, listener, project=project, seeds=seeds, table_only=table, overrides=set_ or ())
    say(str(found))
    for row in found.rows:
        if row.written:
            say(f"{row.name}: its descriptions are of this origin: {row.written}.")
    for row in found.refused:
        say(f"{row.name}: {row.refused}")
    if found.refused:
        raise InputError(f"{len(found.refused)} of {len(found.rows)} recipes cannot be run on {project}; mend them")


@app.command(epilog=examples("medley inspect shop/runs/NAME", "medley inspect shop/runs/NAME --sample 0"))
def inspect(
    run_folder: Annotated[Path, typer.Argument(help="A finished run.", metavar="RUN")],
    sample: Annotated[int, typer.Option(min=0, help="Test events to look at, evenly spaced; 0 for all.")] = 2000,
    out: Annotated[Path | None, typer.Option(help="Folder of inspect.html; by default the run.")] = None,
) -> None:
    """Look into a model: what it loses without text, pictures or times; what the parts of hm4sr and cammsr do."""
    from medleyrec.recipes.inspect import run_inspect
    from medleyrec.recipes.run import open_run

    with console() as listener:
        found = run_inspect(open_run(run_folder), listener, sample=sample, out=out)
    say(str(found))
    say(f"\nDrawn in {(out or run_folder) / 'inspect.html'}")


@app.command(epilog=examples("medley verify hm4sr hm4sr_tiny.safetensors"))
def verify(
    model: Annotated[str, typer.Argument(help="hm4sr")],
    file: Annotated[Path, typer.Argument(help="Reference weights, inputs and outputs; .pt or .safetensors.")],
) -> None:
    """Compare our model with numbers of the published code, quantity by quantity; exit code 1 on a failure."""
    from medleyrec.recipes.verify import run_verify

    _only_hm4sr(model)
    found = run_verify(file)
    say(str(found))
    raise typer.Exit(0 if found.passed else 1)


@app.command("import", epilog=examples("medley import hm4sr hm4sr.pt --project beauty"))
def import_(
    model: Annotated[str, typer.Argument(help="hm4sr")],
    file: Annotated[Path, typer.Argument(help="Weights exported as the README says.")],
    project: Annotated[Path, typer.Option(help="A prepared project with the same items.")],
    set_: Set = None,
) -> None:
    """Judge weights that the published code trained on the test events of a project."""
    from medleyrec.dataset.cuts import make_split
    from medleyrec.recipes.imports import run_import
    from medleyrec.recipes.prepare import open_dataset

    _only_hm4sr(model)
    experiment = experiment_of(project, set_)
    found = run_import(make_split(open_dataset(experiment.project), experiment.split), file)
    for name, estimate in found.items():
        say(f"{name:<14}{estimate.value:.4f} ({estimate.low:.4f} to {estimate.high:.4f})")


def _only_hm4sr(model: str) -> None:
    if model != "hm4sr":
        raise InputError(f"{model!r} has no published weights to compare with; hm4sr has")

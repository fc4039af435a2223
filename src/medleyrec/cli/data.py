"""Commands on data: prepare, append, download, audit, encode, vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medleyrec.cli.app import (
    Set,
    SplitKind,
    Target,
    app,
    console,
    examples,
    experiment_of,
    pairs,
    say,
    split_flags,
)
from medleyrec.schema import InputError


@app.command(
    epilog=examples(
        "medley prepare shop --interactions log.csv --items items.csv --images pictures/",
        'medley prepare shop --interactions log.csv --column user_id="customer no" --column timestamp=bought_at',
        "medley prepare films --kind movielens --folder ml-1m",
        "medley prepare shop --interactions log.csv --split time",
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
    kind: Annotated[
        str | None,
        typer.Option(help="A published form: movielens, amazon, recbole, microlens.", show_default="tables"),
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where a data set of that --kind lies.")] = None,
    bazaar: Annotated[bool, typer.Option("--bazaar", help="Generate the planted bazaar instead.")] = False,
    memory_limit: Annotated[
        str | None, typer.Option(help="For DuckDB, such as 2GB; it spills beyond. Half of the memory by default.")
    ] = None,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """Clean a log and its catalogue into PROJECT/dataset, and cut it into what teaches and what judges."""
    from medleyrec.recipes.prepare import BAZAAR_OPTIONS, run_prepare

    source: dict[str, Any] = {"kind": "bazaar"} if bazaar else {}
    if kind is not None:
        source["kind"] = kind
    given = {"interactions": interactions, "items": items, "images": images, "folder": folder}
    source |= {name: str(path) for name, path in given.items() if path is not None}
    if columns := pairs(column, "--column"):
        source["columns"] = columns
    if item_columns := pairs(item_column, "--item-column"):
        source["item_columns"] = item_columns
    flags: dict[str, Any] = {"source": source} if source else {}
    if bazaar:
        flags["prepare"] = BAZAAR_OPTIONS
    flags |= split_flags(split)
    experiment = experiment_of(target, set_, flags)
    with console() as listener:
        dataset = run_prepare(experiment, listener, memory_limit=memory_limit)
    say(f"Ready: {dataset.folder}. Next: medley encode {target}")


@app.command(
    epilog=examples("medley append shop --interactions november.csv", "medley append shop --items new-goods.csv")
)
def append(
    target: Target,
    interactions: Annotated[list[Path] | None, typer.Option(help="New events; can be repeated.")] = None,
    items: Annotated[list[Path] | None, typer.Option(help="New items; can be repeated.")] = None,
    images: Annotated[Path | None, typer.Option(help="A table of item_id and bytes.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="For DuckDB; half of the memory by default.")] = None,
    set_: Set = None,
) -> None:
    """Add events and items to a project; the dataset becomes what all of the input at once would give."""
    from medleyrec.recipes.append import run_append

    if not (interactions or items or images):
        raise InputError("nothing to append; name --interactions, --items or --images")
    with console() as listener:
        dataset = run_append(
            experiment_of(target, set_),
            listener,
            interactions=interactions or (),
            items=items or (),
            images=images,
            memory_limit=memory_limit,
        )
    say(f"Ready: {dataset.folder}. Next: medley encode {target}")


@app.command(epilog=examples("medley download ml-latest-small", "medley download amazon-2023/All_Beauty data"))
def download(
    name: Annotated[str, typer.Argument(help="ml-100k, ml-1m, ..., ml-latest-small, or amazon-2023/Category.")],
    folder: Annotated[Path, typer.Argument(help="Where it goes.")] = Path("data"),
) -> None:
    """Fetch a public data set. Goes on where it broke off."""
    from medleyrec.sources.download import fetch

    with console() as listener:
        found = fetch(name, folder, listener.step)
    for note in found.notes:
        say(note)
    say(f"Next: medley prepare shop --kind {found.kind} --folder {found.folder}")


@app.command(epilog=examples("medley audit shop", "medley audit shop --quick", "medley audit shop --json"))
def audit(
    target: Target,
    json_: Annotated[bool, typer.Option("--json", help="Numbers and sentences as JSON.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="The log alone: no models, texts or pictures.")] = False,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """What is odd about the data and its split, before any model: sentences, cautions first."""
    import json

    from medleyrec.recipes.audit import run_audit

    with console() as listener:
        found = run_audit(experiment_of(target, set_, split_flags(split)), listener, probes=not quick)
    if json_:
        typer.echo(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
        return
    say(found.lead)
    for finding in found:
        say(f"{'Caution: ' if finding.level == 'caution' else ''}{finding.sentence}")


@app.command(
    epilog=examples(
        "medley encode shop",
        "medley encode shop --image none",
        "medley encode shop --text minilm --image google/siglip-base-patch16-224",
        "medley encode shop --text models/bert --set encode.text_settings.pooling=cls --offline",
        "medley encode shop --text minilm --views attributes,described_both",
        "medley encode shop --refit-encoders",
        r'In a medley.toml: \[encode] text = "minilm"; \[encode.text_settings] model = "models/all-MiniLM-L6-v2"',
    )
)
def encode(
    target: Target,
    text: Annotated[
        str | None,
        typer.Option(
            help="Encoder of texts: tfidf-svd, minilm, a Hugging Face model (folder or hub name), imported:NAME, none.",
            show_default="tfidf-svd",
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="Encoder of pictures: descriptors, a Hugging Face model (ViT, DINOv2, CLIP, SigLIP), imported:NAME, "
            "none.",
            show_default="descriptors",
        ),
    ] = None,
    views: Annotated[
        str | None,
        typer.Option(
            help="Further tables by the text encoder: attributes, described_image, described_text, described_both, "
            "field_title (or _categories, _brand, _price, _description), or none.",
            show_default="attributes and all descriptions there are, if any",
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch a model from the hub.")] = False,
    refit_encoders: Annotated[
        bool, typer.Option("--refit-encoders", help="Fit the encoders anew; every item is encoded again.")
    ] = False,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """Turn texts and pictures into vectors; unchanged items are not encoded again, a killed run goes on."""
    from medleyrec.recipes.encode import run_encode

    flags: dict[str, Any] = {n: v for n, v in (("text", text), ("image", image)) if v is not None}
    if views is not None:
        flags["views"] = [] if views == "none" else [view.strip() for view in views.split(",") if view.strip()]
    if offline:
        flags["offline"] = True
    experiment = experiment_of(target, set_, {"encode": flags, **split_flags(split)})
    with console() as listener:
        encoded = run_encode(experiment, listener, refit=refit_encoders)
    say(f"Next: medley train {target} --items {','.join(['id', *encoded])}")


@app.command(
    epilog=examples(
        "medley vectors shop clip.parquet --as image",
        "medley vectors shop titles.npy --as text --ids ids.txt --name mymodel",
        "medley encode shop --split time --text imported:mymodel",
    )
)
def vectors(
    target: Target,
    file: Annotated[Path, typer.Argument(help="Vectors: .npy, .pt, .safetensors or .parquet.", show_default=False)],
    as_: Annotated[
        str,
        typer.Option(
            "--as",
            help="text, image, described_image, described_text, described_both, attributes, field_title, ...",
            show_default=False,
        ),
    ],
    ids: Annotated[
        Path | None, typer.Option(help="Item ids of the rows: one a line, a CSV, or a JSON list.", show_default=False)
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="The column of ids, in Parquet or in --ids.", show_default="item_id")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="How the vectors are called, for imported:NAME.", show_default="the file's name")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Which tensor or column, where the file holds several.", show_default=False)
    ] = None,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Row 1 is the first item of dataset/catalogue.parquet, and so on.")
    ] = False,
    split: SplitKind = None,
    set_: Set = None,
) -> None:
    """Take vectors that you have already; rows belong to items by id, and are kept for later datasets."""
    from medleyrec.recipes.vectors import run_vectors

    with console() as listener:
        run_vectors(
            experiment_of(target, set_, split_flags(split)),
            file,
            listener,
            table=as_,
            ids=ids,
            id_column=id_column,
            name=name,
            in_order=in_order,
            key=key,
        )
    say(f"Next: medley train {target} --items id,{as_}")

"""The command `medley`: parse, call one recipe, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys

import typer

from medleyrec.cli import data, describe, plan, run, study
from medleyrec.cli.app import INTERRUPTED, WRONG_INPUT, app
from medleyrec.schema import InputError

__all__ = ["app", "data", "describe", "main", "plan", "run", "study"]


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

"""The command `medley`: parse, call one recipe, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys

import typer

from medleyrec.cli import data, describe, plan, run, study
from medleyrec.cli.app import WRONG_INPUT, app
from medleyrec.schema import InputError

__all__ = ["app", "data", "describe", "main", "plan", "run", "spin_briefly", "study"]


SPINS = 10_000
"""Times that a thread of the math library looks for work before it sleeps. GNU's OpenMP alone heeds it; by itself it
takes 300,000, and beside another training its threads burn the time that the ones they wait for would need."""


def main() -> None:
    """What is wrong with the input is one sentence and exit code 2."""
    spin_briefly()
    try:
        app()
    except InputError as error:
        typer.echo(f"medley: {error}", err=True)
        sys.exit(WRONG_INPUT)
    except OSError as error:
        typer.echo(f"medley: {error.filename or 'a file'}: {error.strerror or error}", err=True)
        sys.exit(WRONG_INPUT)


def spin_briefly() -> None:
    """Heeded if the math library is loaded after it, and only where the user has not said how threads wait."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))

"""Real data for tests that use it; they skip where it is absent."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("MEDLEY_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def real_data():
    def folder(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"{name} is not in {DATA} (set MEDLEY_DATA)")
        return DATA / name

    return folder

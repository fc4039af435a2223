"""The long campaign: `pytest -m slow tests/hostile -s` prints how many cases of which kind came out how."""

import pytest

from tests.hostile.campaign import keys, run
from tests.hostile.kinds import KINDS, shares
from tests.hostile.terminal import KIND_NAMES, check_command

pytestmark = pytest.mark.slow
CASES = 10_000
COMMANDS = 10


def test_no_input_breaks_the_data_plane(tmp_path):
    tally = run(keys(shares(CASES), first=1_000), tmp_path)
    print(f"\n{tally!r}")
    assert not tally.defects, "\n".join(tally.defects[:20])
    assert len(tally) >= CASES
    assert {kind for kind, _ in tally.outcomes} == set(KINDS)


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_command_line_says_the_same(kind, tmp_path):
    codes = [check_command(kind, seed, tmp_path / str(seed)) for seed in range(1_000, 1_000 + COMMANDS)]
    assert set(codes) <= {0, 2}

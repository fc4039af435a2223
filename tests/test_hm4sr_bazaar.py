"""What was planted is found by HM4SR, and nothing is found in the noise twin; minutes of training, so `-m slow`.

The bazaar turns here (turn = 3): how the next item follows depends on the gap before, and a model that looks at the
gaps of a history can find it. In the default bazaar gaps tell when a session begins and nothing of what follows in it.
"""

import pytest

from medleyrec.recipes.inspect_hm4sr import SHORT_LONG
from tests.planted import GAPS, NOTHING, assert_contents_are_found, assert_contents_are_noise, inspected, lost


@pytest.mark.slow
def test_what_was_planted_is_found(tmp_path):
    found, drivers = inspected("hm4sr", tmp_path / "bazaar", turn=3)
    assert_contents_are_found(found, drivers)
    assert found.figures[SHORT_LONG] >= 0.2
    assert lost(found, "among all items")["all events"][GAPS][1] > 0, "shuffled gaps cost"


@pytest.mark.slow
def test_nothing_is_found_in_the_noise_twin(tmp_path):
    found, _ = inspected("hm4sr", tmp_path / "twin", turn=3, noise=True)
    assert_contents_are_noise(found)
    assert found.figures[SHORT_LONG] <= 0.05
    assert abs(lost(found, "among all items")["all events"][GAPS][0]) < NOTHING

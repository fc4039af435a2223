"""What was planted is found by CAMMSR, and nothing is found in the noise twin; minutes of training, so `-m slow`."""

import pytest

from tests.planted import assert_contents_are_found, assert_contents_are_noise, inspected


@pytest.mark.slow
def test_what_was_planted_is_found(tmp_path):
    assert_contents_are_found(*inspected("cammsr", tmp_path / "bazaar"))


@pytest.mark.slow
def test_nothing_is_found_in_the_noise_twin(tmp_path):
    assert_contents_are_noise(inspected("cammsr", tmp_path / "twin", noise=True)[0])

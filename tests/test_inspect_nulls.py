"""Part weights beside chance: measures whose value and null are known by thought."""

import numpy as np
import pytest

from medleyrec.recipes.inspect_nulls import by_item, category_null, drivers_of, planted_null
from medleyrec.schema import InputError

PARTS = ("id", "text", "image")


def test_weights_are_averaged_by_item():
    told, rows = by_item(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), np.array([7, 3, 7]))
    assert rows.tolist() == [3, 7]
    assert told.tolist() == [[0.0, 1.0], [0.75, 0.25]]


def test_categories_that_tell_the_weights_explain_all_of_them():
    labels = np.repeat([4, 9], 20)
    found = category_null(np.where(labels[:, None] == 4, [0.9, 0.1], [0.2, 0.8]), labels)
    assert found.value == pytest.approx(1)
    assert found.chance == pytest.approx(1 / 39, abs=0.01), "one degree of freedom of 39"
    assert found.p == 1 / 1000


def test_categories_that_tell_nothing_explain_what_chance_does():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(40):
        first = rng.random(60)
        found = category_null(np.stack([first, 1 - first], 1), rng.integers(5, size=60), rounds=99)
        assert found.chance == pytest.approx(4 / 59, abs=0.03)
        p.append(found.p)
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) <= 0.05) < 0.2


def test_nothing_to_compare_is_no_measure():
    assert category_null(np.full((6, 2), 0.5), np.array([0, 1] * 3)) is None
    assert category_null(np.random.default_rng(0).random((6, 2)), np.zeros(6, np.int64)) is None


def planted(image_of_looks: float) -> dict[str, list[float]]:
    """Three categories that follow the picture, three that follow the text, one that follows neither."""
    other = 0.9 - image_of_looks
    looks = {f"look {i}": [0.1, other, image_of_looks] for i in range(3)}
    words = {f"word {i}": [0.1, image_of_looks, other] for i in range(3)}
    return looks | words | {"plain": [1.0, 0.0, 0.0]}


DRIVERS = {f"look {i}": "image" for i in range(3)} | {f"word {i}": "text" for i in range(3)} | {"plain": "none"}


@pytest.mark.parametrize(("image", "value"), [(0.6, 0.3), (0.3, -0.3)])
def test_weights_that_follow_what_was_planted_are_the_rarest_arrangement(image, value):
    found = planted_null(planted(image), DRIVERS, PARTS)
    assert found.value == pytest.approx(value), "mean of own part minus other part, whichever sign it has"
    assert found.chance == pytest.approx(0)
    assert found.p == pytest.approx(2 / 20), "of 20 ways to deal three pictures among six, this and its opposite"


def test_weights_that_ignore_what_was_planted_are_any_arrangement():
    rows = {name: [0.2, 0.3, 0.5] for name in DRIVERS}
    found = planted_null(rows, DRIVERS, PARTS)
    assert (found.value, found.p) == (0, 1)


def test_without_both_kinds_there_is_no_contrast():
    assert planted_null(planted(0.6), DRIVERS, ("id", "text")) is None
    assert planted_null(planted(0.6), {"look 0": "image"}, PARTS) is None


def test_a_file_that_is_no_truth_is_one_sentence():
    with pytest.raises(InputError, match="prepare"):
        drivers_of({"drivers": 3})

"""The learning rate, and the limit that comes first."""

from __future__ import annotations

import numpy as np
import pytest

from conveyor import ConveyorError
from conveyor.seq2seq import TrainingConfig
from conveyor.seq2seq._schedule import check_schedule, learning_rate_at, shares_done

pytestmark = pytest.mark.any_backend


def rates(**settings):
    config = TrainingConfig(learning_rate=0.01, warmup=0.1, **settings)
    return np.array([learning_rate_at(p, config) for p in np.linspace(0, 1, 101)])


@pytest.mark.parametrize("decay", ["cosine", "linear", "inverse_sqrt", "none"])
def test_the_learning_rate_rises_to_its_peak_then_decays(decay):
    found = rates(decay=decay)
    np.testing.assert_allclose(found[:11], np.linspace(0.001, 0.01, 11))
    assert found.max() == pytest.approx(0.01)
    done = np.linspace(0, 1, 91)
    expected = {
        "cosine": 0.005 * (1 + np.cos(np.pi * done)),
        "linear": 0.01 * (1 - done),
        "inverse_sqrt": 0.01 * np.sqrt(0.1 / np.linspace(0.1, 1, 91)),
        "none": np.full(91, 0.01),
    }
    np.testing.assert_allclose(found[10:], expected[decay], atol=1e-15)


def test_without_warmup_it_begins_at_its_peak():
    assert learning_rate_at(0.0, TrainingConfig(warmup=0.0, learning_rate=0.5)) == 0.5
    with pytest.raises(ConveyorError, match=r"warmup=0\.03"):
        check_schedule(TrainingConfig(decay="inverse_sqrt", warmup=0.0), "train")


def test_every_limit_counts():
    config = TrainingConfig(epochs=None, steps=100, max_minutes=2.0)
    assert shares_done(config, steps=50, epochs=9.0, seconds=90.0) == {
        "steps": 0.5,
        "max_minutes": 0.75,
    }

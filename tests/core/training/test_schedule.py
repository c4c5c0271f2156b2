import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisae.config import TrainConfig
from omnisae.training.schedule import rate, steps


def _config(**fields):
    return TrainConfig.model_validate({"tokens": 1000, "batch": 10, "lr": 2.0, "warmup": 0.1, "decay": 0.2} | fields)


def test_it_rises_stays_and_falls():
    config = _config()
    assert [rate(step, config) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert {rate(step, config) for step in range(9, 81)} == {2.0}
    assert [rate(step, config) for step in (90, 99)] == pytest.approx([1.0, 0.1])


def test_the_last_batch_is_full():
    assert steps(_config(tokens=1001)) == 101


@given(tokens=st.integers(1, 5000), warmup=st.floats(0, 1), decay=st.floats(0, 1), batch=st.integers(1, 100))
def test_every_step_moves_and_none_exceeds_the_peak(tokens, warmup, decay, batch):
    config = _config(tokens=tokens, warmup=warmup, decay=decay, batch=batch)
    rates = [rate(step, config) for step in range(steps(config))]
    assert all(0 < value <= 2.0 for value in rates)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)

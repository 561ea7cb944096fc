"""Learning rates equal their closed form and torch's own scheduler."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.errors import InputError
from robustkit.training import learning_rate_at
from robustkit.training.schedules import usual_peak


def test_triangular_rises_to_two_fifths_and_falls_to_zero() -> None:
    rates = [learning_rate_at(step, 10, 0.2, "triangular", 0.4) for step in range(10)]
    rising, falling = [0.05, 0.1, 0.15, 0.2], [1 / 6, 4 / 30, 0.1, 2 / 30, 1 / 30, 0.0]
    assert rates == pytest.approx(rising + falling)


@pytest.mark.parametrize("steps", [10, 37, 200])
@pytest.mark.parametrize("peak_at", [0.25, 0.3, 0.5])
def test_one_cycle_is_that_of_torch(steps: int, peak_at: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.3, total_steps=steps, pct_start=peak_at, cycle_momentum=False
    )
    for step in range(steps):
        found = learning_rate_at(step, steps, 0.3, "one-cycle", peak_at)
        assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            scheduler.step()


@settings(deadline=None, max_examples=50)
@given(
    steps=st.integers(1, 50),
    peak_at=st.floats(0.05, 0.95),
    schedule=st.sampled_from(["one-cycle", "triangular"]),
)
def test_rates_stay_between_zero_and_the_peak(steps: int, peak_at: float, schedule: str) -> None:
    rates = [learning_rate_at(step, steps, 0.5, schedule, peak_at) for step in range(steps)]
    assert min(rates) >= 0
    assert max(rates) <= 0.5 * (1 + 1e-12)


def test_usual_peaks() -> None:
    assert (usual_peak("one-cycle"), usual_peak("triangular")) == (0.3, 0.4)
    with pytest.raises(InputError, match="Did you mean 'one-cycle'"):
        usual_peak("onecycle")


def test_positions_outside_the_training_are_refused() -> None:
    with pytest.raises(InputError, match=r"step must lie in \[0, 10\)"):
        learning_rate_at(10, 10, 0.1)
    with pytest.raises(InputError, match="peak_at must lie in"):
        learning_rate_at(0, 10, 0.1, peak_at=1.0)

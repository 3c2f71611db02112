"""The learning rate of every step, against torch's schedules and over epochs of different lengths."""

from dataclasses import replace

import pytest
import torch

from bss.config.decay import CosineDecay, StepDecay
from bss.config.training import SgdConfig, TrainConfig, with_epochs
from bss.training.learning_rate import learning_rate

SGD = SgdConfig("sgd", learning_rate=0.5)


def rates(decay, epochs, steps):
    """The rate of each step, with `steps` in each epoch, or as many as it says for each."""
    lengths = [steps] * epochs if isinstance(steps, int) else steps
    return [learning_rate(SGD, decay, epochs, e, step, n) for e, n in enumerate(lengths) for step in range(n)]


def test_the_learning_rate_falls_at_the_start_of_the_named_epochs():
    right = [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert rates(StepDecay(at=(2, 4), factor=0.1), 6, 1) == pytest.approx([0.5 * share for share in right])


@pytest.mark.parametrize(("warmup", "final"), [(2.0, 0.1), (0.5, 0.0)])
def test_warm_up_and_cosine_are_those_of_torch(warmup, final):
    epochs, steps = 6, 8
    warm = int(warmup * steps)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=SGD.learning_rate)
    schedules = torch.optim.lr_scheduler
    linear = schedules.LinearLR(optimiser, start_factor=1 / warm, total_iters=warm - 1)
    cosine = schedules.CosineAnnealingLR(optimiser, epochs * steps - warm, eta_min=final * SGD.learning_rate)
    both = schedules.SequentialLR(optimiser, [linear, cosine], [warm])
    right = []
    for _ in range(epochs * steps):
        right.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        both.step()
    assert rates(CosineDecay("cosine", warmup, final), epochs, steps) == pytest.approx(right, rel=1e-9, abs=1e-12)


def test_a_row_with_fewer_steps_has_the_same_rate_at_the_same_share_of_an_epoch():
    decay = CosineDecay("cosine", warmup_epochs=1)
    few, many = rates(decay, 3, (2, 4, 4)), rates(decay, 3, 8)
    assert (few[1], many[7]) == (0.5, 0.5)  # the last step of the warm-up
    assert few[2:6] == many[8:16:2]
    assert few[6:] == many[16::2]


def test_other_numbers_of_epochs_stretch_the_warm_up_too():
    train = TrainConfig(SGD, epochs=4, decay=CosineDecay("cosine", 1, 0.1))
    longer = with_epochs(train, 6)
    assert longer.decay == CosineDecay("cosine", 1.5, 0.1)
    assert rates(longer.decay, 6, 4) == pytest.approx(rates(train.decay, 4, 6))
    steps = with_epochs(replace(train, decay=StepDecay((2, 3), 0.1)), 8)
    assert steps.decay == StepDecay((4, 6), 0.1)

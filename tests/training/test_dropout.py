import numpy as np
import torch

from bss.training.dropout import with_dropout_of


def drawn(*arguments, **keywords):
    """What dropout draws in each of three steps."""
    return [torch.rand(4) for _ in with_dropout_of(range(3), *arguments, **keywords)]


def test_draws_are_decided_by_seed_purpose_epoch_step_and_rank_alone():
    torch.manual_seed(5)
    first = drawn(1, "training", 2)
    torch.rand(7)
    again = drawn(1, "training", 2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    others = [drawn(0, "training", 2), drawn(1, "measuring", 2), drawn(1, "training", 3), drawn(1, "training", 2, 1)]
    different = np.stack([torch.stack(draws).numpy() for draws in (first, *others)]).reshape(15, 4)
    assert len(np.unique(different, axis=0)) == 15


def test_a_step_draws_the_same_whatever_the_steps_before_have_drawn():
    draws = []
    for more in (0, 5):
        last = None
        for _ in with_dropout_of(range(3), 0, "training", 0):
            last = torch.rand(2)
            torch.rand(more)
        draws.append(last)
    assert torch.equal(*draws)


def test_the_state_outside_is_left_as_it_was():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    drawn(0, "training", 0)
    assert torch.equal(torch.get_rng_state(), before)

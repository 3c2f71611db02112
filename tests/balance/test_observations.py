import numpy as np
import torch

from bss.balance import observations
from bss.balance.observations import NEVER, Observations


def test_a_long_epoch_goes_into_the_table_part_by_part(monkeypatch):
    random = np.random.default_rng(0)
    batches = [(random.permutation(40)[:7], torch.from_numpy(random.random(7)), epoch) for epoch in (0, 0, 1, 1, 2)]
    tables = []
    for most in (1, 15, 10_000):
        monkeypatch.setattr(observations, "MOST_WAITING", most)
        table = Observations(40, ["training_loss"])
        for index, loss, epoch in batches:
            table.record(index, {"training_loss": loss}, epoch)
            assert table._count < most
        tables.append((table.values["training_loss"], table.epochs))
    expected, epochs = np.full(40, np.nan), np.full(40, NEVER)
    for index, loss, epoch in batches:
        expected[index], epochs[index] = loss.numpy(), epoch
    for values, found in tables:
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_array_equal(found, epochs)

"""The benchmark of measuring imbalance, on a small training."""

import pytest

from benchmarks import imbalance_cost


def test_it_counts_both_kinds_of_measurements(small_store, make_config, tree, monkeypatch):
    config = make_config(tree | {"evaluation": {"imbalance_every": 2}})
    monkeypatch.setattr(imbalance_cost, "digits_config", lambda *given: config)
    monkeypatch.setattr(imbalance_cost, "prepare_digits", lambda *given: small_store)
    whole, in_epochs, at_end = imbalance_cost.run(1, 2, "unused")
    assert (whole.at_most, whole.other) == (0.03, in_epochs.other)
    assert whole.ours[0] == pytest.approx(in_epochs.ours[0] + at_end.ours[0])
    assert min(*in_epochs.ours, *at_end.ours, *whole.other) > 0

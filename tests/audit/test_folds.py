"""Folds: components stay together, classes are spread, and nobody judges what it has seen or could not learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bss.audit.folds import ANY, assign_folds, connected, independent, judged_by
from bss.errors import BssError


def test_groups_and_duplicates_connect():
    groups = ["a", "b", "a", None, None, "c"]
    partners = np.array([-1, 3, -1, 1, -1, -1])
    # 0 and 2 share a group; 1 and 3 are duplicates; 4 and 5 are alone.
    assert connected(groups, partners).tolist() == [0, 1, 0, 1, 4, 5]


def test_a_chain_of_a_group_and_a_duplicate_is_one_component():
    assert connected(["a", "a", None], np.array([-1, 2, 1])).tolist() == [0, 0, 0]


def test_copies_that_join_all_groups_do_not_join_folds_but_stay_out_of_training():
    groups, partners = ["a", "a", "b", "b", "c", "c"], np.array([-1, 2, 1, 4, 3, -1])
    trained = np.ones(6, dtype=bool)
    assert independent(groups, partners, trained, 1).tolist() == [0] * 6
    components = independent(groups, partners, trained, 3)
    assert components.tolist() == [0, 0, 2, 2, 4, 4]
    copies = connected([None] * 6, partners)
    trains, predicts = judged_by(np.array([0, 0, 1, 1, 2, 2]), np.zeros(6, dtype=int), trained, copies, 1)
    assert predicts.tolist() == [2, 3]
    assert trains.tolist() == [0, 5]  # 1 is a copy of 2, and 4 of 3


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=30, max_size=60), st.integers(2, 4), st.integers(0, 3))
def test_a_component_is_in_one_fold_and_every_trained_sample_in_one(names, folds, seed):
    components = np.array(names + list(range(8)))  # so that there are enough
    labels = np.arange(len(components)) % 3
    trained = np.ones(len(components), dtype=bool)
    trained[:5] = False
    fold = assign_folds(labels, components, trained, folds, seed)
    assert set(fold[trained].tolist()) <= set(range(folds))
    for name in set(components[trained].tolist()):
        assert len(set(fold[components == name].tolist())) == 1
    assert np.array_equal(fold, assign_folds(labels, components, trained, folds, seed))


def test_a_sample_that_no_network_trains_on_is_in_the_fold_of_its_group_or_in_any():
    components = np.array([0, 0, 2, 3, 4, 5, 0, 9])
    trained = np.array([True] * 6 + [False] * 2)
    fold = assign_folds(np.array([0, 1, 0, 1, 0, 1, 0, 1]), components, trained, 2, 0)
    assert fold[6] == fold[0] == fold[1]
    assert fold[7] == ANY


def test_folds_without_groups_have_each_class_evenly():
    labels = np.repeat([0, 1], [40, 10])
    fold = assign_folds(labels, np.arange(50), np.ones(50, dtype=bool), 5, 1)
    assert [np.bincount(labels[fold == k]).tolist() for k in range(5)] == [[8, 2]] * 5


def test_too_few_groups_are_an_error():
    with pytest.raises(BssError, match=r"audit.folds: 5, but train and val are 3 independent parts"):
        assign_folds(np.zeros(9, dtype=int), np.repeat([0, 3, 6], 3), np.ones(9, dtype=bool), 5, 0)


def test_a_network_trains_on_the_other_folds_and_predicts_its_own_and_the_samples_of_none():
    fold = np.array([0, 0, 1, 1, 0, ANY])
    labels = np.array([0, 1, 0, 1, 2, 1])
    trained = np.array([True] * 5 + [False])
    trains, predicts = judged_by(fold, labels, trained, np.arange(6), 0)
    assert trains.tolist() == [2, 3]
    assert predicts.tolist() == [0, 1, 5]  # 4 has a class that network 0 has never seen
    trains, predicts = judged_by(fold, labels, trained, np.arange(6), 1)
    assert trains.tolist() == [0, 1, 4]
    assert predicts.tolist() == [2, 3, 5]

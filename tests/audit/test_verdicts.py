"""Verdicts: parts fitted apart, samples without a prediction, and the interval of a share."""

import numpy as np
import pytest
from scipy.stats import binomtest

from bss.audit.verdicts import _another_class, judge
from bss.balance import audit
from bss.balance.auditing import share


def predictions():
    n, classes, random = 400, 5, np.random.default_rng(0)
    labels = random.integers(0, classes, n)
    logits = {}
    for name in ("audio", "image"):
        values = random.normal(0, 1, (n, classes))
        values[np.arange(n), labels] += 4
        logits[name] = values.astype(np.float32)
    logits["audio"][:20] = np.roll(logits["audio"][:20], 1, axis=1)  # the sound of another class
    return logits, labels


def test_each_part_has_the_verdicts_of_an_audit_of_its_own():
    logits, labels = predictions()
    first = np.arange(400) < 250
    verdicts = judge(logits, labels, {}, [first, ~first])
    for part in (first, ~first):
        alone = audit({name: values[part] for name, values in logits.items()}, labels[part])
        np.testing.assert_array_equal(verdicts.posterior[part], alone.posterior)
        np.testing.assert_array_equal(verdicts.log_odds[part], alone.log_odds)
    assert verdicts.probability[:20].min() > 0.5
    best = verdicts.best()
    assert [(e.kind, e.modality) for e in best[:20]] == [("contradiction", "audio")] * 20


def test_samples_without_predictions_have_no_verdict_and_change_no_other():
    logits, labels = predictions()
    without = {name: values.copy() for name, values in logits.items()}
    for values in without.values():
        values[399] = np.nan
    verdicts = judge(without, labels, {}, [np.ones(400, dtype=bool)])
    assert verdicts.best()[399] is None
    assert np.isnan(verdicts.probability[399])
    assert verdicts.supported["audio"][399] == -1
    alone = audit({name: values[:399] for name, values in logits.items()}, labels[:399])
    np.testing.assert_array_equal(verdicts.posterior[:399], alone.posterior)


def test_confidence_is_the_calibrated_probability_of_the_supported_class():
    logits, labels = predictions()
    verdicts = judge(logits, labels, {}, [np.ones(400, dtype=bool)])
    scaled = np.exp(logits["image"].astype(float) / verdicts.temperatures[0]["image"])
    expected = scaled.max(axis=1) / scaled.sum(axis=1)
    np.testing.assert_allclose(verdicts.confidence["image"], expected, rtol=1e-5)
    np.testing.assert_array_equal(verdicts.supported["image"], logits["image"].argmax(axis=1))


@pytest.mark.parametrize(("count", "n"), [(0, 50), (3, 50), (50, 50), (250, 1000)])
def test_the_interval_is_wilsons(count, n):
    found = share(count, n)
    interval = binomtest(count, n).proportion_ci(0.95, "wilson")
    assert found["share"] == count / n
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_the_suggested_class_is_the_likeliest_but_the_label_by_hand():
    # Frequencies with one more of each class: (3 + 1, 2 + 1, 1 + 1) / 9.
    labels = np.array([0, 0, 0, 1, 1, 2])
    log_p = {name: np.log(np.full((6, 3), 1 / 3)) for name in ("audio", "image")}
    log_p["audio"][0], log_p["image"][0] = np.log([0.6, 0.3, 0.1]), np.log([0.5, 0.2, 0.3])
    classes, confidence = _another_class(log_p, labels)
    # Of class 1: .3 * .2 / (3 / 9) = .18; of class 2: .1 * .3 / (2 / 9) = .135.
    assert classes[0] == 1
    assert confidence[0] == pytest.approx(0.18 / (0.18 + 0.135))

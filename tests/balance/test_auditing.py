"""The audit against a brute-force posterior, on data drawn from its own model, and on what must not change it."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bss.balance import audit, auditing
from bss.balance.auditing import _Model


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def enumerated(p, y, frequency, shares, emptiness):
    """The posterior of one sample, summed over all that the modalities may show; `p` is [modalities, classes]."""
    modalities, classes = p.shape
    others = [c for c in range(classes) if c != y]
    weight = {c: frequency[c] / sum(frequency[k] for k in others) for c in others}
    joint = [0.0] * len(shares)
    empty = list(emptiness)
    for shown in product(range(classes), repeat=modalities):
        evidence = np.prod([p[m, c] / frequency[c] for m, c in enumerate(shown)])
        wrong = [m for m, c in enumerate(shown) if c != y]
        if not wrong:
            joint[0] += shares[0] * evidence
        if len(wrong) == 1:
            joint[1 + wrong[0]] += shares[1 + wrong[0]] * weight[shown[wrong[0]]] * evidence
        if len(set(shown)) == 1 and wrong:
            joint[1 + modalities] += shares[1 + modalities] * weight[shown[0]] * evidence
    for column, m in enumerate(empty, start=2 + modalities):
        q = emptiness[m]
        rest = np.prod([p[k, y] / frequency[y] for k in range(modalities) if k != m])
        alike = 1 / (1 + np.exp(9.21))  # the prior mean of the rate of inputs that look empty and are not
        joint[column] = shares[column] / ((1 - alike) * (1 - q) / q + alike) * rest
    return np.array(joint) / sum(joint)


@pytest.mark.parametrize("modalities", [2, 3])
def test_the_posterior_is_the_sum_over_all_that_the_modalities_may_show(modalities):
    rng = np.random.default_rng(0)
    n, classes = 40, 4
    z = rng.normal(0, 2, (modalities, n, classes))
    y = rng.integers(classes, size=n)
    q = rng.uniform(0.1, 0.9, n)
    names = [f"m{m}" for m in range(modalities)]
    model = _Model(names, ["m1"], np.bincount(y, minlength=classes), n)
    model.shares = torch.from_numpy(rng.normal(size=modalities + 3))
    model.temperatures = torch.from_numpy(rng.normal(0, 0.3, modalities))
    odds = torch.from_numpy(np.log(q / (1 - q)))[None]
    joint = model.joint(torch.from_numpy(z), torch.from_numpy(y), odds).softmax(dim=1).numpy()
    frequency = (np.bincount(y, minlength=classes) + 1) / (n + classes)
    blind = 1 / (1 + np.exp(6))  # the prior mean of the rate of blind errors
    p = (1 - blind) * softmax(z / np.exp(model.temperatures.numpy())[:, None, None]) + blind * frequency
    shares = softmax(model.shares.numpy())
    for row in range(n):
        expected = enumerated(p[:, row], y[row], frequency, shares, {1: q[row]})
        np.testing.assert_allclose(joint[row], expected, rtol=1e-9)


def test_two_samples_by_hand():
    # Two classes, frequencies 1/2, shares 0.9 clean, 0.05 for each modality, 0 labels, no temperature, no blind errors.
    # y = 0; p_a = (0.8, 0.2), p_b = (0.1, 0.9): clean 0.9 * 1.6 * 0.2 = 0.288, a wrong 0.05 * 0.4 * 0.2 = 0.004,
    # b wrong 0.05 * 1.8 * 1.6 = 0.144. So P(b is wrong) = 0.144 / 0.436.
    model = _Model(["a", "b"], [], np.array([1, 1]), 2)
    model.shares = torch.log(torch.tensor([0.9, 0.05, 0.05, 1e-300], dtype=torch.float64))
    model.blind = torch.full((2,), -torch.inf, dtype=torch.float64)
    logits = torch.log(torch.tensor([[[0.8, 0.2]], [[0.1, 0.9]]], dtype=torch.float64))
    posterior = model.joint(logits, torch.tensor([0]), torch.zeros(0, 1, dtype=torch.float64)).softmax(dim=1)
    np.testing.assert_allclose(posterior[0].numpy(), np.array([0.288, 0.004, 0.144, 0]) / 0.436, atol=1e-12)


def average_precision(suspicion, truth):
    truth = truth[np.argsort(-suspicion, kind="stable")]
    return (np.cumsum(truth) / np.arange(1, len(truth) + 1))[truth].mean()


def drawn(seed, n=4000, classes=6, contradiction=0.0, label=0.0, sure=3.0, overconfident=(1.0, 1.0, 1.0), modalities=2):
    """Predictions, calibrated but for `overconfident`, and planted faults: logits, labels, modality to blame, kinds."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    content = np.repeat(y[None], modalities, axis=0)
    kinds, blamed = np.full(n, "clean", dtype=object), np.full(n, None, dtype=object)
    faulty = rng.permutation(n)
    contradicting, mislabelled = np.split(faulty, [round(contradiction * n)])
    for i in contradicting:
        m = rng.integers(modalities)
        content[m, i] = (y[i] + rng.integers(1, classes)) % classes
        kinds[i], blamed[i] = "contradiction", f"m{m}"
    for i in mislabelled[: round(label * n)]:
        y[i] = (y[i] + rng.integers(1, classes)) % classes
        kinds[i] = "label"
    logits = {}
    for m in range(modalities):
        # A Gaussian around `sure` times the one-hot content, of variance `sure`: its softmax is the class posterior.
        z = rng.normal(0, np.sqrt(sure), (n, classes))
        z[np.arange(n), content[m]] += sure
        logits[f"m{m}"] = overconfident[m] * z
    return logits, y, blamed, kinds


@pytest.mark.slow
@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("kind", ["contradiction", "label"])
def test_kind_blame_share_and_probability_of_planted_faults(kind, share, modalities):
    logits, y, blamed, kinds = drawn(1, sure=9.0, modalities=modalities, **{kind: share})
    result = audit(logits, y)
    assert result.share_of(kind) == pytest.approx(share, rel=0.2, abs=0.008)
    found = result.probability > 0.5
    truth = kinds != "clean"
    assert (np.array(result.kinds())[found & truth] == kind).mean() > 0.98
    assert (np.array(result.blamed())[found & truth] == blamed[found & truth]).mean() > 0.98
    # It finds as many as one who knows shares and constants.
    model = _Model(list(logits), [], np.bincount(y), len(y))
    shares = np.array([1 - share, *[share * (kind == "contradiction") / modalities] * modalities, 0])
    shares[-1] = share * (kind == "label")
    model.shares = torch.log(torch.from_numpy(shares) + 1e-12)
    model.blind = torch.full((modalities,), -20.0, dtype=torch.float64)
    arrays = torch.from_numpy(np.stack(list(logits.values()))), torch.from_numpy(y)
    best = model.joint(*arrays, torch.zeros(0, len(y))).softmax(dim=1)[:, 0].numpy()
    assert average_precision(result.log_odds, truth) > average_precision(-best, truth) - 0.03
    assert found[~truth].mean() < (best < 0.5)[~truth].mean() + 0.01
    # Calibrated: of the samples in a tenth of the probabilities, about as many are faulty as it says.
    tenth = np.minimum((result.probability * 10).astype(int), 9)
    for k in np.unique(tenth):
        here = tenth == k
        error = abs(truth[here].mean() - result.probability[here].mean())
        assert error < 4 * np.sqrt(0.25 / here.sum()) + 0.01


def test_clean_predictions_flag_nothing_although_a_model_errs_and_is_sure_of_it():
    logits, y, _, _ = drawn(2, sure=3.0, overconfident=(1.0, 3.0))
    wrong = logits["m1"].argmax(axis=1) != y
    assert wrong.mean() > 0.1
    result = audit(logits, y)
    assert (result.probability > 0.5).mean() < 0.01
    assert result.temperatures["m0"] == pytest.approx(1, rel=0.1)
    assert result.temperatures["m1"] == pytest.approx(3, rel=0.1)


@pytest.mark.slow
def test_a_modality_near_chance_is_not_blamed():
    logits, y, _, _ = drawn(7, sure=9.0)
    logits["m1"] = np.random.default_rng(8).normal(size=logits["m1"].shape)
    result = audit(logits, y)
    assert "m1" not in result.blamed()
    assert (result.probability > 0.5).mean() < 0.01


def test_predictions_near_chance_have_finite_verdicts():
    random = np.random.default_rng(20)
    for scale in (0.001, 0.01, 0.1):
        labels = random.integers(0, 10, 180)
        near = {name: random.normal(size=(1, 10)) + scale * random.normal(size=(180, 10)) for name in "ab"}
        found = audit(near, labels)
        assert np.isfinite(found.probability).all()
        assert min(found.temperatures.values()) > 0.01


def test_emptiness_is_explained_by_the_input():
    logits, y, _, _ = drawn(3, sure=9.0)
    silent = np.zeros(len(y))
    silent[:200] = 1
    logits["m0"][:200] = logits["m0"][0]  # a network says one thing of all that is silent
    result = audit(logits, y, empty={"m0": silent})
    assert result.kinds()[:200] == ["empty"] * 200
    assert result.blamed()[:200] == ["m0"] * 200
    assert (result.probability[200:] > 0.5).mean() < 0.01
    assert result.share_of("empty") == pytest.approx(200 / len(y), rel=0.05)
    assert set(result.ranking()[:200]) == set(range(200))


def test_what_looks_empty_is_empty_as_far_as_its_predictions_are_at_chance():
    logits, y, _, _ = drawn(9, sure=9.0)
    looks = np.zeros(len(y))
    looks[:1200] = 0.9999
    alike = audit(logits, y, empty={"m0": looks})  # a network reads all of them as well as the others
    assert (alike.probability > 0.5).mean() < 0.01
    assert alike.share_of("empty") < 0.01
    logits["m0"][:400] = logits["m0"][0]  # a third of them carries nothing
    some = audit(logits, y, empty={"m0": looks})
    assert some.share_of("empty") == pytest.approx(0.1, rel=0.2)
    assert (some.probability_of("empty")[400:] > 0.5).mean() < 0.02


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000))
def test_the_order_of_samples_classes_and_modalities_is_of_no_matter(seed):
    logits, y, _, _ = drawn(seed, n=300, contradiction=0.1, label=0.1)
    rng = np.random.default_rng(seed)
    samples, classes = rng.permutation(300), rng.permutation(6)
    place = np.argsort(classes)
    moved = {name: logits[name][samples][:, classes] for name in ("m1", "m0")}
    one, other = audit(logits, y), audit(moved, place[y[samples]])
    np.testing.assert_allclose(one.probability[samples], other.probability, atol=1e-3)
    assert one.shares[[0, 2, 1, 3]] == pytest.approx(other.shares, abs=1e-3)
    assert (classes[other.supported["m0"]] == one.supported["m0"][samples]).all()


def test_probabilities_are_taken_as_logits_are():
    logits, y, _, _ = drawn(4, n=500, label=0.1)
    one = audit(logits, y)
    other = audit({name: softmax(z) for name, z in logits.items()}, y, probabilities=True)
    np.testing.assert_allclose(one.posterior, other.posterior, atol=1e-5)


def test_the_audit_has_the_same_bytes_with_any_number_of_threads_and_chunks(monkeypatch):
    logits, y, _, _ = drawn(5, n=1000, contradiction=0.1)
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(audit(logits, y).posterior.tobytes())
        assert torch.get_num_threads() == count
    torch.set_num_threads(threads)
    monkeypatch.setattr(auditing, "CHUNK", 7)
    results.append(audit(logits, y).posterior.tobytes())
    assert len(set(results)) == 1


def test_many_samples_are_fitted_by_some_of_them(monkeypatch):
    logits, y, _, _ = drawn(6, contradiction=0.1)
    monkeypatch.setattr(auditing, "FITTED", 2000)
    assert audit(logits, y).share_of("contradiction") == pytest.approx(0.1, rel=0.2)


PAIR = {"a": [[0.0, 2.0]] * 3, "b": [[2.0, 0.0]] * 3}
SUMS = [[0.2, 0.8], [0.99, 0.01005], [0.0, 1.0]]  # the second sums to 1.00005


@pytest.mark.parametrize(
    ("predictions", "labels", "options", "message"),
    [
        ({"a": PAIR["a"]}, [0, 1, 0], {}, r"two or more modalities, but got: \['a'\]"),
        (PAIR | {"b": [[1.0, 0.0]]}, [0, 1, 0], {}, r"of one shape.*\(3, 2\).*\(1, 2\)"),
        (PAIR | {"b": [[1.0, 0.0], [np.nan, 0], [0, 0]]}, [0, 1, 0], {}, "predictions of b must be finite.* in row 1"),
        (PAIR, [0, 1], {}, r"labels must be integers \[3\]"),
        (PAIR, [0.0, 1.0, 0.0], {}, r"labels must be integers \[3\].*float64"),
        (PAIR, [0, 2, 0], {}, r"labels must be in \[0, 2\), but got: 2 in row 1"),
        (PAIR | {"a": [[0.2, 0.2]] * 3}, [0, 1, 0], {"probabilities": True}, "probabilities of a must sum to 1.*row 0"),
        (PAIR, [0, 1, 0], {"empty": {"c": [0, 0, 0]}}, r"must name modalities .*'b'\]\), but got: 'c'"),
        (PAIR, [0, 1, 0], {"empty": {"a": [0, 0, 2]}}, r"`empty` of a must be probabilities \[3\]"),
        (np.zeros((3, 2)), [0, 1, 0], {}, "`predictions` must be a dict .* but got: ndarray"),
        (PAIR, [0, 1, 0], {"empty": [0, 0, 1]}, "`empty` must be a dict .* but got: list"),
        (PAIR | {"a": [[0.0, 2.0], [1.0]]}, [0, 1, 0], {}, "predictions of a must be an array of numbers.*list"),
        (PAIR | {"a": [["0", "2"]] * 3}, [0, 1, 0], {}, "predictions of a must be an array of numbers.*<U1"),
        (PAIR | {"a": None}, [0, 1, 0], {}, "predictions of a must be an array of numbers.*NoneType of object"),
        (PAIR, ["x", "y", "x"], {}, "labels must be an array of numbers"),
        (PAIR, [0, 1, 0], {"empty": {"a": ["no", "no", "yes"]}}, "`empty` of a must be an array of numbers"),
        ({"a": SUMS, "b": SUMS}, [0, 1, 0], {}, "must be logits, but .* every row sums to 1: pass probabilities=True"),
    ],
)
def test_wrong_input_is_refused(predictions, labels, options, message):
    with pytest.raises(ValueError, match=message):
        audit(predictions, labels, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_tensors_are_taken_without_their_gradients(dtype):
    logits = {name: torch.tensor(values, dtype=dtype, requires_grad=True) for name, values in PAIR.items()}
    empty = {"a": torch.tensor([0.25, 0.5, 0.0], dtype=dtype, requires_grad=True)}  # as exact in all of them as PAIR
    found = audit(logits, torch.tensor([0, 1, 0]), empty=empty)
    expected = audit(PAIR, [0, 1, 0], empty={"a": [0.25, 0.5, 0.0]})
    np.testing.assert_array_equal(found.posterior, expected.posterior)


@pytest.mark.parametrize("rows", [[[0.2, 0.8], [0.99, 0.0102]], [[0.2, 0.8], [1.1, -0.1]], [[0.2, 0.8]]])
def test_what_may_be_logits_is_taken_as_such(rows):
    """Rows that do not sum to 1, a negative value, and a single row."""
    audit({"a": rows, "b": rows}, [0, 1][: len(rows)])
    audit({"a": SUMS, "b": [[0.0, 2.0]] * 3}, [0, 1, 0])  # one modality alone

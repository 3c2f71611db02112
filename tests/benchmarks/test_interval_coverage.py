"""The simulated intervals are those of scipy, and the command writes its tables between the markers."""

import numpy as np
import pytest
from scipy import stats

from benchmarks import interval_coverage, resampled_intervals
from benchmarks.resampled_intervals import bca_interval, bootstrap_t_interval, percentile_interval
from bss.report.statistics import max_t_p

SAMPLES = np.random.default_rng(3).exponential(size=(4, 10))


@pytest.mark.parametrize(("ours", "method"), [(percentile_interval, "percentile"), (bca_interval, "BCa")])
def test_bootstrap_intervals_are_scipys(ours, method):
    low, high = ours(SAMPLES)
    for row, sample in enumerate(SAMPLES):
        found = stats.bootstrap((sample,), np.mean, method=method, n_resamples=20_000, random_state=0)
        expected = found.confidence_interval
        assert (low[row], high[row]) == pytest.approx((expected.low, expected.high), abs=0.08 * (high - low)[row])


@pytest.mark.slow
def test_bootstrap_t_by_a_plain_loop(monkeypatch):
    monkeypatch.setattr(resampled_intervals, "RESAMPLES", 20_000)  # its ends are noisy with fewer
    random = np.random.default_rng(7)
    low, high = bootstrap_t_interval(SAMPLES)
    for row, sample in enumerate(SAMPLES):
        picked = [random.choice(sample, 10) for _ in range(20_000)]
        t = [(p.mean() - sample.mean()) / (p.std(ddof=1) / 10**0.5) for p in picked]
        expected = sample.mean() - sample.std(ddof=1) / 10**0.5 * np.quantile(t, [0.975, 0.025])
        assert (low[row], high[row]) == pytest.approx(expected.tolist(), abs=0.1 * (high - low)[row])


def test_holm_by_hand():
    found = interval_coverage.holm(np.array([0.04, 0.01, 0.03, 0.9]))
    np.testing.assert_allclose(found, [0.09, 0.04, 0.09, 0.9])


def test_schedulers_that_share_a_baseline_differ_with_sd_one_and_correlation_a_half():
    differences = interval_coverage.families(4000, 6, [0.0, 2.0])
    np.testing.assert_allclose(differences.mean(axis=(0, 2)), [0, 2], atol=0.03)
    np.testing.assert_allclose(np.corrcoef(differences[:, 0].ravel(), differences[:, 1].ravel())[0, 1], 0.5, atol=0.03)
    np.testing.assert_allclose(differences.std(axis=(0, 2)), 1, atol=0.03)


def test_what_is_shown_is_the_verdict_of_the_comparison():
    differences = interval_coverage.families(40, 8, [1.5, 0.0, 0.0])
    found = interval_coverage.shown(differences, interval_coverage.RULES["max-t"])
    p = np.array([max_t_p(family, 1000) for family in differences])
    assert found.shape == (40, 3)
    assert 0 < found[:, 0].sum() < 40
    assert not found[p > 0.05].any()


def test_the_tables_are_written_between_the_markers(tmp_path, capsys, monkeypatch):
    page = tmp_path / "statistics.md"
    page.write_text(f"before\n{interval_coverage.BEGIN}\nold\n{interval_coverage.END}\nafter\n")
    monkeypatch.setattr(interval_coverage, "SEEDS", (6,))
    monkeypatch.setattr(interval_coverage, "FAMILY_SEEDS", (6,))
    monkeypatch.setattr(interval_coverage, "EFFECTS", (1.5,))
    interval_coverage.main(["--simulations", "60", "--record", "--page", str(page)])
    text, printed = page.read_text(), capsys.readouterr().out
    assert text == f"before\n{interval_coverage.BEGIN}\n{printed}{interval_coverage.END}\nafter\n"
    cells = [line.split(" | ") for line in printed.splitlines() if line.startswith("| normal")]
    covered = {(law, method): float(share.split()[0]) for law, method, share in cells}
    assert covered["| normal", "t"] > covered["| normal", "percentile bootstrap"]
    assert len(covered) == 4


def test_the_page_of_the_project_has_the_markers():
    text = interval_coverage.PAGE.read_text(encoding="utf-8")
    assert text.count(interval_coverage.BEGIN) == text.count(interval_coverage.END) == 1

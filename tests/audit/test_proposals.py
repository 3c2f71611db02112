"""What an audit proposes for a sample, by hand."""

import pytest

from bss.audit.proposals import decide


def row(name, split="train", duplicate_of=None, suggested="cat", sure=0.99, **explanations):
    """A row of the audit; `explanations` are probabilities, and what they leave of 1 is that of a clean sample."""
    columns = ("p_label", "p_contradiction_audio", "p_contradiction_image", "p_empty_audio")  # no picture looks empty
    own = {column: explanations.get(column.removeprefix("p_"), 0.0) for column in columns}
    return {
        **{"id": name, "split": split, "class": "owl", "duplicate_of": duplicate_of, "probability": sum(own.values())},
        **{"suggested": suggested, "suggested_confidence": None if suggested is None else sure, **own},
    }


@pytest.mark.parametrize(
    ("sample", "decided"),
    [
        (row("a", label=0.95), ("a", "relabel", "cat")),
        (row("a", label=0.95, sure=0.8), ("a", "drop", "")),  # what the label should be is unclear
        (row("a", label=0.596, contradiction_audio=0.383), ("a", "drop", "")),
        (row("a", contradiction_image=0.95), ("a", "ignore", "image")),
        (row("a", empty_audio=0.95), ("a", "ignore", "audio")),
        (row("a", contradiction_audio=0.5, empty_audio=0.45), ("a", "ignore", "audio")),
        (row("a", contradiction_audio=0.5, contradiction_image=0.45), ("a", "drop", "")),
        # Something is wrong with 0.91, and if so, it is this with 0.85 / 0.91 = 0.934.
        (row("a", contradiction_audio=0.85, contradiction_image=0.06), ("a", "ignore", "audio")),
        (row("a", label=0.85, contradiction_image=0.06), ("a", "relabel", "cat")),
        (row("a", label=0.81, contradiction_image=0.1), ("a", "drop", "")),  # 0.890
        (row("a", contradiction_audio=0.9), None),
        (row("a", split="test", label=0.99), None),
        (row("a") | dict.fromkeys(("probability", "p_label", "p_contradiction_audio"), None), None),  # no verdict
        (row("a", duplicate_of="x"), ("a", "drop", "")),  # x is of test, which is not audited
    ],
)
def test_what_is_decided(sample, decided):
    assert decide([sample], 0.9) == ([] if decided is None else [decided])


@pytest.mark.parametrize(
    ("sample", "decided"),
    [
        (row("a", label=0.45, contradiction_audio=0.4), ("a", "relabel", "cat")),  # the likeliest of two
        (row("a", label=0.4, contradiction_audio=0.45, suggested=None), ("a", "ignore", "audio")),
        # The kind is a contradiction, 0.5 together, so that the audit suggests no class.
        (row("a", label=0.4, contradiction_audio=0.25, contradiction_image=0.25, suggested=None), ("a", "drop", "")),
    ],
)
def test_below_a_half_the_likeliest_explanation_decides(sample, decided):
    assert decide([sample], 0.3) == [decided]


def dropped(rows, decided=None):
    return [name for name, kind, _ in decide(rows, 0.9, decided or {}) if kind == "drop"]


def test_one_of_two_copies_stays():
    rows = [row("a", duplicate_of="b"), row("b", duplicate_of="a")]
    assert decide(rows, 0.9) == [("b", "drop", "")]
    rows[1]["split"] = "val"
    assert decide(rows, 0.9) == [("a", "drop", "")]


def test_one_of_any_number_of_copies_stays_whichever_is_named_as_the_copy():
    rows = [row("z", duplicate_of="b"), row("a", duplicate_of="z"), row("b", duplicate_of="z"), row("c")]
    assert dropped(rows) == ["b", "z"]
    rows[0]["split"] = "val"
    assert dropped(rows) == ["a", "b"]
    rows[2]["split"] = "test"
    assert dropped(rows) == ["a", "z"]
    rows[1]["split"] = "test"
    assert dropped(rows) == ["z"]  # both of test stay
    # In a chain the copies of one that was not audited are copies of each other.
    assert dropped([row("a", duplicate_of="x"), row("b", duplicate_of="x")]) == ["a", "b"]
    assert dropped([row("a", duplicate_of="x"), row("b", duplicate_of="x")], {"x": "drop"}) == ["b"]


def test_what_is_already_dropped_is_no_copy():
    pair = [row("a", duplicate_of="b"), row("b", duplicate_of="a")]
    assert decide(pair, 0.9, {"a": "drop"}) == []
    three = [row("z", duplicate_of="a"), row("a", duplicate_of="z"), row("b", duplicate_of="a")]
    assert dropped(three, {"a": "drop"}) == ["z"]


@pytest.mark.parametrize("kind", ["keep", "relabel", "ignore"])
def test_a_copy_that_a_decision_leaves_in_is_the_one_that_stays(kind):
    pair = [row("a", duplicate_of="b"), row("b", duplicate_of="a")]
    assert decide(pair, 0.9, {"b": kind}) == [("a", "drop", "")]
    assert decide(pair, 0.9, {"a": kind, "b": "keep"}) == []


def test_a_copy_that_is_wrong_gives_way_and_the_one_that_stays_is_cured():
    wrong = {"label": 0.5, "contradiction_audio": 0.48}
    assert dropped([row("a", duplicate_of="b", **wrong), row("b", duplicate_of="a")]) == ["a"]
    assert dropped([row("a", duplicate_of="b", **wrong), row("b", duplicate_of="a", **wrong)]) == ["a", "b"]
    both = [row("a", duplicate_of="b", label=0.95), row("b", duplicate_of="a", empty_audio=0.95)]
    assert decide(both, 0.9) == [("a", "relabel", "cat"), ("b", "drop", "")]

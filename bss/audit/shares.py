"""How common each kind of fault is: among all samples, in each group and in each class."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bss.balance.auditing import share

Columns = Mapping[str, Sequence[Any]]
Shares = dict[str, dict[str, Any]]
"""Per kind: share, low, high (95 %), number n of samples considered, and how many of them are likely of that kind."""
MOST_LISTED = 10
"""Groups or classes in the terminal."""


def shares_of(columns: Columns, explanations: Mapping[str, Sequence[str]], rows: Iterable[int]) -> Shares:
    """Return the share of each kind among the samples at `rows` of the table `columns`.

    `explanations` maps each kind to its columns of probabilities. The share is their mean over the samples with a
    verdict; of duplicates, which have no probability, the number of copies over all samples.
    """
    rows = list(rows)
    judged = [i for i in rows if columns["probability"][i] is not None]
    likely = Counter(columns["kind"][i] for i in judged if columns["probability"][i] > 0.5)
    found: Shares = {}
    for kind, names in explanations.items():
        expected = sum(columns[name][i] for name in names for i in judged)
        if judged:
            found[kind] = {**share(expected, len(judged)), "n": len(judged), "likely": likely[kind]}
    copies = sum(columns["duplicate_of"][i] is not None for i in rows)
    found["duplicate"] = {**share(copies, len(rows)), "n": len(rows), "likely": copies}
    return found


def shares_by(
    key: str, columns: Columns, explanations: Mapping[str, Sequence[str]], whole: Shares
) -> dict[str, Shares]:
    """Return the shares of the faults for each value of the column `key`, such as each group, sorted.

    `elsewhere` is the share among the other samples of `whole`, `elsewhere_high` the upper end of its interval; both
    are None if there are no others.
    """
    members: dict[str, list[int]] = {}
    for i, value in enumerate(columns[key]):
        if value is not None:
            members.setdefault(value, []).append(i)
    found = {value: shares_of(columns, explanations, members[value]) for value in sorted(members)}
    for of_value in found.values():
        of_value.pop("clean", None)
        for kind, own in of_value.items():
            others = whole[kind]["n"] - own["n"]
            total = whole[kind]["share"] * whole[kind]["n"] - own["share"] * own["n"]
            rest = share(min(max(total, 0.0), others), others) if others else {"share": None, "high": None}
            own |= {"elsewhere": rest["share"], "elsewhere_high": rest["high"]}
    return found


def ranked(shares: Mapping[str, Shares]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return value, kind and share of each that some sample is likely of, the clearest above the others first."""
    found = [(value, kind, own) for value, kinds in shares.items() for kind, own in kinds.items() if own["likely"]]
    return sorted(found, key=lambda entry: (entry[2]["elsewhere"] or 0.0) - entry[2]["low"])


def stands_out(own: Mapping[str, Any]) -> bool:
    """Return whether the interval of a share is above that of the share elsewhere."""
    return own["elsewhere_high"] is not None and bool(own["low"] > own["elsewhere_high"])

"""The command `bss inspect`."""

from pathlib import Path

from bss.console import counts_table, make_console, make_table
from bss.data.store import SPLITS, Store
from bss.files import whole_file
from bss.inspect.contact_sheet import contact_sheet
from bss.inspect.summary import MODALITY_COLUMNS, Summary, summarise_store


def inspect(path: Path, output: Path) -> None:
    """Print an overview of the store at `path` and write it as one self-contained HTML page.

    Raises `BssError` if the store is missing or damaged.
    """
    store = Store.open(path)
    summary = summarise_store(store)
    page = render(store, summary)
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(output) as file:
        file.write_text(page, encoding="utf-8")
    console = make_console()
    console.print(
        make_table(["modality", *MODALITY_COLUMNS], [[name, *row] for name, row in summary.modalities.items()])
    )
    console.print(counts_table(summary.classes))
    if summary.groups:
        rows = [[split, of.groups, of.largest, of.without] for split, of in summary.groups.items()]
        console.print(make_table(["split", "groups", "largest", "without a group"], rows))
    if summary.shared_groups:
        console.print(f"Caution: {len(summary.shared_groups)} groups are in two splits.")
    for line in (*summary.altered, *summary.cut):
        console.print(f"Caution: {line}.", highlight=False, markup=False, soft_wrap=True)
    if summary.skipped:
        console.print(f"Note: samples skipped: {summary.skipped}, listed in {path / 'skipped.csv'}", markup=False)
    console.print(f"Page: {output}", markup=False)


def render(store: Store, summary: Summary) -> str:
    """Return the page: counts, shapes, groups, and a contact sheet."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    loader = ChoiceLoader([PackageLoader("bss.inspect", "."), PackageLoader("bss.report", ".")])
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True)
    return environment.get_template("page.html").render(
        name=store.name,
        samples=len(store),
        classes=len(store.classes),
        digest=store.digest,
        splits=SPLITS,
        summary=summary,
        modality_columns=MODALITY_COLUMNS,
        cards=contact_sheet(store),
    )

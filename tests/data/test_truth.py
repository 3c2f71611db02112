import pytest
from refused import refused

from bss.data.truth import read_truth
from bss.errors import BssError


def read(tmp_path, text, encoding="utf-8"):
    (tmp_path / "truth.csv").write_bytes(text.encode(encoding))
    return read_truth(tmp_path / "truth.csv", ["b", "a"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rows_come_in_the_order_of_the_ids(tmp_path, encoding):
    truth = read(tmp_path, "id,kind,note\r\na,clean,\r\nb,noisy,x\r\nc,clean,\r\n", encoding)
    assert truth == {"id": ["b", "a"], "kind": ["noisy", "clean"], "note": ["x", ""]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("id,sort\na,clean\n", "needs the columns id and kind, has ['id', 'sort']"),
        ("id,kind\na,clean,x\nb,noisy\n", "row 2: 3 values for 2 columns"),
        ("id,kind\na,clean\nb\n", "row 3: 1 values for 2 columns"),
        ("id,kind\na,clean\na,noisy\nb,clean\n", "row 3: id 'a' is not unique"),
        ("id,kind\na,\nb,clean\n", "row 2: kind is empty"),
        ("id,kind\na,clean\n", "has no row for 1 samples, such as ['b']"),
    ],
)
def test_a_bad_truth_file_names_row_and_fix(tmp_path, text, message):
    said = refused(read, tmp_path, text)
    assert message in said
    assert "truth.csv" in said


def test_a_truth_file_that_is_not_utf8(tmp_path):
    with pytest.raises(BssError, match="UTF-8"):
        read(tmp_path, "id,kind\na,bäd\nb,clean\n", encoding="latin-1")

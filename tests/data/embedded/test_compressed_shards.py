"""Shards compressed with gzip or Zstandard: the same store as plain ones, and what is wrong with damaged ones."""

import gzip

import pyarrow as pa
import pytest
from embedded_data import make_parameters, members, prepared, write_shard
from refused import refused

from bss.data.embedded import unpacked
from bss.data.store import Store
from bss.stages.prepare import prepare


@pytest.fixture
def data(tmp_path):
    """Four shards of four samples."""
    (tmp_path / "data").mkdir()
    for number in range(4):
        write_shard(tmp_path / "data" / f"{number}.tar", members(range(4 * number, 4 * number + 4)))
    return tmp_path / "data"


def zstd(content: bytes) -> bytes:
    """Return two frames, as `cat a.zst b.zst` would write."""
    half = len(content) // 2
    return b"".join(pa.compress(part, codec="zstd", asbytes=True) for part in (content[:half], content[half:]))


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "pack"), [("tar.gz", gzip.compress), ("tgz", gzip.compress), ("tar.zst", zstd)])
def test_compressed_shards_give_the_store_of_plain_ones(suffix, pack, data, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacked, "KEPT", 1)  # every shard is unpacked again
    expected = prepared(data, "*.tar", tmp_path / "plain")
    for number in range(4):
        content = (data / f"{number}.tar").read_bytes()
        (data / f"{number}.{suffix}").write_bytes(pack(content))
    (data / "3.tar").rename(data / "kept.tar")
    store = prepared(data, f"{{0..3}}.{suffix}", tmp_path / "store")
    assert store.ids.tolist() == expected.ids.tolist()
    for name in ("audio.npy", "image.npy"):
        assert (store.path / name).read_bytes() == (expected.path / name).read_bytes()
    mixed = prepared(data, f"{{0.{suffix},1.tar,2.{suffix},kept.tar}}", tmp_path / "mixed")
    assert mixed.ids.tolist() == expected.ids.tolist()


def test_a_compressed_shard_that_is_cut_off_names_the_last_whole_key(data, tmp_path):
    content = (data / "3.tar").read_bytes()
    end = content.index(b"s14.wav") + 600  # within the sound of the third sample
    packed = gzip.compress(content[:end])
    (data / "3.tgz").write_bytes(packed[:-8])  # without its checksum, as a download that stopped
    config = make_parameters(data, "{0.tar,1.tar,2.tar,3.tgz}", on_bad_sample="skip")
    place = "row 3 of 3.tgz (key 's14'): "
    message = (
        f"{place}the shard is cut off in or after this sample: its compressed data end too early, and the last whole "
        "key is 's13'; fetch it again"
    )
    prepare(config, data, tmp_path / "store")
    assert Store.open(tmp_path / "store").ids.tolist() == [f"s{i:02}" for i in range(14)]
    assert message in (tmp_path / "store" / "skipped.csv").read_text()
    strict = make_parameters(data, "{0.tar,1.tar,2.tar,3.tgz}")
    assert refused(prepare, strict, data, tmp_path / "other").splitlines()[1] == f"  {message}"
    (data / "3.tgz").write_bytes(packed[:40])
    assert refused(prepare, config, data, tmp_path / "other") == (
        f"{data}/3.tgz: not a readable shard (unpacked it is not a tar file, or it is cut off in its first sample)."
    )
    whole = zstd(content)
    (data / "3.tar.zst").write_bytes(whole[:-3])
    message = refused(prepare, make_parameters(data, "3.tar.zst"), data, tmp_path / "other")
    assert "its compressed data end too early, and the last whole key is 's1" in message


def test_damaged_data_and_other_compressions_are_refused(data, tmp_path):
    def refusal(manifest):
        return refused(prepare, make_parameters(data, manifest), data, tmp_path / "other").replace(f"{data}/", "")

    packed = bytearray(gzip.compress((data / "0.tar").read_bytes()))
    packed[-6] ^= 1  # of the checksum
    (data / "0.tgz").write_bytes(packed)
    assert refusal("0.tgz").startswith("0.tgz: not a readable shard (CRC check failed ")
    (data / "1.tar.gz").write_bytes((data / "1.tar").read_bytes())
    assert refusal("1.tar.gz").startswith("1.tar.gz: not a readable shard (it holds a tar archive")
    (data / "1.tar.zst").write_bytes(b"<html>not found</html>")
    assert refusal("1.tar.zst").startswith("1.tar.zst: not a readable shard (it holds an HTML page")
    (data / "2.tar.xz").touch()
    assert refusal("*.xz") == (
        "2.tar.xz: shards are .tar, .tar.gz, .tgz, .tar.zst. Unpack it, and pack it as one of these."
    )

"""What contents are, by their first bytes where the model is installed, and without it by what is said of them."""

import builtins
import sys

import pytest
import trio

from stratum.core.encryption import SSE_S3, SealSpec
from stratum.core.objects import PutSpec
from stratum.engine import classes as module
from stratum.engine.classes import magika_model
from tests.engine.conftest import body_of
from tests.engine.deciding import deciding_engine

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"1 0 obj\n<< /Type /Catalog >>\nendobj\n" * 60
PYTHON = b"import os\n\n\ndef main():\n    print(os.getcwd())\n\n\n" * 40


async def put(store, key, content, **spec):
    await store.engine.objects.put("bucket", key, body_of(content), PutSpec(**spec))


async def until_classified(store, count=1):
    classes = store.engine.patterns.classes
    with trio.fail_after(30):
        while classes.classified < count and classes.model != "none":
            await trio.sleep(0.01)


async def type_of(store, key):
    return store.engine.tiering.classify(await store.engine.objects.head("bucket", key))


@pytest.mark.slow
async def test_the_real_model_sees_what_no_name_tells_and_the_group_is_that_of_its_type(tmp_path):
    async with deciding_engine(tmp_path) as store:
        store.engine.patterns.classes.delay = 0.0
        await put(store, b"scans/0001", PDF)
        await put(store, b"scans/tool.bin", PYTHON, headers={"content-type": "binary/octet-stream"})
        await put(store, b"scans/random.dat", bytes(range(256)) * 40)
        await put(store, b"scans/known.pdf", PDF, headers={"content-type": "application/pdf"})
        await until_classified(store, 4)
        assert await type_of(store, b"scans/0001") == "application/pdf"
        assert await type_of(store, b"scans/tool.bin") == "text/x-python"
        assert await type_of(store, b"scans/known.pdf") == "application/pdf"
        assert await type_of(store, b"scans/random.dat") == ".dat", "not sure: what the name says"
        assert store.engine.patterns.classes.model == "magika"
        await put(store, b"large/film", PDF * 800)
        await until_classified(store, 5)
        await store.days(1)
        groups = {(each.prefix, each.type) for each in store.engine.tiering.rows.groups.values()}
        assert ("large", "application/pdf") in groups


async def test_without_the_model_the_type_is_what_is_said_and_nothing_waits(tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest):
        if name == "magika":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.delitem(sys.modules, "magika", raising=False)
    assert magika_model() is None
    async with deciding_engine(tmp_path) as store:
        store.engine.patterns.classes.delay = 0.0
        await put(store, b"scans/0001", PDF)
        await put(store, b"scans/a.PDF", PDF)
        await until_classified(store)
        assert [await type_of(store, key) for key in (b"scans/0001", b"scans/a.PDF")] == ["(none)", ".pdf"]
        await put(store, b"scans/later", PDF)
        assert not store.engine.patterns.classes._waiting


async def test_a_slow_model_holds_no_write_up_and_too_many_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "QUEUE", 3)
    async with deciding_engine(tmp_path) as store:
        classes = store.engine.patterns.classes
        classes.delay = 1e6
        for number in range(8):
            await put(store, b"%d" % number, PDF)
        assert len(classes._waiting) == 3 and classes.left_out == 5


async def test_encrypted_contents_are_not_looked_at_and_rows_go_with_their_content(tmp_path):
    async with deciding_engine(tmp_path) as store:
        classes = store.engine.patterns.classes
        classes.delay, classes._load = 0.0, lambda: lambda head: "application/x-" + str(head[:3], "ascii")
        await put(store, b"secret", b"abc" * 2000, seal=SealSpec(scheme=SSE_S3))
        await put(store, b"plain", b"xyz" * 2000)
        await put(store, b"inline", b"uvw" * 20)
        await until_classified(store, 2)
        assert [await type_of(store, key) for key in (b"secret", b"plain", b"inline")] == [
            "(none)",
            "application/x-xyz",
            "application/x-uvw",
        ]
        await store.engine.objects.delete("bucket", b"plain")
        await classes.forget_gone()
        assert len(store.engine.meta.read(lambda txn: list(txn.scan(b"C", b"D")))) == 1

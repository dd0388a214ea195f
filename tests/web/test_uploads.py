"""Forms, read as they come: compared with Starlette's own parser."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser

from coloria.web.errors import RefusedError
from coloria.web.settings import Settings
from coloria.web.uploads import receive

names = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20
)
contents = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([b"\r\n--B", b"--B--\r\n", b"\r\n", b"\r", b"-" * 70]),
)


async def pieces(data, length):
    for start in range(0, len(data), length):
        yield data[start : start + length]


def by_starlette(headers, data):
    async def parse():
        form = await MultiPartParser(headers, pieces(data, 64)).parse()
        files = [(u.filename, await u.read()) for u in form.getlist("files")]
        await form.close()
        return files, form["model"]

    return asyncio.run(parse())


def by_us(headers, data, folder, length, **limits):
    body = pieces(data, length)
    form = asyncio.run(receive(headers, body, Path(folder), Settings(**limits)))
    return [(sent.name, sent.path.read_bytes()) for sent in form.files], form.fields["model"]


def encoded(files, model="artistic"):
    sent = [("files", (name, content)) for name, content in files]
    request = httpx.Request("POST", "http://x/", data={"model": model}, files=sent)
    return Headers(dict(request.headers)), request.read()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(names, contents), min_size=1, max_size=5), st.integers(1, 90))
def test_every_form_is_read_whatever_way_it_is_cut(files, length):
    headers, data = encoded(files)
    with TemporaryDirectory() as folder:
        found, model = by_us(headers, data, folder, length)
    wanted, same = by_starlette(headers, data)
    assert [content for _, content in found] == [content for _, content in wanted]
    assert model == same == "artistic"


def test_limits_hold_for_each_file(tmp_path):
    headers, data = encoded([("a", b"x" * 1000), ("b", b"x" * 1000)])
    found, _ = by_us(headers, data, tmp_path, 100, max_mb=0.001)
    assert [len(content) for _, content in found] == [1000, 1000]
    headers, data = encoded([("a", b"x" * 1000), ("b", b"x" * 1001)])
    (tmp_path / "2").mkdir()
    with pytest.raises(RefusedError, match=r"0\.001 MB") as refused:
        by_us(headers, data, tmp_path / "2", 100, max_mb=0.001)
    assert refused.value.problem.file == "b"
    assert (tmp_path / "2" / "1.upload").stat().st_size <= 1000


def test_an_upload_that_does_not_come_to_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr("coloria.web.uploads.UPLOAD_S", 0.05)
    headers, data = encoded([("a", b"x")])

    async def slow():
        yield data[:20]
        await asyncio.sleep(30)

    with pytest.raises(RefusedError) as refused:
        asyncio.run(receive(headers, slow(), tmp_path, Settings()))
    assert refused.value.status == 408

"""File names of visitors, and who counts as one of them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloria.web.errors import RefusedError
from coloria.web.limits import Rate, client_of
from coloria.web.names import LONGEST, clean, unique


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("photo.jpg", "photo.jpg"),
        ("a\x00b\x07\r\nc\x7f.jpg", "abc.jpg"),
        ("C:\\Users\\me\\scan 1.tif", "scan 1.tif"),
        ("\u202egpj.exe", "gpj.exe"),  # right-to-left override
        ("e\u0301te\u0301.png", "\u00e9t\u00e9.png"),  # composed, as Unicode's NFC has it
        (" . ", "picture"),
        ("", "picture"),
        ("....//....//x", "x"),
        ("x" * 300, "x" * LONGEST),
        ("x" * 300 + ".tiff", "x" * (LONGEST - 5) + ".tiff"),
    ],
)
def test_clean(sent, shown):
    assert clean(sent) == shown


@given(st.text())
def test_a_clean_name_is_never_a_path_and_stays_as_it_is(name):
    found = clean(name)
    assert 0 < len(found) <= LONGEST
    assert found not in (".", "..")
    assert not set(found) & set("/\\\0\r\n")
    assert clean(found) == found


@given(st.lists(st.sampled_from(["a.jpg", "A.jpg", "a-2.jpg", "b", "b-2", ".x"])))
def test_unique_names_are_as_many_and_differ_on_every_system(names):
    found = unique(names)
    assert len({name.casefold() for name in found}) == len(names)
    if len({name.casefold() for name in names}) == len(names):
        assert found == names


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_who_is_one_client(host, client):
    assert client_of(host) == client


def test_a_rate_lets_so_many_through_and_recovers(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(3)
    for _ in range(3):
        rate.take("a")
    with pytest.raises(RefusedError) as refused:
        rate.take("a")
    assert refused.value.headers == {"Retry-After": "20"}
    rate.take("b")  # others are not held up
    now += 20.1
    rate.take("a")
    with pytest.raises(RefusedError):
        rate.take("a")
    now += 3600
    for _ in range(3):  # and no more are saved up
        rate.take("a")
    with pytest.raises(RefusedError):
        rate.take("a")

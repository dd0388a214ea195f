"""The table of published files, held against what its own facts imply."""

import re
from urllib.parse import urlsplit

import pytest

from coloria.errors import UnknownNameError
from coloria.released import RELEASED, generators, names, released


def test_names_and_files_are_unique():
    assert len(set(names())) == len(RELEASED)
    assert len({entry.file for entry in RELEASED}) == len(RELEASED)


@pytest.mark.parametrize("entry", RELEASED, ids=names())
def test_every_entry_is_complete(entry):
    assert entry.urls
    assert entry.license
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.project)
    assert re.fullmatch(r"[\w.-]+", entry.file), "it must be a bare file name"
    assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.bytes is None or entry.bytes > 1_000_000


@pytest.mark.parametrize("entry", RELEASED, ids=names())
def test_addresses_lead_to_that_file(entry):
    for url in entry.urls:
        parts = urlsplit(url)
        assert parts.scheme == "https"
        if parts.hostname == "drive.google.com":  # Drive has ids instead of names
            assert re.search(r"[?&]id=[\w-]{33}$", url)
        else:
            assert parts.path.rsplit("/", 1)[1] == entry.file
        if parts.hostname == "www.dropbox.com":
            assert parts.query == "dl=1", "dl=0 serves a page"


def test_hub_file_names_carry_the_start_of_the_hash():
    """torch.hub's convention, under which the authors named these files."""
    for name in ("eccv16", "siggraph17"):
        entry = released(name)
        assert re.search(r"-([0-9a-f]{8})\.pth$", entry.file)[1] == entry.sha256[:8]


def test_deoldify_files_are_as_large_as_their_tensors_say():
    """float32 parameters and buffers of the two networks, plus keys and optimiser groups."""
    for name, tensors in {"artistic": 255_070_532, "stable": 873_920_916}.items():
        assert 0 < released(name).bytes - tensors < 200_000
    assert released("video").bytes == released("stable").bytes


def test_generators_of_a_model_come_with_the_usual_one_first():
    assert [e.name for e in generators("stable")] == ["stable", "video"]
    assert [e.name for e in generators("artistic")] == ["artistic"]
    assert generators("zhang") == ()
    for entry in RELEASED:
        assert generators(entry.model)[0].name == entry.model


def test_companions_exist_and_belong_to_the_same_model():
    for entry in RELEASED:
        if entry.companion:
            assert released(entry.companion).model == entry.model


def test_unknown_name_tells_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'artistic'"):
        released("artistix")

"""The folder of uploads: private, bounded, and clean after a crash."""

import pytest

from coloria.errors import OptionError
from coloria.web.errors import RefusedError
from coloria.web.store import Store, new_id


def test_it_is_private_and_removed(tmp_path):
    store = Store(str(tmp_path / "web"), 1000)
    folder = store.make("job", 10)
    for path in (tmp_path / "web", store.run, folder):
        assert path.stat().st_mode & 0o777 == 0o700
    (folder / "file").write_bytes(b"x")
    store.remove("job")
    assert not folder.exists()
    store.close()
    assert list((tmp_path / "web").iterdir()) == []


def test_what_a_crashed_server_left_is_deleted_and_a_running_one_is_not(tmp_path):
    crashed, running = Store(str(tmp_path), 1000), Store(str(tmp_path), 1000)
    (crashed.make("job", 1) / "file").write_bytes(b"x")
    running.make("job", 1)
    crashed._lock.release()  # as the system does when a process ends
    (tmp_path / "run-0000").mkdir()  # of one that died before
    (tmp_path / "holiday").mkdir()  # not ours
    new = Store(str(tmp_path), 1000)
    there = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert there == {running.run.name, new.run.name, "holiday"}
    assert (running.run / "job").is_dir()
    new.close()
    running.close()


def test_there_is_a_limit(tmp_path):
    store = Store(str(tmp_path), 100)
    store.make("a", 60)
    with pytest.raises(RefusedError, match="no room"):
        store.make("b", 41)
    assert not (store.run / "b").exists()
    store.make("b", 40)
    store.reserve("a", 10)
    with pytest.raises(RefusedError):
        store.reserve("b", 91)
    assert store.used == {"a": 10, "b": 40}
    store.remove("b")
    assert store.bytes == 10
    store.close()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="--folder"):
        Store(str(tmp_path / "file"), 1000)


def test_ids_are_random_and_plain():
    found = {new_id() for _ in range(1000)}
    assert len(found) == 1000
    assert all(len(one) == 22 and one.replace("-", "").replace("_", "").isalnum() for one in found)

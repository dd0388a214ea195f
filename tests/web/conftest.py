"""One server with one worker, started once for all tests that share it."""

import pytest
from webtools import finished, photo, send, serving


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A server that can be asked a lot."""
    folder = tmp_path_factory.mktemp("site")
    with serving(
        folder=str(folder), per_minute=100_000, per_client=1000, queue=1000, contact="a@example.org"
    ) as (server, client):
        yield server, client


@pytest.fixture
def client(site):
    """Asks that server."""
    return site[1]


@pytest.fixture
def desk(site):
    """Its desk."""
    return site[0].app.state.desk


@pytest.fixture(scope="session")
def job(site):
    """A picture that has been coloured there."""
    response = send(site[1], ("photo.jpg", photo()))
    assert response.status_code == 202, response.text
    return finished(site[1], response.json())


@pytest.fixture
def drawing(desk, monkeypatch, bigcolor_weights):
    """Offers of weights that nobody trained: `bigcolor` knows no classes, `bigcolorx` the 1000."""
    from coloria.models import registry
    from coloria.web.offers import _offer

    for name, label, known in (("bigcolor", "own", False), ("bigcolorx", "pre-trained", True)):
        words = (name, label, str(bigcolor_weights[known]), "none")
        offer = _offer(registry.get("bigcolor"), *words)
        monkeypatch.setitem(desk.facts.offers, name, offer)
    return desk.facts.offers

"""The OpenAPI document against the server: Schemathesis asks for everything that it allows, and
for much that it does not.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from webtools import finished, photo, send, until

EXAMPLES = 15
"""Requests of a kind for each route."""

ROUTES = (
    ("POST", "upload"),
    ("GET", "jobs/{job}"),
    ("DELETE", "jobs/{job}"),
    ("GET", "download/{job}.zip"),
    ("GET", "download/{job}/{index}/{name}"),
    ("GET", "view/{job}/{index}/{name}"),
    ("POST", "test"),
    ("GET", "health"),
    ("GET", "models"),
)

ANYTHING_GOES = ("jobs/{job}", "test", "health", "models")
"""Their parameters, if any, cannot be of a wrong kind."""


@pytest.fixture(scope="session")
def described(site):
    """The document, of a server that is ready; the stream of events is left out."""
    client = site[1]
    until(lambda: client.get("/health").status_code == 200)
    document = schemathesis.openapi.from_url(f"{client.base_url}/api/v1/openapi.json")
    return document.exclude(path_regex="/events$")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        (*route, mode)
        for route in ROUTES
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or route[1] not in ANYTHING_GOES
    ],
)
def test_nothing_undeclared_happens(described, client, method, path, mode):
    operation = described[f"/api/v1/{path}"][method]
    # Bytes drawn at random are no picture, so a well-formed upload is refused all the same.
    upload = path == "upload"
    left_out = [c for c in CHECKS.get_all() if upload and c.__name__ == "positive_data_acceptance"]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        case.call_and_validate(base_url=str(client.base_url), excluded_checks=left_out)

    ask()


def test_every_route_is_asked(described):
    found = [
        (result.ok().method.upper(), result.ok().path) for result in described.get_all_operations()
    ]
    assert sorted(found) == sorted((method, f"/api/v1/{path}") for method, path in ROUTES)


def test_what_it_says_of_a_job_is_so(described, client):
    """The same checks on the answers of an upload that is one."""
    view = send(client, ("a.jpg", photo()), base="/api/v1").json()
    finished(client, view)
    file = view["files"][0]
    place = {"job": view["id"], "index": file["index"], "name": "artistic"}
    for path, method in (
        ("/api/v1/jobs/{job}", "GET"),
        ("/api/v1/download/{job}.zip", "GET"),
        ("/api/v1/download/{job}/{index}/{name}", "GET"),
        ("/api/v1/view/{job}/{index}/{name}", "GET"),
        ("/api/v1/jobs/{job}", "DELETE"),
        ("/api/v1/jobs/{job}", "GET"),
    ):
        given = {key: value for key, value in place.items() if f"{{{key}}}" in path}
        case = described[path][method].Case(path_parameters=given)
        response = case.call_and_validate(base_url=str(client.base_url))
        assert response.status_code in (200, 204, 410)

"""The OpenAPI document of the coding API, tried out by schemathesis: requests that fit it, and requests that do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from api_client import ServedApi, serve_api
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from upstream_server import start_upstream

OPERATIONS = (
    "POST /v1/coding", "POST /v1/coding/batch", "GET /v1/codes", "GET /v1/codes/{code}", "POST /v1/check", "POST /v1/decisions",
    "POST /v1/export", "GET /v1/about", "GET /healthz", "GET /readyz", "GET /metrics", "GET /v1/models", "POST /v1/completions",
    "POST /v1/chat/completions",
)  # fmt: skip
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
FEW = settings(
    max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApi]:
    with start_upstream() as upstream, serve_api(tmp_path_factory.mktemp("audit"), upstream.url) as served:
        yield served


@pytest.fixture(scope="module")
def document(api: ServedApi) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{api.url}/openapi.json")


def test_every_route_is_documented_and_no_other(api: ServedApi, document: BaseSchema) -> None:
    assert sorted(result.ok().label for result in document.get_all_operations()) == sorted(OPERATIONS)
    paths = api.client.get("/openapi.json").json()["paths"]
    for label in OPERATIONS:
        method, path = label.split()
        operation = paths[path][method.lower()]
        assert operation["summary"] and operation["description"]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fits", "does-not-fit"])
@pytest.mark.parametrize("label", OPERATIONS)
def test_it_does_as_its_document_says(label: str, mode: GenerationMode, document: BaseSchema) -> None:
    operation = document.find_operation_by_label(label)
    assert operation is not None
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
        return

    @FEW
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    send()

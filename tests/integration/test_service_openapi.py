"""The HTTP API asked whatever its OpenAPI allows, and more."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from faceindex.service.tokens import Scope
from tests.integration.test_labelling_pages import imported
from tests.support.service import HOST, Service

EXAMPLES = int(os.environ.get("FACEINDEX_EXAMPLES", "12"))
"""Of each route."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(str(imported(tmp_path_factory.mktemp("openapi"))))


def test_no_request_of_any_kind_is_an_error_of_the_server(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.tokens[Scope.ADMIN]}", "Host": HOST}
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", service.app, headers=headers)
    asked = 0
    for operation in schema.get_all_operations():
        op = operation.ok()

        @seeded(7)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=op.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            response = case.call(headers=headers)
            case.validate_response(response, checks=[not_a_server_error, status_code_conformance])

        ask()
    assert asked > 10 * EXAMPLES

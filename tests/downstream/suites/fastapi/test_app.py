"""An application of FastAPI on the ledger: its handlers run in threads of their own."""

import fastapi
import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client(hoox_db):
    app = fastapi.FastAPI()

    @app.get("/trades")
    def trades() -> int:
        return hoox_db["trades"].count

    @app.delete("/trades")
    def delete() -> None:
        hoox_db["trades"].delete_where()

    with TestClient(app) as client:
        yield client


def test_a_handler_reads_the_tests_ledger(client, hoox_db, hoox_queries) -> None:
    """What the handler counts is what the test has, by a statement that the test sees."""
    with hoox_queries(at_most=3) as queries:
        assert client.get("/trades").json() == hoox_db["trades"].count
    assert queries.count


def test_a_handler_changes_the_tests_ledger(client, hoox_db_diff) -> None:
    """What the handler deletes is gone for the test, and nothing else."""
    client.delete("/trades")
    assert list(hoox_db_diff()) == ["trades"]

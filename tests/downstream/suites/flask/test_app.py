"""An application of Flask on the ledger by SQLAlchemy, beside the migrations of Flask-Migrate."""

import flask
import flask_sqlalchemy
import pytest
import sqlalchemy


@pytest.fixture
def database(hoox_db_url):
    app = flask.Flask("app")
    app.config["SQLALCHEMY_DATABASE_URI"] = hoox_db_url
    database = flask_sqlalchemy.SQLAlchemy(app)
    with app.app_context():
        yield database
        database.session.remove()
        database.engine.dispose()


COUNT = sqlalchemy.text("SELECT count(*) FROM trades")


def test_the_ledger_is_ours(database) -> None:
    """A folder of Flask-Migrate's does not take the place of the ledger's migrations."""
    assert database.session.execute(COUNT).scalar() > 0


def test_statements_of_the_orm_are_counted(database, hoox_queries) -> None:
    """A hundred statements of SQLAlchemy are a hundred, not none."""
    with hoox_queries(100):
        for _ in range(100):
            database.session.execute(COUNT).scalar()


def ask_often(database, hoox_queries) -> None:
    """Run three statements where two are allowed."""
    with hoox_queries(at_most=2):
        for _ in range(3):
            database.session.execute(COUNT).scalar()


def test_too_many_are_noticed(database, hoox_queries) -> None:
    """A limit holds for the ORM's connections."""
    with pytest.raises(pytest.fail.Exception, match="3 statements ran, more than 2"):
        ask_often(database, hoox_queries)

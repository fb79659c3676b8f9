import pytest
from django.db import connection


@pytest.mark.django_db
def test_tests_talk_to_a_postgresql_of_their_own() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW listen_addresses")
        assert cursor.fetchone() == ("",)

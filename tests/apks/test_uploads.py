import pytest
from django.contrib import admin
from django.core.exceptions import RequestDataTooBig
from django.core.files.base import ContentFile
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path

from apks.uploads import UploadTooLarge


def receive(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.FILES["file"].size))


urlpatterns = [path("receive", receive), path("admin/", admin.site.urls)]


@override_settings(APK_MAX_MB=1)
def test_a_request_that_announces_too_much_is_refused_before_it_is_read() -> None:
    request = RequestFactory().post("/", {"file": ContentFile(b"x", "a.apk")})
    request.META["CONTENT_LENGTH"] = str(3 << 20)
    with pytest.raises(UploadTooLarge) as refusal:
        _ = request.FILES
    assert (refusal.value.status, refusal.value.slug) == (422, "too_large")
    assert isinstance(refusal.value, RequestDataTooBig)


@override_settings(APK_MAX_MB=1)
@pytest.mark.urls(__name__)
def test_where_nobody_shapes_problems_it_is_a_bad_request_and_no_server_error(client: Client) -> None:
    large = client.post("/receive", {"file": ContentFile(bytes(3 << 20), "a.apk")})
    assert large.status_code == 400
    fits = client.post("/receive", {"file": ContentFile(bytes(1 << 20), "a.apk")})
    assert fits.content == str(1 << 20).encode()

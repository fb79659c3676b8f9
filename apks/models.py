from typing import ClassVar

from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class Apk(models.Model):
    """A package that may be installed. `signer_sha256` is pinned by the first upload, empty until then."""

    package_name = models.CharField(max_length=223, unique=True)
    display_name = models.CharField(max_length=100)
    managed = models.BooleanField(default=False, help_text="On the allowlist: may be uploaded and deployed.")
    signer_sha256 = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "apk"
        verbose_name = "package"
        ordering: ClassVar = ["package_name"]
        permissions: ClassVar = [("manage_apk", "Can put packages on the allowlist and take them off")]

    def __str__(self) -> str:
        return self.display_name or self.package_name


class ApkVersion(models.Model):
    """One uploaded, verified APK. Immutable but for its withdrawal.

    `signature_info` = {"schemes": ["v2", …], "lineage": [sha256, oldest first], "subject": text}.
    `abis` empty = no native code, runs anywhere.
    """

    apk = models.ForeignKey(Apk, on_delete=models.PROTECT, related_name="versions")
    version_name = models.CharField(max_length=255)
    version_code = models.IntegerField()
    download_url = models.CharField(max_length=500, help_text="Unsigned path; agents get it signed.")
    sha256 = models.CharField(max_length=64)
    signature_info = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    size_bytes = models.BigIntegerField()
    min_sdk = models.IntegerField(default=1)
    target_sdk = models.IntegerField(null=True)
    abis = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    debuggable = models.BooleanField(default=False)
    signer_sha256 = models.CharField(max_length=64)
    rebuild_of = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="rebuilds"
    )
    notes = models.TextField(blank=True)
    uploaded_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    withdrawn_at = models.DateTimeField(null=True, editable=False)
    withdrawn_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )
    withdrawn_reason = models.CharField(max_length=500, blank=True, editable=False)

    class Meta:
        db_table = "apk_version"
        verbose_name = "APK version"
        ordering: ClassVar = ["apk__package_name", "-version_code"]
        permissions: ClassVar = [
            ("upload_apkversion", "Can upload APK versions"),
            ("withdraw_apkversion", "Can withdraw APK versions"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(name="apk_version_code_once", fields=["apk", "version_code"]),
            models.CheckConstraint(
                name="apk_version_code_range", condition=Q(version_code__gte=1, version_code__lte=2**31 - 1)
            ),
            models.CheckConstraint(
                name="apk_version_withdrawal",
                condition=Q(withdrawn_at__isnull=True) | ~Q(withdrawn_reason=""),
            ),
            models.CheckConstraint(
                name="apk_version_rebuild_of_another",
                condition=Q(rebuild_of__isnull=True) | ~Q(rebuild_of=F("id")),
            ),
        ]
        indexes: ClassVar = [
            # The artifact door looks a version up by the digest in the URL.
            models.Index(name="apk_version_sha256", fields=["sha256"]),
        ]

    def __str__(self) -> str:
        return f"{self.apk} {self.version_name} ({self.version_code})"


class ApkArtifact(models.Model):
    """A stored file of a version. One row a version for now; per-ABI files later."""

    apk_version = models.ForeignKey(ApkVersion, on_delete=models.PROTECT, related_name="artifacts")
    abi = models.CharField(max_length=40, blank=True, help_text="Empty: for every ABI.")
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    storage_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "apk_artifact"
        constraints: ClassVar = [
            models.UniqueConstraint(name="apk_artifact_abi_once", fields=["apk_version", "abi"]),
        ]

    def __str__(self) -> str:
        return self.storage_name

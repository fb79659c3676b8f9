"""What people are asked when they change a deployment or the switch."""

from datetime import datetime

from django import forms


class ReasonForm(forms.Form):
    """Why; kept in the log."""

    reason = forms.CharField(label="Reason", required=False, max_length=1000)
    expected_status = forms.CharField(widget=forms.HiddenInput, required=False)


class ExplainForm(ReasonForm):
    """A reason that comes after the act."""

    reason = forms.CharField(label="Reason", max_length=1000, help_text="Everybody sees it; kept in the log.")


class OverrideForm(ReasonForm):
    """Going on against a gate's verdict."""

    reason = forms.CharField(label="Reason", max_length=1000, help_text="Required; it is kept in the log.")
    looked = forms.BooleanField(label="I looked at the failures")


class PaceForm(forms.Form):
    rate = forms.IntegerField(
        label="Rate", min_value=1, max_value=100_000, help_text="Sends within any 60 seconds."
    )
    concurrency = forms.IntegerField(
        label="Concurrency", min_value=1, max_value=100_000, help_text="Devices at work at once."
    )
    expected_status = forms.CharField(widget=forms.HiddenInput, required=False)


class EngageForm(forms.Form):
    reason = forms.CharField(label="Reason", max_length=1000, help_text="Required; everybody sees it.")
    changed_at = forms.CharField(label="State", widget=forms.HiddenInput)

    def clean_changed_at(self) -> datetime:
        """Which state the person saw; the domain refuses where it is another by now."""
        try:
            return datetime.fromisoformat(self.cleaned_data["changed_at"])
        except ValueError:
            raise forms.ValidationError("Load the page again.") from None


class ReleaseForm(EngageForm):
    typed = forms.CharField(label="Type RESUME ALL")

    def clean_typed(self) -> str:
        typed = str(self.cleaned_data["typed"]).strip()
        if typed != "RESUME ALL":
            raise forms.ValidationError("Type RESUME ALL, in capitals.")
        return typed

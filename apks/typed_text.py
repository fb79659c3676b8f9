"""Texts that people type into a form or a request."""

from mdm.problems import Invalid


def checked_text(field: str, value: str, limit: int) -> str:
    """The text without blanks around it. Raises Invalid if it is too long or no text for the database."""
    text = value.strip()
    if len(text) > limit:
        _refuse(field, f"At most {limit} characters.")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        _refuse(field, "Holds characters that are no text.")
    return text


def _refuse(field: str, detail: str) -> None:
    raise Invalid(f"{field}: {detail}", errors={field: detail})

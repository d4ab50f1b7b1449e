"""What is wrong with a document that is sent, in the words that its sender gets."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from racing.documents import in_words, wrong_field


def fault(model: type[BaseModel], document: object) -> str:
    """What is wrong with a document, in words."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(document)
    return in_words([wrong_field(error) for error in caught.value.errors()])

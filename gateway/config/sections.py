"""What every part of the tree is made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the tree. Unknown keys are errors and values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OpenSection(Section):
    """A part whose further keys belong to the type of the upstream, which checks them with `read_options`."""

    model_config = ConfigDict(extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """The keys that are the type's own."""
        return dict(self.model_extra or {})

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        # What a type keeps among its own keys may be a secret: only their names are told.
        own = [(name, getattr(self, name)) for name, field in type(self).model_fields.items() if field.repr]
        return [*own, ("options", sorted(self.options))]

"""The sections of states as people type them: what their records say that an entry has."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import Discriminator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Tag, ValidationInfo, create_model
from pydantic_core import CoreSchema, core_schema

from gangraph.language.document.fields import Expr, Key, Model, Part, gathered, yaml_kind
from gangraph.language.expression.model import Expression
from gangraph.language.scalar import Scalar
from gangraph.language.state_sections import STATE_SECTIONS, TIMES, StateSection


class StateDocument(Model):
    """A number or tensor that a step leaves to the next: what it begins as, and what it becomes at a step's end."""


@dataclass(frozen=True)
class _AsRecorded:
    """Sections by name, validated by the records that there are by then: whole entries, or what phases say of them."""

    whole: bool

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._validated)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler.resolve_ref_schema(handler(self._model().__pydantic_core_schema__))

    def _validated(self, written: Any, info: ValidationInfo) -> dict[str, "Section"]:
        model = self._model().model_validate(gathered(written), context=info.context)
        return {name: section for name, section in model if section}

    def _model(self) -> type[Model]:
        return _model_of(tuple(STATE_SECTIONS.values()), self.whole)


Section = dict[Scalar, Expression | StateDocument]
StateSections = Annotated[dict[str, Section], _AsRecorded(whole=True)]
StateParts = Annotated[dict[str, dict[Scalar, Any]], _AsRecorded(whole=False)]


@cache
def _model_of(records: tuple[StateSection, ...], whole: bool) -> type[Model]:
    sections: dict[str, Any] = {}
    for each in records:
        entry = _entry(each) if whole else Part
        sections[each.name] = (dict[Key, entry], Field({}, description=each.about))  # type: ignore[valid-type]
    made: type[Model] = create_model("StateSections", __base__=Model, **sections)
    made.model_rebuild()
    return made


def _entry(record: StateSection) -> Any:
    keys: dict[str, Any] = {key: (Expr, Field(description=about)) for key, about in record.keys.items()}
    keys |= {key: (Expr | None, Field(None, description=about)) for key, about in TIMES.items()}
    title, about = f"{record.name.title()}Document", StateDocument.__doc__
    entry = create_model(title, __base__=StateDocument, __doc__=about, **keys)
    either = Annotated[Expr, Tag("scalar")] | Annotated[entry, Tag("mapping")]
    return Annotated[either, Discriminator(yaml_kind)]

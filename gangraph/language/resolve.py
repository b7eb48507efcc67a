"""Stage 2, resolve: a document, a profile, a variant and settings to a spec with everything static evaluated.

Problems do not stop this stage: a definition that has one is left out, its name is remembered as broken, and
everything else goes on, so that `check` can report all problems of a spec at once.
"""

from collections.abc import Iterator

from gangraph.errors import Span, SpecError
from gangraph.language import schema
from gangraph.language.overlay import lay_over
from gangraph.language.parse import Choice, Document, chosen_tree
from gangraph.language.resolve_claims import resolve_claims, resolve_reported
from gangraph.language.resolve_networks import resolve_networks
from gangraph.language.resolve_training import Training
from gangraph.language.sections import Sections
from gangraph.language.spec import Paper, PhaseSpec, Spec
from gangraph.language.tree import Mapping as TreeMapping
from gangraph.language.tree import Scalar
from gangraph.language.tree import Sequence as TreeSequence


def resolve(document: Document, choice: Choice | None = None) -> Spec:
    """Evaluate everything static in one form of a document.

    Raises:
        SpecError: the chosen profile, variant or setting does not exist, or breaks the document's syntax.
            Other problems are kept in the result's `problems`.
    """
    choice = choice or Choice()
    problems = list(document.problems)
    try:
        tree, profile = chosen_tree(document, choice)
        model = schema.read_document(tree, problems)
        phase_models = [(name, schema.read_document(phase, problems)) for name, phase in _phase_trees(tree, model)]
    except SpecError as error:
        raise SpecError([*problems, *error.problems]) from None
    phases, broken = [], set()
    place = next(key.span for key in tree if key == "train")
    for name, phase_model in phase_models:
        resolver = Sections(phase_model, document.origin, place, problems)
        phases.append(_phase(resolver, name))
        broken |= resolver.broken
    train = Sections(model, document.origin, place, problems)
    return Spec(
        name=model.name,
        about=str(model.about or ""),
        paper=_paper(model.paper),
        profile=profile,
        variant=choice.variant or "",
        default_profile=str(model.default_profile or "paper"),
        profiles=tuple(document.overlays("profiles")),
        variants=tuple(document.overlays("variants")),
        phases=tuple(phases),
        claims=resolve_claims(document, train),
        reported=resolve_reported(document, train),
        save=train.guarded("save", train.duration, model.train.save),
        keep=train.guarded("keep", train.whole, model.train.keep, 3) or 3,
        text=document.text.content,
        origin=str(document.origin or ""),
        settings=tuple((str(path), str(value)) for path, value in choice.set.items()),
        problems=tuple(problems),
        broken=frozenset(broken),
    )


def _phase_trees(tree: TreeMapping, model: schema.Document) -> Iterator[tuple[str, TreeMapping]]:
    """One tree per phase: the document with the phase's params, values, losses and schedule laid over it."""
    if not model.train.phases:
        yield "train", tree
        return
    train = tree[Scalar("train")]
    assert isinstance(train, TreeMapping)
    written = train[Scalar("phases")]
    for index, phase in enumerate(model.train.phases):
        assert isinstance(written, TreeSequence)
        entry = written[index]
        assert isinstance(entry, TreeMapping)
        overlay, schedule = TreeMapping(), TreeMapping()
        overlay.span = schedule.span = entry.span
        for key, value in entry.items():
            target = overlay if key in ("values", "losses") else schedule
            if key == "set":
                overlay[Scalar.at("params", key.text, key.offsets)] = value
            elif key != "name":
                target[key] = value
        overlay[Scalar.at("train", entry.span.text, (entry.span.start,) * 6)] = schedule
        yield str(phase.name or f"phase {index + 1}"), lay_over(tree, overlay, Scalar.of("phase", "phase"))


def _paper(model: schema.PaperDocument | None) -> Paper | None:
    if model is None:
        return None
    return Paper(**{key: str(value) for key, value in model if value is not None})


def _phase(sections: Sections, name: str) -> PhaseSpec:
    """Evaluate every section."""
    model, train, training = sections.model, sections.model.train, Training(sections)
    return PhaseSpec(
        name=name,
        params=sections.params(),
        data=sections.family_section(model.data),
        networks=resolve_networks(sections),
        values=sections.family_section(model.values),
        losses=sections.family_section(model.losses),
        batch=sections.guarded("batch", sections.whole, train.batch, 1) or 1,
        length=sections.guarded("length", sections.duration, train.length),
        optimizers=dict(training.optimizers()),
        updates=tuple(training.updates()),
        evaluate=training.evaluate(model.evaluate, resolve) if model.evaluate else None,
        span=sections.span,
        static_names=frozenset(sections.scope.names()),
        spans=dict(_spans(sections)),
    )


def _spans(sections: Sections) -> Iterator[tuple[str, Span]]:
    """Where each name was defined; the members of a family share their key."""
    for section in (sections.model.data, sections.model.networks, sections.model.values, sections.model.losses):
        for key in section:
            for name, _ in sections.guarded(key, sections.expand, key, sections.scope) or []:
                yield name, key.span

"""Stage 2, resolve: a document, a profile, a variant and settings to a spec with everything static evaluated.

Problems do not stop this stage: a definition that has one is left out, its name is remembered as broken, and
everything else goes on, so that `check` can report all problems of a spec at once.
"""

from collections.abc import Iterable, Iterator, Sequence

from gangraph.errors import Problem, SpecError
from gangraph.language.document.parse import Choice, ParsedDocument, chosen_tree
from gangraph.language.document.schema import PaperDocument
from gangraph.language.document.sections import Sections
from gangraph.language.document.validate import read_document
from gangraph.language.expression.model import Name, walk
from gangraph.language.names import odd_names, taken_names
from gangraph.language.phases import WrittenPhase, written_phases
from gangraph.language.resolve.claims import resolve_claims, resolve_reported
from gangraph.language.resolve.elsewhere import Elsewhere, with_frozen
from gangraph.language.resolve.networks import resolve_networks
from gangraph.language.resolve.states import resolve_states
from gangraph.language.resolve.training import TrainingSections
from gangraph.language.resolve.updates import resolve_updates
from gangraph.language.spec import Paper, PhaseSpec, Spec


def resolve(document: ParsedDocument, choice: Choice | None = None) -> Spec:
    """Evaluate everything static in one form of a document.

    Raises:
        SpecError: the chosen profile, variant or setting does not exist, or breaks the document's syntax.
            Other problems are kept in the result's `problems`.
    """
    choice = choice or Choice()
    problems = list(document.problems)
    profile, train, written, resolvers = _read(document, choice, problems)
    model = train.model
    titles = _titles(written, resolvers)
    phases = [_phase(sections, title, phase) for sections, title, phase in zip(resolvers, titles, written, strict=True)]
    problems += odd_names(model)
    for phase, sections in zip(phases, resolvers, strict=True):
        problems += taken_names(phase, sections.model)
    broken = {name for sections in resolvers for name in sections.broken}
    broken |= {name for phase in phases for name in _without_family(phase, broken)}
    phases = with_frozen(phases)
    start = Elsewhere(resolvers[0], resolve).start(phases[0].networks)
    return Spec(
        name=model.name,
        about=str(model.about or ""),
        paper=_paper(model.paper),
        profile=profile,
        variant=str(choice.variant or ""),
        default_profile=str(model.default_profile or "paper"),
        profiles=tuple(document.overlays("profiles")),
        variants=tuple(document.overlays("variants")),
        phases=tuple(phases),
        claims=resolve_claims(document, train),
        reported=resolve_reported(document, train),
        save=train.guarded("save", train.duration, model.train.save),
        keep=train.guarded("keep", train.whole, model.train.keep, 3) or 3,
        text=document.text.content,
        origin=str(document.files.folder or ""),
        settings=tuple((str(path), str(value)) for path, value in choice.set.items()),
        problems=tuple(problems),
        broken=frozenset(broken),
        start=start,
        bases=document.bases,
    )


def _read(
    document: ParsedDocument, choice: Choice, problems: list[Problem]
) -> tuple[str, Sections, list[WrittenPhase], list[Sections]]:
    """The profile of a choice, what the document says in it as a whole, and its phases with what holds in each.

    Raises:
        SpecError: as `resolve`, with the problems so far.
    """
    try:
        tree, profile = chosen_tree(document, choice)
        problems += document.lost.get(profile, ())
        place = next(key.span for key in tree if key == "train")
        train = Sections(read_document(tree, problems), document.files, place, problems)
        written = [*written_phases(tree, train)]
        models = [read_document(phase.tree, problems) for phase in written]
    except SpecError as error:
        raise SpecError([*problems, *error.problems]) from None
    resolvers = [
        Sections(one, document.files, place, problems, indices=phase.indices)
        for phase, one in zip(written, models, strict=True)
    ]
    return profile, train, written, resolvers


def _titles(written: Sequence[WrittenPhase], resolvers: Sequence[Sections]) -> list[str]:
    """What each phase is called; two of one name are a problem, since messages could not tell them apart."""
    titles: list[str] = []
    for phase, sections in zip(written, resolvers, strict=True):
        title = sections.guarded("phases", phase.title, sections) or f"phase {phase.number}"
        if title in titles and phase.name is not None:
            index = next(iter(phase.indices), "")
            sections.problems.append(
                Problem(
                    code="GG103",
                    message=f"two phases are called '{title}'",
                    span=phase.name.span,
                    found=title,
                    expected="a name for each phase",
                    fix=f"name: {phase.name}[{index}]" if index and "[" not in phase.name else "",
                )
            )
        titles.append(title)
    return titles


def _paper(model: PaperDocument | None) -> Paper | None:
    if model is None:
        return None
    return Paper(**{key: str(value) for key, value in model if value is not None})


def _phase(sections: Sections, name: str, written: WrittenPhase) -> PhaseSpec:
    """Evaluate every section."""
    model, train, training = sections.model, sections.model.train, TrainingSections(sections)
    data = sections.family_section(model.data)
    return PhaseSpec(
        name=name,
        number=written.number,
        params=sections.params(),
        data=data,
        networks=resolve_networks(sections, Elsewhere(sections, resolve)),
        values=sections.family_section(model.values),
        losses=sections.family_section(model.losses),
        batch=sections.guarded("batch", sections.whole, train.batch, 1) or 1,
        length=sections.guarded("length", sections.duration, train.length),
        optimizers=dict(training.optimizers()),
        updates=tuple(resolve_updates(sections)),
        states=resolve_states(sections),
        carries=sections.guarded("carry", written.carries) or False,
        evaluate=training.evaluate(model.evaluate, data, resolve) if model.evaluate else None,
        span=sections.span,
        static_names=frozenset(sections.scope.names()),
        spans=dict(sections.places()),
    )


def _without_family(phase: PhaseSpec, broken: Iterable[str]) -> Iterator[str]:
    """The members that a phase names of families whose range is wrong: nothing more is said about them."""
    families = {name.partition("[")[0] for name in broken if " in " in name}
    if not families:
        return
    evaluate = phase.evaluate
    seen = [*evaluate.values.values(), *evaluate.metrics.values(), *evaluate.results.values()] if evaluate else []
    seen += [*evaluate.grid] if evaluate else []
    goals = [objective for update in phase.updates for objective in update.objectives]
    seen += [state.next for state in phase.states.values()]
    seen += [*phase.values.values(), *phase.losses.values(), *(goal.expression for goal in goals)]
    names = {node.id for written in seen for node in walk(written) if isinstance(node, Name)}
    names |= {goal.group for goal in goals}
    names |= {network for group in phase.optimizers.values() for network, _ in group.networks}
    yield from (name for name in names if name.partition("[")[0] in families)

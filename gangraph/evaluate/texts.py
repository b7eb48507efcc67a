"""Sentences of a user's own, in place of those that an evaluation would draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gangraph.data.captions import encoded
from gangraph.data.source import Meanings
from gangraph.errors import UsageError
from gangraph.graph.model import Graph
from gangraph.run.draws import Draws


@dataclass(frozen=True, slots=True)
class Texts:
    """Sentences for the tokens that a part of an evaluation reads: sample i gets sentence i, and so on from the first.

    Args:
        node: of the tokens, and their source and field.
        alone: whether nothing else of that source is read, so that it need not be drawn.
    """

    sentences: tuple[str, ...]
    node: str
    source: str
    field: str
    alone: bool

    def batch(self, draws: Draws, index: int, known: Mapping[str, Meanings]) -> Tensor:
        """The tokens of the batch with a number, from 0: int64 [B, length].

        Args:
            draws: of the evaluation.
            index: which batch.
            known: the words of a checkpoint by source and field; those of the data are read where it has none.

        Raises:
            DataError: a word is unknown, or a sentence is empty or too long.
        """
        if self.source not in known:
            draws.open(self.source)
            known = draws.meanings
        field, words = draws.sources[self.source].fields[self.field], known[self.source][self.field]
        rows = torch.stack([encoded(text, field, words) for text in self.sentences])
        places = torch.arange(index * draws.batch, (index + 1) * draws.batch) % len(rows)
        return rows[places].to(draws.device)


def texts_for(graph: Graph, inputs: Sequence[str], sentences: Sequence[str]) -> Texts:
    """Find the tokens that sentences are to replace, among the inputs of a part of an evaluation.

    Raises:
        UsageError: nothing that is read is a text, or several are.
    """
    read = [node for node in (graph.nodes[name] for name in inputs) if node.is_source]
    texts = [node for node in read if graph.is_data(node) and graph.sources[node.target].fields[node.field].text]
    if len(texts) != 1:
        found = f"{len(texts)}: {' and '.join(node.id for node in texts)}" if texts else "none"
        raise UsageError(f"--text takes the place of one text, and what is drawn reads {found}")
    (node,) = texts
    others = [each for each in read if each.target == node.target and each is not node]
    return Texts(tuple(sentences), node.id, node.target, node.field, alone=not others)

"""Folders of runs and reproductions as a run leaves them, with made-up numbers."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gangraph.language.claims import FULL
from gangraph.language.spec import Reported
from gangraph.reproduce.outcome import Number, Outcome, VariantOutcome, Verdict
from gangraph.saved.state import State, Trained

SPEC = """
gangraph: 1
name: small
about: Two players & a <plane>
paper: {title: "Points <b>in</b> the plane", authors: "A. Author", year: 2014, arxiv: "1406.2661"}
data:
  x: plane(std=0.3)
  z: normal(2)
networks:
  G: mlp(widths=[4], outputs=2, activation=tanh)
  D: mlp(widths=[4], activation=tanh)
values:
  fake: G(z)
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  length: 100 steps
  optimizers:
    g: sgd(G, lr=0.1)
    d: sgd(D, lr=0.1)
  step:
    - {update: d, minimize: judge}
    - {update: g, minimize: fool}
variants:
  slow: {train: {length: 200 steps}}
"""
ENVIRONMENT = {
    "command": ["gangraph", "run", "small.yaml", "--set", "train.batch=4"],
    "versions": {"gangraph": "0.1.0", "torch": "2.11.0"},
    "device": "cpu (x86_64, 2 cores)",
    "seed": 0,
    "compiled": False,
    "not compiled": {},
    "kernels": "off",
}
PROTOCOL = {"samples": 1000, "mode": "eval", "judge": {"spec": "recogniser", "accuracy": 0.98125}, "averages": []}

MEASURED = {"fingerprint": "a" * 16, "evaluation": "b" * 16}


def write_run(
    folder: Path,
    *,
    variant: str = "",
    seed: int = 0,
    steps: int = 100,
    reports: int = 11,
    pictures: Sequence[str] = ("",),
    size: tuple[int, int] = (96, 72),
    text: str = SPEC,
    results: Mapping[str, Any] | None = None,
    checkpoint: bool = True,
) -> Path:
    """A run with `reports` lines of numbers and as many pictures of each named grid."""
    folder.mkdir(parents=True)
    form = "small, profile paper" + (f", variant {variant}" if variant else "")
    (folder / "spec.yaml").write_text(text)
    (folder / "resolved.txt").write_text(f"# {form}, resolved: what is left\n")
    (folder / "environment.json").write_text(json.dumps({**ENVIRONMENT, "seed": seed}))
    moments = [round(i * steps / max(1, reports - 1)) for i in range(reports)]
    lines = [json.dumps(_line(step, steps, seed, len(variant))) for step in moments]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "samples").mkdir()
    for number, name in enumerate(pictures):
        for step in moments:
            end = f"-{name}" if name else ""
            picture(size, step + 1000 * number).save(folder / "samples" / f"{step:08d}{end}.png")
    if checkpoint:
        write_state(folder, variant=variant, seed=seed, text=text)
    if results is not None:
        (folder / "results.json").write_text(json.dumps({**MEASURED, "step": steps, "results": results}))
    return folder


def _line(step: int, steps: int, seed: int, shift: int) -> dict[str, Any]:
    share = step / steps
    losses = {"judge": 1.2 - share + 0.05 * seed, "fool": 0.4 + share} if step else {}
    metrics = {"error": math.exp(-4 * share) * (1 + 0.1 * seed) + 0.01 * shift}
    return {"step": step, "seen": 4 * step, "losses": losses, "images_per_second": 12.5, "metrics": metrics}


def write_state(folder: Path, *, variant: str = "", seed: int = 0, text: str = SPEC, step: int = 100) -> None:
    """What a checkpoint says of its spec; the tensors are not there, since nobody reads them for a report."""
    place = folder / "checkpoints" / f"step-{step:08d}"
    place.mkdir(parents=True)
    trained = Trained(
        spec=text,
        name="small",
        profile="paper",
        variant=variant,
        settings={},
        origin="",
        fingerprint="",
        seed=seed,
        precision="fp32",
        phase=0,
        phase_start=0,
        seen_before=0,
        share=True,
        merge=True,
        kernels="auto",
    )
    nothing: dict[str, Any] = {"shared": {}, "positions": {}, "histories": {}, "gates": []}
    state = State(format=2, digest=None, step=step, extra=trained, **nothing)
    (place / "state.json").write_text(state.text())


def picture(size: tuple[int, int], seed: int) -> Image.Image:
    """Coloured noise, which no format can make small."""
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def write_reproduction(folder: Path, *, seeds: int = 2, **options: Any) -> Path:
    """Two variants, `seeds` runs each, and a claim that held, one that did not and one that nobody could judge."""
    variants = []
    for variant in (FULL, "slow"):
        names = tuple(f"{variant}/seed-{seed}" for seed in range(seeds))
        for seed, name in enumerate(names):
            write_run(folder / name, variant="" if variant == FULL else variant, seed=seed, **options)
        error = Number(values=tuple(0.1 + 0.01 * seed for seed in range(seeds)), protocol={**PROTOCOL, "v": variant})
        fid = Number(values=(None,) * seeds, protocol={}, why="inception.safetensors is not here")
        variants.append(VariantOutcome(name=variant, runs=names, numbers={"error": error, "fid": fid}))
    Outcome(
        name="small",
        profile="quick",
        about="Two players & a <plane>",
        paper={"title": "Points <b>in</b> the plane", "authors": "A. Author", "year": "2014", "arxiv": "1406.2661"},
        spec=SPEC,
        origin="small.yaml",
        seeds=tuple(range(seeds)),
        variants=tuple(variants),
        reported=(Reported(say="error on points", source="Table 2", metric="error", values={"slow": 0.25}),),
        verdicts=(
            Verdict(say="slow is better", source="Table 2", check="error[slow] < error", margins=(0.2, 0.1)),
            Verdict(say="fast is better", source="Figure 1", check="error < error[slow]", margins=(-0.2, 0.1)),
            Verdict(say="it looks good", source="Table 3", check="fid < 10", margins=(), why="fid was not measured"),
        ),
        deviations=("The plane stands for photos.", "100 steps instead of 10,000."),
        environment=ENVIRONMENT,
        seconds=5230.0,
    ).save(folder)
    return folder

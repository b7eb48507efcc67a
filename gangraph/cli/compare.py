"""`compare`: how far images are from others, image by image."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer

from gangraph.cli import options

Images = Annotated[Path, typer.Argument(metavar="IMAGES", help="An image, a folder, or a zip file.")]
References = Annotated[Path, typer.Argument(metavar="REFERENCES", help="What they are compared with, by name.")]
Luminance = Annotated[bool, typer.Option("--luminance", help="PSNR and SSIM of Y, the luminance of BT.601.")]
Border = Annotated[int, typer.Option("--border", metavar="N", min=0, help="Pixels that they leave out at each side.")]
Enlarge = Annotated[
    str | None,
    typer.Option(
        "--enlarge",
        metavar="nearest|bilinear|bicubic",
        help="Bring images to the size of their references.",
        show_default="sizes have to be equal",
    ),
]


def compare(
    images: Images,
    references: References,
    luminance: Luminance = False,
    border: Border = 0,
    enlarge: Enlarge = None,
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Compare images of any size with references of the same names, by PSNR, SSIM and LPIPS."""
    options.use_weights(weights)
    with options.waiting("comparing"):
        from gangraph.apply.compare import METRICS, Enlargement
        from gangraph.apply.compare import compare as measured
        from gangraph.saved.files import json_text

        notes: list[str] = []
        found = measured(
            images,
            references,
            luminance=luminance,
            border=border,
            enlarge=cast("Enlargement | None", enlarge),
            say=notes.append,
        )
    if json:
        print(json_text(asdict(found), indent=1))
        return
    print("\n".join(notes), end="\n" if notes else "")
    named = {**found.each, f"mean of {len(found.each)}": found.means}
    wide = max(map(len, named))
    for name, numbers in named.items():
        told = (f"{metric} {numbers[metric]:.4f}" for metric in METRICS if metric in numbers)
        print(f"{name:<{wide}}  {'  '.join(told)}")
    for metric, why in found.missing.items():
        print(f"{metric}: {why}")

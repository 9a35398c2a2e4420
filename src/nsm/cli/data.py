"""``nsm data``: which sets there are, fetching and simulating them."""

from __future__ import annotations

import json
from enum import Enum
from typing import Annotated, Any

import typer

from nsm.cli.options import DataDir, Json, Quiet

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Show, fetch and simulate data sets.")


class Simulation(Enum):
    """What can be simulated."""

    GESTURES = "gestures"


@app.command("list")
def list_sets(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the data sets, and whether their files are in the data folder.

    Examples:
        nsm data list
        nsm data list --data-dir ~/data --json
    """
    from nsm import data

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "title": info.title,
            "classes": len(info.classes),
            "train": info.train,
            "test": info.test,
            "image": list(info.image),
            "present": data.is_present(name, data_dir),
        }
        for name, info in data.SETS.items()
    ]
    if as_json:
        typer.echo(json.dumps({"folder": str(data.data_root(data_dir)), "sets": rows}))
        return
    from nsm.cli.tables import show

    show(
        ["name", "title", "classes", "train", "test", "image", "present"],
        [
            [
                row["name"],
                row["title"],
                row["classes"],
                f"{row['train']:,}",
                f"{row['test']:,}",
                "x".join(map(str, row["image"][1:])),
                "yes" if row["present"] else "no",
            ]
            for row in rows
        ],
        texts=("name", "title", "present"),
        title=f"Data folder: {data.data_root(data_dir)}",
    )


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names from nsm data list.", metavar="NAME")],
    data_dir: DataDir = None,
) -> None:
    """Download data sets into the data folder; what is there already is kept.

    Examples:
        nsm data fetch mnist
        nsm data fetch mnist fashion-mnist --data-dir ~/data
    """
    from nsm import data

    # All names are known before the first download begins.
    unknown = [name for name in names if name not in data.SETS]
    if unknown:
        raise ValueError(f"data set must be one of {', '.join(data.SETS)}, got {unknown[0]!r}")
    for name in names:
        typer.echo(f"{name}: {data.fetch(name, data_dir)}")


@app.command()
def simulate(
    what: Annotated[Simulation, typer.Argument(help="What to simulate.", metavar="gestures")],
    data_dir: DataDir = None,
    small: Annotated[bool, typer.Option("--small", help="Two recordings in all, to try things out.")] = False,
    lightings: Annotated[
        int, typer.Option(min=1, max=5, help="Recordings of each user, each under another light.")
    ] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulation.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Recordings that are made at a time.")] = 1,
    quiet: Quiet = False,
) -> None:
    """Simulate recordings of gestures into the data folder, as AEDAT 3.1.

    Nobody was recorded: 29 made-up users make the gestures of DVS Gestures
    before a simulated camera. A few minutes; what was interrupted is
    continued. The set is then called dvsgesture-simulated.

    Examples:
        nsm data simulate gestures --processes 2
        nsm data simulate gestures --small --data-dir /tmp/small
    """
    from nsm import data
    from nsm.cli.progress import progress
    from nsm.data.simulated import gestures

    assert what is Simulation.GESTURES
    folder = data.data_root(data_dir) / gestures.FOLDER
    chosen = gestures.small_trials() if small else gestures.trials(lightings=lightings)
    with progress("simulating gestures", quiet=quiet) as show:
        gestures.write_gestures(folder, chosen, seed=seed, processes=processes, progress=show)
    typer.echo(f"{len(chosen)} recordings: {folder}")

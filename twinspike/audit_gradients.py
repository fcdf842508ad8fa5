"""How the updates of learning rules compare with the true gradient and with each other.

twinspike audit --task rflo --rules eprop,rflo,snap1,uoro
twinspike audit runs/digits.h5 --rules eprop,wp --draws 50
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli

HEADER = ("rule", "parameter", "cosine", "norm ratio", "projection", "signs agree", "deviation")


def prepare(run: Path | None, task: str, backend: str, rules: str) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Task, program, parameters, rules: of a run, or of a task's untrained network."""
    import backends
    from neuro.compiler.parameters import values
    from twinspike.given import task_of, with_task

    if run is None:
        found = task_of({"task": task, "task_options": {}}, task, "the call")
        network, parameters = found.network(0), None
    else:
        given = with_task(run, "to learn from", "twinspike audit --task rflo", task)
        found, network, parameters = given.task, given.network, given.parameters
    chosen = rules_of(rules, found)
    for rule in chosen.values():
        network = rule.attach(network) if hasattr(rule, "attach") else network
    options = {**found.settings.backends.get(backend, {}), "dtype": "float64"}
    program = backends.get(backend).compile(network, **options)
    if not program.capabilities.gradients:
        raise cli.UserError(f"backend '{backend}' gives no gradients to audit against; use --backend native or torch")
    return found, program, values(network) if parameters is None else parameters, chosen


def rules_of(names: str, task: Any) -> dict[str, Any]:
    """Rules by name with the task's recommended options. Raises UserError on one without a gradient."""
    from neuro import learning

    found, settings = {}, task.settings.rules
    same = {n: v for n, v in settings.get("bptt", {}).items() if n == "trainable"}
    for name in (n.strip() for n in names.split(",") if n.strip()):
        found[name] = learning.get(name, **{**same, **settings.get(name, {})})
        if not hasattr(found[name], "gradient"):
            raise cli.UserError(f"rule '{name}' estimates no gradient")
    if not found:
        raise cli.UserError("--rules is empty")
    return found


def main(
    run: Annotated[Path | None, typer.Argument(help="HDF5 file of a complete run (or use --task)")] = None,
    task: Annotated[str, typer.Option(help="audit this task's untrained network")] = "rflo",
    rules: Annotated[str, typer.Option(help="comma-separated")] = "eprop,rflo,snap1,rtrl,uoro",
    backend: Annotated[str, typer.Option(help="one with gradients")] = "torch",
    batch: Annotated[int, typer.Option(min=1, help="trials")] = 8,
    draws: Annotated[int, typer.Option(min=2, help="of rules that are random")] = 30,
    updates: Annotated[int, typer.Option(min=0, help="train so long while the rules watch")] = 0,
    every: Annotated[int, typer.Option(min=1, help="updates between looks")] = 20,
    driver: Annotated[str, typer.Option(help="rule that trains")] = "bptt",
    workers: Annotated[int | None, typer.Option(min=1, help="processes for the draws")] = None,
    engine: Annotated[str | None, typer.Option(help="of the workers: joblib, or ray")] = None,
    address: Annotated[str | None, typer.Option(help="of a running cluster of Ray, or auto")] = None,
    out: Annotated[Path, typer.Option(help="folder for file and plot")] = Path("runs/audits"),
) -> None:
    """Print measures by rule and parameter, and what makes them worthless; exit code 1 if something does."""
    import numpy as np

    from neuro.analysis import gradients as ga
    from neuro.learning.audit import Audit
    from twinspike.spreading import check_workers, spread_program
    from twinspike.study import Study

    given = {"workers": workers, "engine": engine, "address": address}
    check_workers(given)
    found, program, parameters, chosen = prepare(run, task, backend, rules)
    spread = None
    if workers:
        options = {**found.settings.backends.get(backend, {}), "dtype": "float64"}
        spread = spread_program(backend, program.network, options, given)
    audit = Audit(program, found, chosen, draws, spread=spread)
    cli.writable(out / "audit")
    study = Study(f"audit-{found.name}", out)
    data = list(found.train_batches(np.random.default_rng(0), batch))
    if updates:
        batches = [data[i % len(data)] for i in range(updates + 1)]
        with study.progress(f"{driver} trains") as progress:
            audit.along(rules_of(driver, found)[driver], batches, every, progress)
    else:
        audit.look(parameters, data[0])
    last = audit.snapshots[-1]
    rows = [(r, p, *vars(m).values()) for r, table in last.measures.items() for p, m in table.items()]
    study.table(f"against the true gradient, update {last.update}", HEADER, rows)
    if last.spreads:
        header = ("rule", "draws", "cosine of mean", "mean of cosines", "projection", "variance", "draws to 0.9")
        study.table("rules that are random", header, [(n, *vars(s).values()) for n, s in last.spreads.items()])
    names, cosines = ["truth", *last.estimates], ga.alignment({"truth": last.truth, **last.estimates})
    study.table(
        "cosines of all pairs", ("", *names), [(n, *map(float, row)) for n, row in zip(names, cosines, strict=True)]
    )
    study.array("cosines", cosines)
    study.array("update", [s.update for s in audit.snapshots])
    for rule in last.estimates:
        study.array(f"cosine/{rule}", [s.measures[rule][ga.ALL].cosine for s in audit.snapshots])
    study.figure("cosines", picture(names, cosines))
    for problem in dict.fromkeys(p for s in audit.snapshots for p in s.problems):
        study.criterion("the comparison means something", problem, "no problem", False)
    if not study.criteria:
        study.criterion("the comparison means something", "no problem", "no problem", True)
    print(f"written: {study.finish()}")
    if not all(c.holds for c in study.criteria):
        raise typer.Exit(1)


def picture(names: list[str], cosines: Any) -> Any:
    """The alignment matrix."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.2 + 0.7 * len(names), 1 + 0.6 * len(names)))
    axes = figure.subplots()
    image = axes.imshow(cosines, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (i, j), value in [((i, j), cosines[i, j]) for i in range(len(names)) for j in range(len(names))]:
        axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8)
    figure.colorbar(image, label="cosine")
    return figure

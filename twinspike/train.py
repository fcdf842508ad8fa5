"""Train a task's network and keep everything in one HDF5 file.

twinspike train --task digits --backend torch --rule bptt --seed 0 --out runs/digits.h5
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli, launching, spreading
from twinspike.beginning import Beginning, Fresh, Resumed, Wish
from twinspike.keeping import beside, check_beside, kept_if_begun, shown
from twinspike.run_settings import asked, fitting, own_data, read_config


def readout_of(settings: dict[str, Any], task: Any) -> list[str]:
    """Names of the readout's parameters. Raises UserError on one that the task's network doesn't have."""
    from neuro.compiler.parameters import parameters
    from neuro.options import hint

    with fitting(f"task '{settings['task']}'", settings["task_options"]):
        known = parameters(task.network(settings["seed"]))
    for name in task.readout:
        if name not in known:
            raise cli.UserError(
                f"task '{task.name}', readout: its network has no parameter '{name}'; {hint(name, known)}"
            )
    return list(task.readout)


def prepare(settings: dict[str, Any], task: Any) -> tuple[Any, Any]:
    """Compiled program, rule."""
    import backends
    from neuro import learning

    with fitting(f"task '{settings['task']}'", settings["task_options"]):
        network = task.network(settings["seed"])
    options = dict(settings["rule_options"])
    if options.get("scheduler") == "cosine" and "schedule_options" not in options:
        updates = sum(1 for _ in task.train_batches(_any_order(), settings["batch"])) * settings["epochs"]
        options["schedule_options"] = {"T_max": updates}
    rule = learning.get(settings["rule"], **options)
    refuse_processes(settings)
    if hasattr(rule, "attach"):  # what a rule adds to the network that it trains
        network = rule.attach(network)
    if settings.get("workers"):
        spreading.check_rule(settings["rule"], rule, settings["workers"])
    if settings.get("confirm"):  # a second backend, which runs an update's best candidates again
        if settings.get("workers"):
            again = spreading.spread_program(settings["confirm"], network, {}, settings, chunk=1)
        else:
            again = backends.get(settings["confirm"]).compile(network)
        rule = learning.get(settings["rule"], **options, confirm=again)
    if settings.get("workers"):
        with fitting(f"backend '{settings['backend']}'", settings["backend_options"]):
            return spreading.spread_program(settings["backend"], network, settings["backend_options"], settings), rule
    own = settings["backend_options"]
    if "device" in own:
        own = {**own, "device": launching.own_device(own["device"])}
    with fitting(f"backend '{settings['backend']}'", own):
        program = backends.get(settings["backend"]).compile(network, **own)
    return program, rule


def refuse_processes(settings: dict[str, Any]) -> None:
    """Raises UserError where several processes don't share batches."""
    if settings.get("processes", 1) == 1:
        return
    from neuro import learning
    from neuro.learning.gradient.gradient_rule import GradientRule

    rule = learning.get(settings["rule"], **settings.get("rule_options", {}))
    if settings.get("workers"):
        raise cli.UserError("--processes share a batch, and --workers candidates; leave one of them out")
    if not isinstance(rule, GradientRule):
        raise cli.UserError(
            f"rule '{settings['rule']}' follows no gradient of a batch that processes could share; spread its candidates with --workers {settings['processes']}, and leave --processes out"
        )


def check_patience(settings: dict[str, Any], task: Any) -> None:
    """Raises UserError where nothing says when to stop, or what stops can't be taken back."""
    from neuro.learning.loop import validation

    if not settings.get("patience"):
        return
    if validation(task) is None:
        raise cli.UserError(
            f"--patience looks at validation examples, and task '{task.name}' keeps none; leave it out, or use a task that does (task \"arrays\": valid = 0.1)"
        )
    if settings["rule_options"].get("quantise"):
        raise cli.UserError(
            "--patience takes earlier weights, and training for integers keeps the last ones; leave one of them out"
        )


def outcome(history: Any, stopped: bool) -> str:
    """What the run ended with. stopped: at the best epoch of the validation examples."""
    from neuro.learning.loop import VALID

    accuracy = [value for _, value in history["test_accuracy"]]
    if not stopped:
        return f"test accuracy {accuracy[-1]:.4f} after {len(accuracy)} epochs"
    valid = [value for _, value in history[VALID]]
    best = valid.index(max(valid))
    return f"test accuracy {accuracy[best]:.4f} of epoch {best + 1}, the best of {len(valid)} by validation ({valid[best]:.4f})"


def flossing(settings: dict[str, Any]) -> Any:
    """What comes before learning, None where nothing does. Raises UserError."""
    from neuro import learning
    from neuro.learning.loop import Before

    options = settings.get("floss_options", {})
    if not settings.get("floss"):
        if options:
            raise cli.UserError("floss_options say how to floss, and nothing says how long; give --floss UPDATES")
        return None
    with fitting("flossing", options):
        return Before(learning.get("flossing", **options), settings["floss"])


def processes_of(given: int | None, config: Path | None, out: Path, resume: bool) -> int:
    """How many processes a run is asked to have: by the command line, by its settings, or as many as it had."""
    found = given or (read_config(config).get("processes") if config is not None else None)
    if found is None and resume:
        from neuro.io.results import Run

        found = Run.stopped(out)[1][0]["config"].get("processes")
    return found or 1


def added(settings: dict[str, Any], task: Any, control: bool, quantise: str | None) -> dict[str, Any]:
    """What --control and --quantise add to the rule's options. Raises UserError."""
    if control and settings.get("floss"):
        raise cli.UserError(
            "--control trains the readout alone, and --floss changes the weights that it keeps; leave one out"
        )
    found: dict[str, Any] = {"trainable": readout_of(settings, task)} if control else {}
    if quantise:
        from neuro.export.quantisation.calibration import options_of

        found["quantise"] = options_of(quantise)
    return found


def check_rules(settings: dict[str, Any], program: Any, rule: Any, before: Any) -> None:
    """Raises UserError where a rule's options don't fit the program."""
    with fitting(f"rule '{settings['rule']}'", settings["rule_options"]):
        rule.init(program, None)
    if before is not None:
        with fitting("flossing", settings.get("floss_options", {})):
            before.rule.init(program, None)


def carry_out(begin: Beginning, task: Any, out: Path, tensorboard: Path | None = None) -> None:
    """Train, into the file of the run. Nothing is written before all that can be refused was. tensorboard: folder of folders, one a run."""
    import torch

    from neuro.learning.loop import Before, check_processes, metrics_of, train

    settings = begin.settings
    torch.set_num_threads(launching.own_threads(settings["threads"]))
    torch.manual_seed(settings["seed"])
    check_patience(settings, task)
    program, rule = prepare(settings, task)
    before = flossing(settings)
    for one in (rule, *((before.rule,) if before else ())):
        check_processes(one, program, task)
    if begin.fresh:
        check_rules(settings, program, rule, before)
    metrics = (*metrics_of(rule, task), *((Before.metric,) if before else ()))
    run, saved = begin.file(task, program, metrics)
    run = beside(run, tensorboard and tensorboard / out.stem)
    with (
        shown(f"{settings['task']}, {settings['rule']} on {settings['backend']}") as update,
        kept_if_begun(run, begin.fresh),
    ):
        train(
            task, program, rule, run, epochs=settings["epochs"], seed=settings["seed"], batch=settings["batch"],
            before=before, patience=settings.get("patience", 0), saved=saved, update=update,
        )  # fmt: skip
    if launching.first():
        print(f"{outcome(run.history, bool(settings.get('patience')))}; {out}")


def _any_order() -> Any:
    import numpy as np

    return np.random.default_rng(0)


def main(
    task: Annotated[str | None, typer.Option(help="what to learn; also module:Class, your own")] = None,
    network: Annotated[Path | None, typer.Option(help="your own network (.toml, .json), to learn --data")] = None,
    data: Annotated[Path | None, typer.Option(help="your own examples: .npz with x, y")] = None,
    answer: Annotated[str | None, typer.Option(help="with --data: population, or population.variable")] = None,
    backend: Annotated[str | None, typer.Option(help="what computes; auto: the fastest here")] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="what the backend computes on: cpu; with torch and native also cuda, cuda:1, or auto: a GPU where there is one"
        ),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="learning rule")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, data order, noise")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="passes over the training data")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="examples an update")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes for the candidates of black-box rules")] = None,
    engine: Annotated[str | None, typer.Option(help="of the workers: joblib, on this machine, or ray")] = None,
    address: Annotated[str | None, typer.Option(help="of a running cluster of Ray for the workers, or auto")] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="processes that share each batch of a gradient rule, as torchrun starts them"),
    ] = None,
    confirm: Annotated[str | None, typer.Option(help="backend that runs the best candidates again")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="epochs without a better validation metric after which it stops")
    ] = None,
    floss: Annotated[int | None, typer.Option(min=1, help="updates of gradient flossing before learning")] = None,
    quantise: Annotated[
        str | None, typer.Option(help="train for integers: binary, ternary, linear4, log4, ... or a target's name")
    ] = None,
    out: Annotated[Path, typer.Option(help="HDF5 file of the run")] = Path("runs/run.h5"),
    config: Annotated[Path | None, typer.Option(help="TOML or JSON file with any of the settings")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue a stopped run")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing file")] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="folder in which TensorBoard finds the metrics too, in one of the run's name")
    ] = None,
    control: Annotated[
        bool, typer.Option("--control", help="train the readout only: what learning inside must beat")
    ] = False,
) -> None:
    """Train a task's network; metrics, checkpoints and parameters go to one HDF5 file."""
    from twinspike.given import task_of

    cli.writable(out)
    check_beside(tensorboard)
    own = own_data(task, network, data, answer)
    given = {
        "task": task or (own and "arrays"), "task_options": own, "backend": backend, "rule": rule, "seed": seed, "epochs": epochs, "batch": batch,
        "workers": workers, "engine": engine, "address": address, "confirm": confirm, "floss": floss, "patience": patience,
    }  # fmt: skip
    if not launching.launched() and (number := processes_of(processes, config, out, resume)) > 1:
        if not resume:
            refuse_processes({**asked(config, given), "processes": number})
        return launching.start("train", number)
    resume, overwrite, done = launching.again(out, resume, overwrite)
    if done:
        return None
    if resume and overwrite:
        raise cli.UserError("--resume continues the file that --overwrite replaces; leave one of them out")
    places = {"device": device} if device else {}
    wish = Wish(out, config, given, own, places, processes, overwrite)
    begin: Beginning = Resumed(wish) if resume else Fresh(wish)
    spreading.check_workers(begin.settings)
    found = task_of(begin.settings, task or "", begin.name)
    begin.complete(found, added(begin.settings, found, control, quantise))
    carry_out(begin, found, out, tensorboard)

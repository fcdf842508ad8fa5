"""Weight and node perturbation against the closed-form learning curves and final errors, and in sequence on XOR.

Z: Zuege, Klos & Memmesheimer (2023): a linear readout whose weights learn from two errors a trial. J: Jabri & Flower (1991):
one weight at a time, through forwards that only run. Every weight change is made by the rules of the registry.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from twinspike.models import xor
from twinspike.models.reservoir import drawing
from twinspike.study import Study

MINUTES = 11  # from processor milliseconds a trial: 1.2 (wp), 2.2 (np), 3 to 5 on the reservoir; 0.65 s a run of XOR
M, T, SIGMA = 10, 100, 0.04
RULES = ("wp", "np")
FULL = {  # what needs thousands of trials: criterion -> wanted
    "Z1, Z2 final errors of both rules": "within 5 % of the formula",
    "Z1 ratio NP/WP, N_eff 50 and 100": "1.9 .. 2.1, 0.95 .. 1.05",
    "Z3 deviation from the curve until trial 2000": "<= 0.1",
    "Z4 trials to 1 %, and N_trial 10 against 50": "the formula (to 15 %)",
    "Z5 wp: spread of irrelevant weights, with and without decay": "the formula (to 10 %)",
    "Z6 NP/WP on the reservoir": ">= 5 with noise, 0.5 .. 2 without",
    "Z7 cosine of the mean step with the gradient": ">= 0.95",
    "J2, J4 XOR 2-4-1 on chips, 20 runs each": ">= 19 of 20; stuck weights: >= 11",
    "J3 XOR through Brian2 runs: epochs": "< 1000, as torch",
}


@dataclass(frozen=True)
class Theory:
    """Expected error after n trials of learning with E_opt `optimum`, `n_eff` inputs of mean square `strength`."""

    rule: str
    n_eff: int
    strength: float
    sigma_eff: float
    optimum: float = 0.0

    @property
    def rate(self) -> float:
        """The learning rate of fastest convergence."""
        return 1 / ((M * self.n_eff + 2) * self.strength)

    @property
    def start(self) -> float:
        return M / 2 * 0.01 * self.n_eff * self.strength + self.optimum

    @property
    def factor(self) -> float:
        """Of the excess error, a trial."""
        return 1 - 1 / (M * self.n_eff + 2)

    @property
    def final(self) -> float:
        n, eta, a2 = self.n_eff, self.rate, self.strength
        if self.rule == "wp":
            sigma2 = self.sigma_eff**2 / (a2 * n)
            b = sigma2 * eta**2 * a2**3 / 8 * (M**3 * n**3 + 6 * M**2 * n**2 + 8 * M * n)
        else:
            b = self.sigma_eff**2 * eta**2 * a2**2 / 8 * (M**3 * n * T + 6 * M**2 * n + 8 * M * n / T)
            b += eta**2 * a2**2 * M * n * self.optimum
        return self.optimum + b / (1 - self.factor)

    def after(self, trials: int) -> float:
        return float(self.final + (self.start - self.final) * self.factor**trials)

    @property
    def sigma(self) -> float:
        """Of the rule's noise, for equal power of what it adds to the outputs."""
        return self.sigma_eff / np.sqrt(self.strength * self.n_eff) if self.rule == "wp" else self.sigma_eff


@dataclass
class Curve:
    """Errors [trial] and the weights [input, output] after the trials asked for."""

    errors: Any
    weights: dict[int, Any]


def learn(
    rule: str, task: Any, seed: int, trials: int, keep: tuple[int, ...] = (), below: float = 0.0, **options: Any
) -> Curve:
    """Train on the torch backend; stops when the mean of 50 errors is below `below`."""
    import backends
    from neuro import learning
    from neuro.compiler import streams

    chosen = learning.get(rule, **options)
    network = task.network(seed)
    program = backends.get("torch").compile(chosen.attach(network) if hasattr(chosen, "attach") else network)
    state: Any = chosen.init(program)
    parameters: dict[str, Any] = {}
    errors, weights = np.zeros(trials), {}
    batches = iter(task.train_batches(streams.generator(seed, "data/0"), 1))
    for k in range(trials):
        parameters, state, metrics = chosen.step(program, parameters, state, next(batches), task)
        errors[k] = metrics["loss"]
        if k + 1 in keep:
            weights[k + 1] = parameters["weights.w"]
        if k >= 49 and errors[k - 49 : k + 1].mean() < below:
            return Curve(errors[: k + 1], weights)
    return Curve(errors, weights)


def analytic(active: int = 50, per_trial: int = 0, optimum: float = 0.0, trials: int = 20_000) -> Any:
    import tasks

    return tasks.get(
        "perturbation", active=active, per_trial=per_trial, optimum=optimum, trials=trials, bins_as="trials"
    )


def curves(study: Study, theory: Theory, runs: int, trials: int, keep: tuple[int, ...] = ()) -> list[Curve]:
    """Runs of one rule at the theory's learning rate and noise."""
    task = analytic(theory.n_eff, optimum=theory.optimum)
    options: dict[str, Any] = {"sigma": theory.sigma, "learning_rate": theory.rate}
    with study.progress(f"{theory.rule}, {theory.n_eff} inputs, optimum {theory.optimum:g}") as update:
        found = []
        for run in range(runs):
            found.append(learn(theory.rule, task, study.seed + run, trials, keep, **options))
            update(run + 1, runs, "")
    return found


def final_errors(study: Study) -> None:
    """Z1, Z2 and, from Z2's runs, Z5."""
    rows, measured = [], {}
    cases = [("Z1", 50, 0.0, 6000), ("Z1", 100, 0.0, 12_000), ("Z2", 50, 2.0, 6000)]
    for name, n_eff, optimum, trials in cases:
        for rule in RULES:
            theory = Theory(rule, n_eff, 100 / n_eff, SIGMA, optimum)
            found = curves(study, theory, 2, trials, keep=(1000, 3000, 6000))
            error = float(np.mean([c.errors[-1500:] for c in found]))
            measured[rule, n_eff, optimum] = error
            off = error / theory.final - 1
            rows.append((rule, n_eff, optimum, error, theory.final, f"{off:+.1%}"))
            wanted = f"within 5 % of {theory.final:.4g}"
            study.criterion(f"{name} {rule}, N_eff {n_eff}, E_opt {optimum:g}", error, wanted, abs(off) <= 0.05)
            if optimum:
                irrelevant(study, rule, found[0])
    study.table(
        "final error, mean of the last 1,500 trials", ("rule", "N_eff", "E_opt", "measured", "formula", "off"), rows
    )
    for n_eff, low, high in ((50, 1.9, 2.1), (100, 0.95, 1.05)):
        ratio = measured["np", n_eff, 0.0] / measured["wp", n_eff, 0.0]
        study.criterion(f"Z1 ratio NP/WP, N_eff {n_eff}", ratio, f"{low} .. {high}", low <= ratio <= high)


def irrelevant(study: Study, rule: str, curve: Curve) -> None:
    """Z5: weights of silent inputs."""
    spread = {k: float(w[50:].std()) for k, w in curve.weights.items()}
    if rule == "np":
        study.criterion("Z5 np: spread of irrelevant weights", max(spread.values()), "0", max(spread.values()) == 0)
        return
    for (trial, value), wanted in zip(spread.items(), (0.120, 0.173, 0.228), strict=True):
        holds = abs(value / wanted - 1) <= 0.1
        study.criterion(f"Z5 wp: spread of irrelevant weights, trial {trial}", value, f"{wanted} (to 10 %)", holds)


def held(study: Study) -> None:
    """Z5: what keeps irrelevant weights small."""
    theory = Theory("wp", 50, 2.0, SIGMA, 2.0)
    options: dict[str, Any] = {"sigma": theory.sigma, "learning_rate": theory.rate}
    task = analytic(optimum=2.0)
    kept = learn("wp", task, study.seed, 6000, (6000,), decay=1e-3, **options).weights[6000][50:].std()
    study.criterion("Z5 wp with decay 1e-3: spread at 6,000", float(kept), "0.07 +- 0.01", abs(kept - 0.07) <= 0.01)
    still = learn("wp0", task, study.seed, 1000, (1000,), **options).weights[1000][50:].std()
    study.criterion("Z5 wp0: spread of irrelevant weights", float(still), "0", still == 0)


def learning_curves(study: Study) -> None:
    """Z3; runs short enough to be quick are on the curve, too."""
    runs, marks = (5, (100, 200)) if study.quick else (10, (500, 1000, 2000))
    rows = []
    for rule in RULES:
        theory = Theory(rule, 50, 2.0, SIGMA)
        mean = np.mean([c.errors for c in curves(study, theory, runs, marks[-1] + 1)], axis=0)
        study.array(f"curve/{rule}", mean)
        off = [mean[k] / theory.after(k) - 1 for k in marks]
        rows.append((rule, *(f"{mean[k]:.3f} ({x:+.1%})" for k, x in zip(marks, off, strict=True))))
        worst = float(np.max(np.abs(off)))
        until = f"Z3 {rule}: largest deviation from the curve until trial {marks[-1]}"
        study.criterion(until, worst, "<= 0.1", worst <= 0.1)
    study.table(f"mean error of {runs} runs (deviation from the formula)", ("rule", *map(str, marks)), rows)


def subtasks(study: Study) -> None:
    """Z4."""
    rows, needed = [], {}
    for per_trial in (5, 10, 25, 50):
        for rule in RULES:
            width = 50 if rule == "wp" else per_trial
            strength = 100 / per_trial
            options: dict[str, Any] = {"sigma": 1e-6, "learning_rate": 1 / ((M * width + 2) * strength)}
            theory = float(np.log(0.01) / np.log(1 - per_trial / 50 / (M * width + 2)))
            task, cap = analytic(per_trial=per_trial), 20_000
            with study.progress(f"{rule}, {per_trial} of 50 inputs a trial"):
                trials = len(learn(rule, task, study.seed, cap, below=0.05, **options).errors)
            needed[rule, per_trial] = trials
            rows.append(
                (rule, per_trial, trials if trials < cap else f"> {cap}", theory, f"{trials / theory - 1:+.1%}")
            )
            if theory < cap:
                holds = abs(trials / theory - 1) <= 0.15
                study.criterion(
                    f"Z4 {rule}, N_trial {per_trial}: trials to 1 %", trials, f"{theory:.0f} (to 15 %)", holds
                )
            else:
                study.criterion(f"Z4 {rule}, N_trial {per_trial}: trials to 1 %", trials, f">= {cap}", trials >= cap)
    study.table(
        "subtasks: trials until the mean of 50 errors is 1 %", ("rule", "N_trial", "measured", "theory", "off"), rows
    )
    fall = needed["wp", 10] / needed["wp", 50]
    study.criterion("Z4 wp: N_trial 10 against 50", fall, "4.5 .. 6.5", 4.5 <= fall <= 6.5)
    change = abs(needed["np", 10] / needed["np", 50] - 1)
    study.criterion("Z4 np: N_trial 10 against 50", change, "< 0.1", change < 0.1)


def reservoir(study: Study) -> None:
    """Z6: only the readout learns; states come from one run of the reservoir."""
    found = drawing(study.seed)
    trials, rows, errors = 12_000, [], {}
    for sigma_eff in (1e-6, 5e-3):
        for rule in RULES:
            sigma = sigma_eff / np.sqrt(found.power) if rule == "wp" else sigma_eff
            with study.progress(f"reservoir, {rule}, {sigma_eff:g}"):
                curve = learn(rule, found, study.seed, trials, sigma=sigma, learning_rate=found.rate)
            errors[rule, sigma_eff] = float(curve.errors[-200:].mean())
            rows.append((rule, sigma_eff, errors[rule, sigma_eff]))
    title = f"reservoir drawing, {trials} trials, participation ratio {found.dimension:.2f}, reference line {found.line:.2e}"
    study.table(title, ("rule", "sigma_eff", "final error"), rows)
    noisy = errors["np", 5e-3] / errors["wp", 5e-3]
    quiet = errors["np", 1e-6] / errors["wp", 1e-6]
    study.criterion("Z6 NP/WP at sigma_eff 5e-3", noisy, ">= 5", noisy >= 5)
    study.criterion("Z6 NP/WP at sigma_eff 1e-6", quiet, "0.5 .. 2", 0.5 <= quiet <= 2)


def unbiased(study: Study) -> None:
    """Z7: mean step against the exact gradient; wp draws 100 directions an update."""
    task = analytic(active=50)
    batch = task.test_batch()
    signals, target = batch.inputs["signals"][:, 0], batch.targets[:, 0]
    exact = signals.T @ (0 - target) / T
    for rule, options, updates in (("wp", {"samples": 100, "sigma": 1e-4}, 200), ("np", {"sigma": 1e-4}, 10_000)):
        mean = mean_step(rule, task, study.seed, updates, **options)
        cosine = float(-(mean * exact).sum() / np.linalg.norm(mean) / np.linalg.norm(exact))
        draws = updates * int(options.get("samples", 1))
        study.criterion(
            f"Z7 {rule}: cosine of the mean of {draws} steps with the gradient", cosine, ">= 0.95", cosine >= 0.95
        )


def mean_step(rule: str, task: Any, seed: int, updates: int, **options: Any) -> Any:
    """Mean change of the weights over updates that all start from the network's own weights."""
    import backends
    from neuro import learning
    from neuro.compiler.parameters import values

    chosen = learning.get(rule, learning_rate=1.0, **options)
    network = task.network(seed)
    program = backends.get("torch").compile(chosen.attach(network) if hasattr(chosen, "attach") else network)
    start = values(network)
    total, batch, state = 0.0 * start["weights.w"], task.test_batch(), chosen.init(program)
    for update in range(updates):
        saved = {**chosen.save(chosen.init(program)), "updates": np.asarray(update)}
        state = chosen.load(program, saved)
        found, _, _ = chosen.step(program, start, state, batch, task)
        total += found["weights.w"] - start["weights.w"]
    return total / updates


def differences(study: Study) -> None:
    """J1: the error is the one that Taylor's series leaves out, which is proportional to the curvature at the weights.

    A fixed limit ("1e-3 at a perturbation of 1e-3") can't be asked for: what the series leaves out at 20 seeds' weights goes
    from 4e-5 to 1e-2, median 7.5e-4. The term after it changes the figure by the order of the perturbation, 1e-3.
    """
    seeds = range(study.seed, study.seed + 20)
    for sampling, power in (("baseline", 1), ("antithetic", 2)):
        large, small = (np.array([xor.gradient_error(sampling, h, s) for s in seeds]) for h in (1e-3, 5e-4))
        expected = np.array([xor.expected_error(sampling, 1e-3, s) for s in seeds])
        study.array(f"J1/{sampling}", np.stack([large, small, expected]))
        off = float(np.abs(large / expected - 1).max())
        named = f"J1 {sampling}: error at 1e-3 over the series' next term, farthest from 1 of 20 seeds"
        study.criterion(named, 1 + off, "1 (to 1 %)", off <= 0.01)
        ratios = large / small
        worst = float(ratios[np.abs(ratios / 2**power - 1).argmax()])
        named = f"J1 {sampling}: error at 1e-3 over 5e-4, worst of 20 seeds"
        study.criterion(named, worst, f"{2**power} (to 1 %)", abs(worst / 2**power - 1) <= 0.01)


def sequential(study: Study) -> None:
    """J2 to J4 on XOR. Seconds are shown, not judged: they say more of the machine and of what a run costs than of the rule,
    whose cost is forward passes: one more than there are weights, an epoch and pattern.
    """
    rows: list[tuple[Any, ...]] = []
    runs = 2 if study.quick else 20
    chips: list[tuple[str, dict[str, Any]]] = [("float", {}), *((f"{b} bit", {"bits": b}) for b in (12, 8, 6))]
    chips += [("8 bit, 10 % gain mismatch", {"bits": 8, "mismatch": 0.1})]
    chips += [("8 bit, 10 % gain mismatch, 2 stuck", {"bits": 8, "mismatch": 0.1, "stuck": 2})]
    for label, chip in chips[: 1 if study.quick else None]:
        start = time.process_time()
        with study.progress(f"XOR, {label}"):
            found = [xor.solve(study.seed + run, **chip) for run in range(runs)]
        seconds = time.process_time() - start
        solved = sum(s.epochs < xor.CAP for s in found)
        passes = float(np.median([s.passes for s in found]))
        rows.append((label, f"{solved}/{runs}", float(np.median([s.epochs for s in found])), passes, seconds))
        fewest = runs // 2 + 1 if "stuck" in chip else int(np.ceil(0.95 * runs))  # no number is specified for faults
        criterion = "J4" if "mismatch" in chip else "J2"
        wanted, measured = f">= {fewest} of {runs}", f"{solved} of {runs}"
        study.criterion(f"{criterion} XOR 2-4-1, {label}: solved", measured, wanted, solved >= fewest)
        if not chip:
            each = max(s.passes / min(s.epochs + 1, xor.CAP) / 4 for s in found)
            limit = xor.WEIGHTS + 1
            study.criterion("J2 forward passes an epoch and pattern, at most", each, f"{limit}", each == limit)
    header = ("weights", "solved", "median epochs", "forward passes", "processor seconds")
    study.table("XOR 2-4-1, one weight at a time", header, rows)
    if study.quick:
        return
    brian = xor.solve(study.seed, backend="brian2").epochs
    study.criterion("J3 XOR through Brian2 runs: epochs", brian, "< 1000, as torch", brian < xor.CAP)


def quick(study: Study) -> None:
    """What hundreds of trials show: the start of the curves, what stays exactly zero, differences, XOR."""
    learning_curves(study)
    for rule in ("wp0", "np"):
        theory = Theory("wp" if rule == "wp0" else rule, 50, 2.0, SIGMA, 2.0)
        options: dict[str, Any] = {"sigma": theory.sigma, "learning_rate": theory.rate}
        spread = learn(rule, analytic(optimum=2.0), study.seed, 100, (100,), **options).weights[100][50:].std()
        study.criterion(f"Z5 {rule}: spread of irrelevant weights", float(spread), "0", spread == 0)
    differences(study)
    sequential(study)
    for name, wanted in FULL.items():
        study.unmeasured(name, wanted)


def run(study: Study) -> None:
    if study.quick:
        quick(study)
        return
    final_errors(study)
    held(study)
    learning_curves(study)
    subtasks(study)
    reservoir(study)
    unbiased(study)
    differences(study)
    sequential(study)

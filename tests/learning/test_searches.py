"""Searches against references written down here from the papers' formulas, loop by loop, on the same random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from neuro.learning.search.full_cma import FullCMA
from neuro.learning.search.searches import PGPE, SNES, Search, SeparableCMA, Smoothing, State

N, UPDATES = 7, 40
Array = np.ndarray
RATES = 10.0 ** np.linspace(0, 2, N)


def bowl(x: Array) -> float:
    """An ellipsoid with axes from 1 to 10, around 1."""
    return float(np.sum(RATES * (x - 1) ** 2))


def draw(update: int) -> np.random.Generator:
    return np.random.default_rng([3, update])


def start() -> tuple[Array, Array]:
    return np.linspace(-2, 3, N), np.linspace(0.3, 0.9, N)


def along(search: Search, updates: int = UPDATES) -> Iterator[tuple[State, Array]]:
    """The search's state and the losses of its candidates, after each update."""
    state = search.init(*start(), draw)
    for _ in range(updates):
        candidates, directions = search.ask(state)
        losses = np.array([bowl(c) for c in candidates])
        search.tell(state, directions, losses)
        state.updates += 1
        yield state, losses


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-9, atol=1e-12)


def mean_of(state: State) -> Array:
    return state.mean.detach().numpy()


# -- natural gradients and covariance -------------------------------------------------------------------------


def test_snes_is_table_2_of_wierstra_et_al() -> None:
    """Wierstra et al. (2014), J Mach Learn Res 15:949, algorithm 6 and table 1."""
    mean, sigma = start()
    count = 4 + int(np.floor(3 * np.log(N)))
    raw = [max(0.0, np.log(count / 2 + 1) - np.log(k)) for k in range(1, count + 1)]
    utilities = [u / sum(raw) - 1 / count for u in raw]
    for g, (state, losses) in enumerate(along(SNES())):
        s = draw(g).standard_normal((count, N))
        z = [mean + sigma * row for row in s]
        order = sorted(range(count), key=lambda k: bowl(z[k]))
        close(losses, [bowl(x) for x in z])
        by_mean, by_sigma = np.zeros(N), np.zeros(N)
        for utility, k in zip(utilities, order, strict=True):
            by_mean += utility * s[k]
            by_sigma += utility * (s[k] ** 2 - 1)
        mean = mean + 1.0 * sigma * by_mean
        sigma = sigma * np.exp((3 + np.log(N)) / (5 * np.sqrt(N)) / 2 * by_sigma)
        close(mean_of(state), mean)
        close(state.arrays["sigma"], sigma)
    assert bowl(mean) < 1e-2 * bowl(start()[0])


@pytest.mark.parametrize(("candidates", "far"), [(0, 1.0), (12, 1.0), (0, 1e3)])
def test_separable_cma_is_the_full_update_kept_diagonal(candidates: int, far: float) -> None:
    """Hansen (2016), arXiv:1604.00772, table 1 and equations 24 to 47, on full matrices of which only the diagonal is kept; rates
    of the covariance times (n + 2) / 3, Ros & Hansen (2008), PPSN X, p. 296.
    """
    mean, scale = start()
    mean, covariance, step = mean * far, np.diag(scale**2), 1.0
    count = candidates or 4 + int(np.floor(3 * np.log(N)))
    best = count // 2
    raw = np.array([np.log((count + 1) / 2) - np.log(i) for i in range(1, best + 1)])
    w = raw / raw.sum()
    effective = w.sum() ** 2 / (w**2).sum()
    c_sigma = (effective + 2) / (N + effective + 5)
    d_sigma = 1 + 2 * max(0, np.sqrt((effective - 1) / (N + 1)) - 1) + c_sigma
    c_c = (4 + effective / N) / (N + 4 + 2 * effective / N)
    c_1 = (N + 2) / 3 * 2 / ((N + 1.3) ** 2 + effective)
    c_mu = min(1 - c_1, (N + 2) / 3 * 2 * (effective - 2 + 1 / effective) / ((N + 2) ** 2 + effective))
    expected = np.sqrt(N) * (1 - 1 / (4 * N) + 1 / (21 * N**2))
    p_sigma, p_c, stalls = np.zeros(N), np.zeros(N), []
    search = SeparableCMA(candidates)
    state = search.init(mean, scale, draw)
    for g in range(UPDATES):
        asked, directions = search.ask(state)
        search.tell(state, directions, np.array([bowl(x) for x in asked]))
        state.updates += 1
        root = np.linalg.cholesky(covariance)
        y = [root @ z for z in draw(g).standard_normal((count, N))]
        x = [mean + step * v for v in y]
        chosen = [y[k] for k in sorted(range(count), key=lambda k: bowl(x[k]))[:best]]
        middle = sum(a * b for a, b in zip(w, chosen, strict=True))
        mean = mean + step * middle
        whitened = np.linalg.solve(root, middle)
        p_sigma = (1 - c_sigma) * p_sigma + np.sqrt(c_sigma * (2 - c_sigma) * effective) * whitened
        length = np.linalg.norm(p_sigma)
        h = float(length / np.sqrt(1 - (1 - c_sigma) ** (2 * (g + 1))) < (1.4 + 2 / (N + 1)) * expected)
        p_c = (1 - c_c) * p_c + h * np.sqrt(c_c * (2 - c_c) * effective) * middle
        rank_mu = sum(a * np.outer(b, b) for a, b in zip(w, chosen, strict=True))
        lost = (1 - h) * c_c * (2 - c_c)
        covariance = (1 + c_1 * lost - c_1 - c_mu) * covariance + c_1 * np.outer(p_c, p_c) + c_mu * rank_mu
        covariance = np.diag(np.diag(covariance))
        step = step * np.exp(min(1.0, c_sigma / d_sigma * (length / expected - 1)))
        stalls.append(h == 0)
        close(mean_of(state), mean)
        close(state.arrays["variance"], np.diag(covariance))
        close(state.arrays["step"], step)
    assert any(stalls) and not all(stalls)


def test_full_cma_is_the_package_on_the_same_numbers() -> None:
    cma = pytest.importorskip("cma")
    mean, scale = start()
    current = {"random": draw(0)}
    options = {"verbose": -9, "seed": np.nan, "randn": lambda *shape: current["random"].standard_normal(shape)}
    own = cma.CMAEvolutionStrategy(np.zeros(N), 1.0, options)
    for g, (state, losses) in enumerate(along(FullCMA(), 15)):
        current["random"] = draw(g)
        asked = own.ask()
        told = [bowl(mean + scale * a) for a in asked]
        own.tell(asked, told)
        close(losses, told)
        close(mean_of(state), mean + scale * own.mean)


# -- gradients of a smoothed loss -----------------------------------------------------------------------------


def ranks(losses: Array) -> Array:
    """Centred ranks: Salimans et al. (2017), section 2."""
    return (rankdata(losses) - 1) / (len(losses) - 1) - 0.5


def step_by_step(search: Any, gradient: Callable[[int, Array], Array], rate: Callable[[int], float]) -> None:
    """Plain gradient descent of a reference beside the search."""
    mean = start()[0]
    for g, (state, _) in enumerate(along(search, 10)):
        mean = mean - rate(g) * gradient(g, mean)
        close(mean_of(state), mean)


@pytest.mark.parametrize("shaping", ["none", "ranks", "standardised"])
def test_es_is_mirrored_sampling(shaping: str) -> None:
    """Salimans et al. (2017), arXiv:1703.03864: the mean of (F(m + s e) - F(m - s e)) e / (2 s)."""
    scale = start()[1]

    def gradient(g: int, mean: Array) -> Array:
        e = draw(g).standard_normal((6, N))
        losses = np.array([bowl(mean + sign * scale * row) for sign in (1, -1) for row in e])
        if shaping == "ranks":
            losses = ranks(losses)
        elif shaping == "standardised":
            losses = (losses - losses.mean()) / losses.std()
        total = np.zeros(N)
        for i, row in enumerate(e):
            total += (losses[i] - losses[6 + i]) / 2 * row / scale
        return total / 6

    step_by_step(Smoothing(6, shaping=shaping, optimiser="sgd", learning_rate=1e-3), gradient, lambda _: 1e-3)


def test_spsa_has_spalls_gains() -> None:
    """Spall (1998), Johns Hopkins APL Tech Dig 19:482: a / (A + k + 1)^alpha and c / (k + 1)^gamma, signs as directions.

    Its a and c are such that the first gains are the learning rate and sigma.
    """
    scale, big, alpha, gamma = start()[1], 20.0, 0.602, 0.101

    def gradient(g: int, mean: Array) -> Array:
        delta = np.where(draw(g).standard_normal((1, N)) < 0, -1.0, 1.0)[0]
        c = scale / (g + 1) ** gamma
        return (bowl(mean + c * delta) - bowl(mean - c * delta)) / (2 * c * delta)

    search = Smoothing(
        1,
        directions="signs",
        optimiser="sgd",
        learning_rate=1e-3,
        learning_power=alpha,
        sigma_power=gamma,
        stability=big,
    )
    step_by_step(search, gradient, lambda g: 1e-3 * (big + 1) ** alpha / (big + g + 1) ** alpha)


def test_weight_perturbation_takes_the_plain_loss_as_baseline() -> None:
    """Zuege, Klos & Memmesheimer (2023), Phys Rev X 13:021006, equation 2: (E(w + xi) - E(w)) xi / sigma^2."""
    scale = start()[1]

    def gradient(g: int, mean: Array) -> Array:
        xi = scale * draw(g).standard_normal((3, N))
        return sum((bowl(mean + row) - bowl(mean)) * row / scale**2 for row in xi) / 3

    search = Smoothing(3, sampling="baseline", optimiser="sgd", learning_rate=1e-4)
    step_by_step(search, gradient, lambda _: 1e-4)


def test_plain_sampling_and_decay() -> None:
    scale, mean = start()[1], start()[0]
    search = Smoothing(5, sampling="plain", optimiser="sgd", learning_rate=1e-4, decay=0.1)
    for g, (state, _) in enumerate(along(search, 5)):
        e = draw(g).standard_normal((5, N))
        mean = (mean - 1e-4 * sum(bowl(mean + scale * row) * row / scale for row in e) / 5) * 0.9
        close(mean_of(state), mean)


def test_finite_differences_move_one_number_at_a_time() -> None:
    scale = start()[1]

    def gradient(g: int, mean: Array) -> Array:
        return np.array([(bowl(mean + scale * axis) - bowl(mean)) / scale[i] for i, axis in enumerate(np.eye(N))])

    search = Smoothing(directions="axes", sampling="baseline", optimiser="sgd", learning_rate=1e-3)
    step_by_step(search, gradient, lambda _: 1e-3)


@pytest.mark.parametrize(("shaping", "largest"), [("ranks", 10.0), ("ranks", 0.002), ("none", 1e9)])
def test_pgpe_moves_mean_and_deviations_along_the_likelihood(shaping: str, largest: float) -> None:
    """Sehnke et al. (2010), Neural Networks 23:551, equations 13 to 16, for losses: rewards with the sign turned.

    Mean: (r+ - r-) / 2 times epsilon over sigma^2, as of a gradient. Sigma: ((r+ + r-) / 2 - b) (epsilon^2 - sigma^2) / sigma
    times the rate, b the mean reward, at most a share `largest` at once.
    """
    (mean, sigma), rate, count = start(), 0.01 if shaping == "ranks" else 1e-6, 6
    search = PGPE(count, shaping, "sgd", 1e-3, rate, largest)
    limited = 0
    for g, (state, _) in enumerate(along(search, 15)):
        epsilon = draw(g).standard_normal((count, N)) * sigma
        losses = np.array([bowl(mean + sign * row) for sign in (1, -1) for row in epsilon])
        rewards = -(ranks(losses) if shaping == "ranks" else losses)
        baseline = rewards.mean()
        by_mean, by_sigma = np.zeros(N), np.zeros(N)
        for i, row in enumerate(epsilon):
            better, worse = rewards[i], rewards[count + i]
            by_mean += (better - worse) / 2 * row / sigma**2 / count
            by_sigma += ((better + worse) / 2 - baseline) * (row**2 - sigma**2) / sigma / count
        mean = mean + 1e-3 * by_mean
        limited += np.sum(np.abs(rate * by_sigma) > largest * sigma)
        sigma = sigma + np.clip(rate * by_sigma, -largest * sigma, largest * sigma)
        close(mean_of(state), mean)
        close(state.arrays["sigma"], sigma)
    assert (limited > 0) == (largest < 1) and np.abs(sigma / start()[1] - 1).max() > 1e-3


# -- shaping by ranks, cost of weights, standardising: Schmidgall (2020), arXiv 2006.05832 ---------------------------

PUBLISHED = {"shaping": "ranks", "weight_cost": 0.01, "standardise": True}


def published(returns: Array, members: Array, cost: float) -> Array:
    """The published order, for returns: ranks, then the mean square of each member's numbers is subtracted, then z-scored."""
    n = len(returns)
    u = np.empty(n)
    for r, k in enumerate(np.argsort(-returns)):
        u[k] = ((n / 2 - r) / (n / 2)) / 2
    u = u - cost * np.mean(members**2, axis=1)
    return (u - u.mean()) / u.std()


def quadratic(x: Array) -> float:
    return float(np.sum(np.array([1.0, 3.0, 0.5]) * (x - np.array([1.0, -2.0, 0.5])) ** 2))


def test_shaping_is_the_published_one_and_its_order_matters() -> None:
    """Our ranks are 1/(n - 1) apart, the published ones 1/n: a cost that is larger by that factor is the same one."""
    n, scale = 12, np.full(N, 0.4)
    search = Smoothing(n // 2, shaping="ranks", weight_cost=0.05 * n / (n - 1), standardise=True, optimiser="sgd")
    state = search.init(start()[0], scale, draw)
    members, directions = search.ask(state)
    losses = np.array([bowl(m) for m in members])
    u = published(-losses, members, 0.05)
    close(search.judged(state, directions, losses), -u)
    epsilon = np.concatenate([scale * directions, -scale * directions])
    close(search.estimate(state, directions, losses), -(epsilon.T @ u) / (n * scale**2))  # of a loss, which falls
    other = Smoothing(n // 2, shaping="standardised", weight_cost=0.05, optimiser="sgd")
    assert np.abs(other.judged(state, directions, losses) + u).max() > 0.1
    assert np.abs(published(-losses, members, 0.05) - published(-losses, members, 0.0)).max() > 0.01


def test_the_gradient_of_a_quadratic_is_found() -> None:
    """Population 200 in 3 dimensions: the cosine is expected at sqrt(100/104), and above 0.95 in more than 99 of 100 draws."""
    true = 2 * np.array([1.0, 3.0, 0.5]) * (0.0 - np.array([1.0, -2.0, 0.5]))
    cosines = []
    for seed in range(200):
        search = Smoothing(100, **PUBLISHED)
        state = search.init(
            np.zeros(3), np.full(3, 0.05), lambda update, seed=seed: np.random.default_rng([seed, update])
        )
        members, directions = search.ask(state)
        found = search.estimate(state, directions, np.array([quadratic(m) for m in members]))
        cosines.append(found @ true / np.linalg.norm(found) / np.linalg.norm(true))
    assert np.mean(np.array(cosines) > 0.95) > 0.98 and np.mean(cosines) == pytest.approx(np.sqrt(100 / 104), abs=0.01)


def test_antithetic_pairs_sum_to_zero_and_ranks_know_no_scale() -> None:
    search = Smoothing(8, **PUBLISHED)
    state = search.init(start()[0], np.full(N, 0.3), draw)
    members, directions = search.ask(state)
    close(members[:8] + members[8:], np.broadcast_to(2 * start()[0], (8, N)))
    losses = np.array([bowl(m) for m in members])
    first = search.estimate(state, directions, losses)
    for change in (np.exp, np.cbrt, lambda x: 1e6 * x - 3):
        np.testing.assert_array_equal(search.estimate(state, directions, change(losses / 1000)), first)
    assert not np.allclose(search.estimate(state, directions, -losses), first)


def test_equal_losses_move_nothing_but_the_cost() -> None:
    for cost in (0.0, 0.01):
        search = Smoothing(4, shaping="ranks", weight_cost=cost, standardise=True)
        state = search.init(start()[0], np.full(N, 0.3), draw)
        _, directions = search.ask(state)
        assert search.estimate(state, directions, np.ones(8)).any() == (cost > 0)


def test_l2_and_options_of_the_optimiser() -> None:
    """What is added to the gradient goes through Adam with its own betas; by hand for three updates."""
    mean, scale = start()
    search = Smoothing(3, l2=0.2, learning_rate=0.05, optimiser_options={"betas": [0.8, 0.99]})
    first, second = np.zeros(N), np.zeros(N)
    for g, (state, _) in enumerate(along(search, 3)):
        e = draw(g).standard_normal((3, N))
        slope = sum((bowl(mean + scale * r) - bowl(mean - scale * r)) / 2 * r / scale for r in e) / 3 + 0.2 * mean
        first, second = 0.8 * first + 0.2 * slope, 0.99 * second + 0.01 * slope**2
        up, down = first / (1 - 0.8 ** (g + 1)), np.sqrt(second / (1 - 0.99 ** (g + 1)))
        mean = mean - 0.05 * up / (down + 1e-8)
        close(mean_of(state), mean)


def test_all_of_it_continues_to_the_same_numbers() -> None:
    """A state that is put together again from what is kept of it."""
    from neuro.learning.common import optimisers

    search = Smoothing(4, l2=0.1, **PUBLISHED, optimiser_options={"betas": (0.99, 0.999)})
    states = [state for state, _ in along(search, 6)]
    whole = mean_of(states[-1]).copy()
    for state, _ in along(search, 3):
        kept = mean_of(state).copy(), optimisers.arrays(state.optimiser)
    again = search.init(kept[0], start()[1], draw)
    optimisers.restore(again.optimiser, kept[1])
    search.restore(again, {}, 3)
    for _ in range(3):
        members, directions = search.ask(again)
        search.tell(again, directions, np.array([bowl(m) for m in members]))
        again.updates += 1
    np.testing.assert_array_equal(mean_of(again), whole)


def test_options_that_do_not_fit_are_refused() -> None:
    from neuro import learning

    for options, said in (
        ({"optimiser_options": {"beta": 0.9}}, "optimiser 'adam' has no 'beta'; did you mean 'betas'"),
        ({"standardise": "yes"}, "standardise='yes'"),
        ({"episodes": "new"}, "episodes 'new'; use one of common, own"),
        ({"episodes": "own", "confirm": object()}, "episodes='own': who confirms"),
    ):
        with pytest.raises(learning.UnknownRuleError, match=said):
            learning.get("es", **options)

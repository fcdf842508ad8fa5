"""What a sweep's file may say, and which trials it asks for; nothing is trained here."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.own_data import files
from twinspike import cli
from twinspike.sweeping.drawing import drawn, listed
from twinspike.sweeping.folder import Folder
from twinspike.sweeping.plans import Listing, Searching
from twinspike.sweeping.spec import Best, Spec, check, read

GRID = 'task = "digits"\n[task_options]\nhidden = 6\n[grid]\nseed = [0, 1]\n"rule_options.learning_rate" = [0.1, 0.2, 0.3]\n'
OVER = "rule_options.learning_rate = {loguniform = [1e-4, 1.0]}\ntask_options.hidden = {int = [4, 64]}\nbatch = {choice = [8, 16]}\n"
SAMPLES = f"[samples]\ncount = 8\nseed = 5\n[samples.over]\n{OVER}"
SEARCH = f"[search]\ntrials = 14\nat_once = 3\nseed = 2\noptions = {{n_startup_trials = 4}}\n[search.over]\n{OVER}"


def spec(folder: Path, text: str) -> Spec:
    path = folder / "sweep.toml"
    path.write_text(text)
    return read(path)


def names(folder: Path, text: str, share: tuple[int, int] = (0, 1), keep: bool = True) -> list[str]:
    found, place = spec(folder, text), folder / "out"
    place.mkdir(exist_ok=True)
    known = Folder(place)
    plan = Listing(found, known, share)
    if keep:
        known.write(found)
    return [t.name for t in plan.trials()]


def test_a_grid_is_the_product(tmp_path: Path) -> None:
    found = spec(tmp_path, GRID)
    assert found.swept == ("seed", "rule_options.learning_rate")
    assert list(listed(found)) == [
        {"seed": s, "rule_options.learning_rate": r} for s in (0, 1) for r in (0.1, 0.2, 0.3)
    ]
    settings = found.settings({"seed": 1, "rule_options.learning_rate": 0.2})
    own = {"task": "digits", "task_options": {"hidden": 6}, "seed": 1, "rule_options": {"learning_rate": 0.2}}
    assert settings == {"threads": 1, **own}
    assert found.base == {"task": "digits", "task_options": {"hidden": 6}}


def test_samples_do_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    many = list(listed(spec(tmp_path, SAMPLES)))
    assert many[:3] == list(listed(spec(tmp_path, SAMPLES.replace("count = 8", "count = 3"))))
    fewer = {n: v for n, v in spec(tmp_path, SAMPLES).samples.over.items() if n != "batch"}  # type: ignore[union-attr]
    assert drawn(5, 2, fewer) == {n: v for n, v in many[2].items() if n != "batch"}
    assert len({json.dumps(m) for m in many}) == 8 and drawn(6, 2, fewer) != drawn(5, 2, fewer)
    draws = [drawn(0, k, spec(tmp_path, SAMPLES).samples.over) for k in range(400)]  # type: ignore[union-attr]
    logs = [math.log10(d["rule_options.learning_rate"]) for d in draws]
    assert -4 <= min(logs) < -3.9 and -0.1 < max(logs) <= 0 and abs(sum(logs) / 400 + 2) < 0.2
    hidden = {d["task_options.hidden"] for d in draws}
    assert min(hidden) == 4 and max(hidden) == 64 and all(type(h) is int for h in hidden)
    assert {d["batch"] for d in draws} == {8, 16}


def test_a_grid_within_samples(tmp_path: Path) -> None:
    found = list(listed(spec(tmp_path, GRID.replace('"rule_options.learning_rate" = [0.1, 0.2, 0.3]', "") + SAMPLES)))
    assert [c["seed"] for c in found] == [0, 1] * 8 and found[0]["batch"] == found[1]["batch"]


@pytest.mark.parametrize("name", ["\"rule_options.learning_rates.'*.tau_*'\"", 'rule_options.learning_rates."*.tau_*"'])
def test_what_has_dots_itself(name: str, tmp_path: Path) -> None:
    """In quotes within the name, or as TOML writes it."""
    grid = spec(tmp_path, f"[grid]\n{name} = [0.5, 1.0]\n")
    samples = spec(tmp_path, f"[samples]\ncount = 2\n[samples.over]\n{name} = {{choice = [0.5, 1.0]}}\n")
    for found in (grid, samples):
        assert found.swept == ("rule_options.learning_rates.'*.tau_*'",)
        for chosen in listed(found):
            settings = found.settings(chosen)
            assert settings["rule_options"] == {"learning_rates": {"*.tau_*": chosen[found.swept[0]]}}
            check(found, settings, "")


WRONG: dict[str, tuple[str, str]] = {
    "no sweep": ('task = "digits"\n', r"sweeps over nothing; give it a table \[grid\], \[samples\] or \[search\]"),
    "an empty grid": ("[grid]\n", "sweeps over nothing"),
    "no table": ("grid = 3\n", r"grid: 3 is not a table: \[grid\]"),
    "no list": ("[grid]\nseed = 3\n", r"\[grid\], seed: 3 is no list of values"),
    "no value": ("[grid]\nseed = []\n", "is no list of values"),
    "no setting": ("[grid]\nsede = [1]\n", "'sede', which is no setting; did you mean 'seed'"),
    "no parts": ("[grid]\nseed.x = [1]\n", "seed has no parts; task_options"),
    "a part and the whole": ('[grid]\ntask_options = [{}]\n"task_options.a" = [1]\n', "leave one of them out"),
    "twice": ("[grid]\nseed = [1]\n[samples]\ncount = 2\nover = {seed = {int = [0, 9]}}\n", "over seed twice"),
    "twice in one table": ('[grid]\nrule_options.a = [1]\n"rule_options.a" = [2]\n', "rule_options.a stands there twice"),
    "half a quote": ("[grid]\n\"rule_options.a.'b\" = [1]\n", "is no setting's name; write table.option"),
    "no name": ('[grid]\n"rule_options..a" = [1]\n', "is no setting's name"),
    "the folder": ('[grid]\nout = ["a.h5"]\n', "'out', which is no setting"),
    "a date": ("[grid]\nseed = [2024-01-01]\n", "neither text, number, flag, list nor table"),
    "too many": (f"[grid]\nseed = {list(range(400))}\nbatch = {list(range(1, 400))}\n", "159600 trials, more than"),
    "both": (f"{SEARCH}[grid]\nseed = [1]\n", r"chooses all settings itself; leave \[grid\] and \[samples\] out"),
    "no count": ("[samples]\n[samples.over]\nseed = {int = [1, 2]}\n", r"\[samples\]: option 'count' is missing"),
    "a count of none": ("[samples]\ncount = 0\n[samples.over]\nseed = {int = [1, 2]}\n", "count: 0 is not positive"),
    "another word": ("[search]\ntrails = 3\n[search.over]\nseed = {int = [1, 2]}\n", "did you mean 'trials'"),
    "nothing drawn": ("[samples]\ncount = 1\n[samples.over]\nseed = 3\n", r"write seed = \{uniform"),
    "drawn otherwise": ("[samples]\ncount = 1\n[samples.over]\nseed = {unifrom = [1, 2]}\n", "did you mean 'uniform'"),
    "no interval": ("[samples]\ncount = 1\n[samples.over]\nseed = {int = [2, 1]}\n", "two whole numbers, the lower"),
    "fractions": ("[samples]\ncount = 1\n[samples.over]\nseed = {int = [0.5, 1]}\n", "two whole numbers"),
    "a logarithm of 0": ("[samples]\ncount = 1\n[samples.over]\nseed = {loguniform = [0, 1]}\n", "are positive"),
    "no choice": ("[samples]\ncount = 1\n[samples.over]\nseed = {choice = []}\n", "choice among nothing"),
    "no direction": (f'{GRID}[best]\ndirection = "up"\n', r"\[best\]: direction='up'; it takes .*maximize" ),
    "no best": (f"{GRID}[best]\nmetrics = 3\n", r"\[best\]: there is no option 'metrics'; did you mean 'metric'"),
    "not TOML": ("[grid", "is not TOML"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_is_wrong_is_refused_by_name(what: str, tmp_path: Path) -> None:
    text, wrong = WRONG[what]
    with pytest.raises(cli.UserError, match=wrong):
        spec(tmp_path, text)


UNFIT: dict[str, tuple[str, str]] = {
    "a key": ("epoch = 3\n", "unknown key 'epoch'"),
    "a kind": ('epochs = "three"\n', "epochs: 'three' is not a whole number"),
    "a task's option": ("[task_options]\nhiden = 3\n", "task 'digits': there is no option 'hiden'; did you mean 'hidden'"),
    "a rule's option": ('[rule_options]\nlearning_rate = "fast"\n', "rule 'bptt': learning_rate="),
    "a flag": ("control = 3\n", "control=3; it takes True or False"),
    "somebody's code": ('task = "mine:Task"\n', "code that no file may ask for; if it is yours, give --task mine:Task"),
    "files that don't belong together": ('network = "sweep.toml"\n', "--network and --data belong together"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNFIT)
def test_settings_that_do_not_fit_are_refused_before_anything_runs(what: str, tmp_path: Path, monkeypatch: Any) -> None:
    text, wrong = UNFIT[what]
    monkeypatch.chdir(tmp_path)
    found = spec(tmp_path, f"{text}[grid]\nseed = [1]\n")
    with pytest.raises(cli.UserError, match=wrong):
        check(found, found.settings({"seed": 1}), "")


def test_a_value_within_what_is_no_table(tmp_path: Path) -> None:
    found = spec(tmp_path, '[rule_options]\na = 3\n[grid]\n"rule_options.a.b" = [1]\n')
    with pytest.raises(cli.UserError, match="its a is no table; name a itself"):
        found.settings({"rule_options.a.b": 1})


# -- the folder ---------------------------------------------------------------------------------------------------


def test_a_changed_file_keeps_the_names_of_its_trials(tmp_path: Path) -> None:
    before = names(tmp_path, GRID)
    assert [n.partition("-")[0] for n in before] == [f"{k:04d}" for k in range(6)]
    after = names(tmp_path, GRID.replace("[0, 1]", "[7, 1]"))
    assert after[3:] == before[3:] and [n.partition("-")[0] for n in after[:3]] == ["0006", "0007", "0008"]
    assert names(tmp_path, GRID) == before  # back again, under the same names
    assert names(tmp_path, GRID.replace("hidden = 6", "hidden = 7"), keep=False)[0].startswith("0009")


def test_shares_are_all_trials_once(tmp_path: Path) -> None:
    shares = [names(tmp_path, GRID, (k, 4)) for k in range(4)]
    assert sorted(n for share in shares for n in share) == sorted(names(tmp_path, GRID))
    assert [len(s) for s in shares] == [2, 2, 1, 1]


@pytest.mark.parametrize("change", ["schema", "name", "settings", "text", "list"])
def test_a_damaged_folder_is_refused(change: str, tmp_path: Path) -> None:
    names(tmp_path, GRID)
    path = tmp_path / "out" / "sweep.json"
    data = json.loads(path.read_text())
    if change == "schema":
        data["schema"] = "other"
    elif change == "list":
        data = [data]
    elif change == "name":
        data["trials"][1]["name"] = "../../0001-x"
    else:
        data["trials"][1]["settings"]["seed"] = 9
    path.write_text("{" if change == "text" else json.dumps(data))
    with pytest.raises(
        cli.UserError, match=r"sweep.json' is damaged, or of another version.*another folder with --out"
    ):
        Folder(tmp_path / "out")


# -- a search -----------------------------------------------------------------------------------------------------


def reached(chosen: dict[str, Any]) -> float:
    return -abs(math.log10(chosen["rule_options.learning_rate"]) + 1) - chosen["task_options.hidden"] / 100


def searched(folder: Path, seed: int = 0, stop: int = 99, text: str = SEARCH) -> list[dict[str, Any]]:
    """What a search asks for, when trials end in an order drawn by this seed; after so many ends somebody kills it."""
    found = spec(folder, text)
    folder = folder / "out"
    folder.mkdir(exist_ok=True)
    known = Folder(folder)
    known.check(found)
    assert found.search is not None
    plan, values, running, order = Searching(found, found.search, known, ""), {}, [], random.Random(seed)
    while True:
        while (trial := plan.next(values)) is not None:
            if trial.name not in values:
                running.append(trial)
        if not running or stop == 0:
            return [dict(t.chosen) for t in plan.trials()]
        trial = running.pop(order.randrange(len(running)))
        values[trial.name] = (
            None
            if trial.chosen["batch"] == 8 and trial.chosen["task_options.hidden"] > 50
            else reached(dict(trial.chosen))
        )
        stop -= 1


def test_a_search_is_the_same_in_whatever_order_and_however_often_it_is_stopped(tmp_path: Path) -> None:
    places = [tmp_path / str(k) for k in range(3)]
    for place in places:
        place.mkdir()
    whole = searched(places[0])
    assert len(whole) == 14 and searched(places[1], seed=1) == whole
    for stop in (1, 3, 4):
        assert len(searched(places[2], stop, stop)) < 14
    assert searched(places[2], 9) == whole
    values = [reached(c) for c in whole]
    assert sum(values[9:]) / 5 > sum(values[:4]) / 4 + 0.3  # it has learned something
    (tmp_path / "3").mkdir()
    assert searched(tmp_path / "3", text=SEARCH.replace("seed = 2", "seed = 3")) != whole


def test_a_search_goes_on_with_more_trials_but_not_as_another_one(tmp_path: Path) -> None:
    few = searched(tmp_path, text=SEARCH.replace("trials = 14", "trials = 5"))
    assert len(few) == 5
    more = SEARCH + "[best]\nrows = 2\n"
    assert searched(tmp_path, text=more)[:5] == few
    for old, new in (("seed = 2", "seed = 3"), ("[8, 16]", "[8, 32]"), ("[search]", "epochs = 2\n[search]")):
        with pytest.raises(cli.UserError, match="has the trials of another sweep"):
            searched(tmp_path, text=SEARCH.replace(old, new))
    with pytest.raises(cli.UserError, match="has the trials of another sweep"):
        Folder(tmp_path / "out").check(spec(tmp_path, GRID))


def test_a_search_whose_choices_were_changed_is_refused(tmp_path: Path) -> None:
    searched(tmp_path, stop=3)
    path = tmp_path / "out" / "sweep.json"
    data = json.loads(path.read_text())
    data["trials"][1]["chosen"]["batch"] = 8 + 8 * (data["trials"][1]["chosen"]["batch"] == 8)
    path.write_text(json.dumps(data))
    with pytest.raises(cli.UserError, match="what the search chose for trial 1 isn't in its settings"):
        searched(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("trials = 14", 'trials = 14\nsampler = "cma"', "no sampler 'cma'; known: tpe, gp"),
        (
            "n_startup_trials = 4",
            "n_startup = 4",
            r"\[search.options\] of sampler 'tpe': there is no option 'n_startup'",
        ),
        ("n_startup_trials = 4", "seed = 4", "the seed is the search's own"),
    ],
)
def test_a_sampler_that_is_not_there(old: str, new: str, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(cli.UserError, match=wrong):
        searched(tmp_path, text=SEARCH.replace(old, new))


def test_what_is_best() -> None:
    nan = float("nan")
    assert Best().order([1.0, nan, 3.0, 2.0]) == [2, 3, 0]
    assert Best(direction="minimize").order([1.0, nan, 3.0, 2.0]) == [0, 3, 2]
    assert [Best(value=v, direction=d).key(2, 1, 3) for v in ("final", "best") for d in ("maximize", "minimize")] == [
        2,
        2,
        3,
        1,
    ]


def test_files_that_changed_make_other_trials(tmp_path: Path) -> None:
    """A trial's settings name a file; what a finished one has read, another one must read too."""
    from twinspike import sweep

    options = files(tmp_path)
    (tmp_path / "parts.toml").write_text('[parts.one]\nfile = "net.json"\n')
    own = f'network = "{tmp_path}/parts.toml"\ndata = "{options["data"]}"\nanswer = "one_out"\n'
    asked, place = spec(tmp_path, own + "[grid]\nseed = [0, 1]\n"), tmp_path / "out"
    place.mkdir()
    for _ in range(2):
        assert sweep.planned(asked, Folder(place), (0, 1), "").total == 2
    text = (tmp_path / "net.json").read_text()
    (tmp_path / "net.json").write_text(text.replace('"delay":', '"frozen":true,"delay":', 1))
    with pytest.raises(cli.UserError, match=r"parts.toml' isn't what it was when trials in .* began"):
        sweep.planned(asked, Folder(place), (0, 1), "")
    (tmp_path / "net.json").write_text(text)
    sweep.planned(asked, Folder(place), (0, 1), "")
    with Path(options["data"]).open("ab") as data:
        data.write(b"more")
    with pytest.raises(cli.UserError, match=r"x.npz' isn't what it was"):
        sweep.planned(asked, Folder(place), (0, 1), "")

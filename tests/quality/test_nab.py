"""Our scorer of the Numenta benchmark, by hand and against another one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.quality.events import HOLD, alarms, event_f1, vus_pr
from tests.quality.nab import PROFILES, Profile, Ranking, read_corpus, worth
from tests.quality.streams import DEV, TEST, Fault, Floats, Stream, in_memory
from tests.shared import shared


def labelled(n: int, *windows: tuple[int, int], warm: int = 0) -> Stream:
    file = in_memory("made", np.arange(n) * 60_000, np.zeros(n))
    return Stream("made", "made", "made", DEV, file, warm, tuple(Fault("anomaly", *window) for window in windows))


def flags(n: int, *rows: int) -> Floats:
    score = np.full(n, -np.inf)
    score[list(rows)] = 1.0
    return score


def standard(stream: Stream, *rows: int) -> float:
    return Ranking([stream], [flags(len(stream), *rows)]).mark(PROFILES["standard"], level=0.0).points


def test_a_perfect_detector_gets_100_and_a_silent_one_0() -> None:
    stream = labelled(400, (100, 120), (300, 340))
    assert standard(stream, 100, 300) == pytest.approx(100.0)
    assert standard(stream) == 0.0


def test_a_flag_is_worth_more_the_earlier_it_comes_and_costs_more_the_farther_behind_a_window() -> None:
    inside, value = worth(labelled(400, (100, 120)))
    assert list(np.flatnonzero(inside == 0)) == list(range(100, 121))
    assert value[100] == pytest.approx(1.0)
    assert np.all(np.diff(value[100:180]) < 0.0)
    assert value[120] > 0.0 > value[121]
    assert set(value[:100]) == set(value[181:]) == {-1.0}


def test_only_the_first_flag_in_a_window_counts_and_each_outside_costs() -> None:
    stream = labelled(400, (100, 120))
    assert standard(stream, 105, 106, 120) == standard(stream, 105)
    assert standard(stream, 105, 10) == pytest.approx(standard(stream, 105) - 100 * 0.11 / 2)
    assert standard(stream, 105, 10, 11) == pytest.approx(standard(stream, 105) - 100 * 0.22 / 2)
    assert standard(stream, 10, 11) < 0.0


def test_rows_of_the_probation_are_not_judged() -> None:
    stream = labelled(400, (100, 120), warm=60)
    assert standard(stream, 3, 59, 100) == pytest.approx(100.0)
    assert standard(stream, 60, 100) < 100.0


def test_the_best_level_is_found_among_all() -> None:
    rng = np.random.default_rng(3)
    stream = labelled(500, (100, 130), (300, 330))
    score = np.round(rng.normal(size=500), 1)
    score[[104, 310]] = 4.0
    ranking = Ranking([stream], [score])
    for profile in PROFILES.values():
        best = ranking.mark(profile)
        each = [ranking.mark(profile, level=level).points for level in np.unique(score)]
        assert best.points == pytest.approx(max(each))
        assert best.points == pytest.approx(ranking.mark(profile, level=best.level).points)


def test_nothing_is_flagged_where_that_is_best() -> None:
    mark = Ranking([labelled(400, (390, 395))], [flags(400, *range(300))]).mark(Profile(0.11, 1.0))
    assert (mark.points, mark.hits, mark.false_alarms, mark.level) == (0.0, 0, 0, np.inf)


def test_an_alarm_holds_for_a_while() -> None:
    assert alarms(flags(200, 5, 10, 10 + HOLD, 60, 199), 0.5, 6).tolist() == [10, 60, 199]


def test_event_f1_weighs_windows_against_alarms() -> None:
    stream = labelled(1000, (100, 120), (500, 520))
    assert event_f1([stream], [flags(1000, 110, 510)]) == pytest.approx(1.0)
    assert event_f1([stream], [flags(1000, 110, 800)]) == pytest.approx(0.5)


def test_vus_pr_is_large_for_the_labels_themselves_and_small_for_noise() -> None:
    stream = labelled(2000, (500, 560), (1500, 1560))
    exact = np.zeros(2000)
    exact[500:561] = exact[1500:1561] = 1.0
    noise = np.random.default_rng(1).random(2000)
    assert vus_pr([stream], [exact]) > 0.7
    assert vus_pr([stream], [noise]) < 0.2


ANOTHER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy, nab_score
corpus = nab_score.Corpus(sys.argv[2])
scores = {f.key: numpy.random.default_rng(f.n).normal(size=f.n).round(2) + (f.win >= 0) for f in corpus.files}
flagged = {k: numpy.where(v > 2.5, v, -numpy.inf) for k, v in scores.items()}
print(json.dumps({
    "best": {p: r["score"] for p, r in corpus.score(scores).items()},
    "flagged": {p: r["score"] for p, r in corpus.score(flagged).items()},
    "hits": corpus.score(flagged)["standard"]["tp_windows"],
    "false": corpus.score(flagged)["standard"]["fp_points"],
    "f1": nab_score.event_f1(corpus, scores)["f1"],
    "vus": nab_score.vus_pr(corpus, scores),
}))
"""


@pytest.mark.soak
def test_another_scorer_gives_the_same_marks() -> None:
    root, tools = shared("data/nab"), shared("tools/nab_score.py").parent
    ended = subprocess.run(
        [sys.executable, "-c", ANOTHER, str(tools), str(root)], capture_output=True, text=True, timeout=120, check=True
    )
    theirs = json.loads(ended.stdout)
    corpus = read_corpus(root)
    scores = [_made(stream) for stream in corpus]
    flagged = [np.where(score > 2.5, score, -np.inf) for score in scores]
    for name, ranking in (("best", Ranking(corpus, scores)), ("flagged", Ranking(corpus, flagged))):
        ours = [ranking.mark(profile).points for profile in PROFILES.values()]
        assert ours == pytest.approx(list(theirs[name].values()), abs=1e-6), name
    mark = Ranking(corpus, flagged).mark(PROFILES["standard"])
    assert (mark.hits, mark.false_alarms) == (theirs["hits"], theirs["false"])
    assert event_f1(corpus, scores) == pytest.approx(theirs["f1"], abs=1e-6)
    assert vus_pr(corpus, scores) == pytest.approx(theirs["vus"], abs=1e-6)


def _made(stream: Stream) -> Floats:
    score = np.random.default_rng(len(stream)).normal(size=len(stream)).round(2)
    for fault in stream.faults:
        score[fault.first : fault.last + 1] += 1.0
    return np.asarray(score)


def test_halves_share_no_file_and_every_folder_is_in_the_first() -> None:
    corpus = read_corpus(shared("data/nab"))
    halves = {half: {s.name for s in corpus if s.split == half} for half in (DEV, TEST)}
    assert not halves[DEV] & halves[TEST]
    assert {Path(name).parent for name in halves[DEV]} == {Path(stream.name).parent for stream in corpus}
    assert 0 <= len(halves[DEV]) - len(halves[TEST]) <= 7

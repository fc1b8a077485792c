import doctest
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeostat.monitoring.report import page as report
from homeostat.monitoring.report import story
from homeostat.monitoring.report.decisions import Sign
from homeostat.monitoring.report.page import Mark, ReportData, build_chart, write_report
from homeostat.project import Task
from homeostat.records import Alert, Decision, Severity, Window, WindowStatus

START, WEEK = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=7)


def window(i, realized, status=WindowStatus.FINAL):
    start, labels = START + i * WEEK, 0 if realized is None else 90
    return Window(
        f"b{i}", start, start + WEEK, 100, labels, labels / 100, status, "auc", realized, {}, 1 + i, start + WEEK
    )


WINDOWS = (window(0, 0.7), window(1, None, WindowStatus.UNKNOWN), window(2, 0.72, WindowStatus.PROVISIONAL))
AT = START + 2 * WEEK
DATA = ReportData(
    project="flights",
    task=Task.BINARY,
    metric="auc",
    tick=WEEK,
    windows=WINDOWS,
    baseline=(window(0, 0.7), window(2, 0.65)),
    drift=((AT, 0.6, "drift"), (AT + WEEK, None, "unknown")),
    marks=(Mark(AT, Sign.RETRAINING, "enough new labels"), Mark(AT, Sign.PROMOTION, "version 2 is better")),
    decisions=(
        Decision(AT, "retraining", "wait", ("nothing new",)),
        Decision(AT, "promotion", "promote", ("a <script>alert(1)</script> gain",), {}, 2),
    ),
    alerts=(Alert("k", AT, Severity.INFO, "version 2 is champion", "a gain & more"),),
    summary={"loop_metric": 0.71, "static_metric": 0.66, "fit_row_rounds": 48_300_000, "wall_seconds": 150.0},
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    write_report(path, DATA)
    return path.read_text(encoding="utf-8")


def own(page):
    """The page without Plotly's own code."""
    start = page.index("<script>/*")
    return page[:start] + page[page.index('<script type="application/json"') :]


def test_the_page_needs_no_network(page):
    assert "src=" not in own(page) and "http" not in own(page) and "@import" not in own(page)


def test_the_same_data_in_any_order_give_the_same_bytes(page, tmp_path):
    shuffled = replace(
        DATA, windows=WINDOWS[::-1], marks=DATA.marks[::-1], decisions=DATA.decisions[::-1], drift=DATA.drift[::-1]
    )
    write_report(tmp_path / "report.html", shuffled)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_what_others_wrote_is_text_and_never_markup(page, tmp_path):
    assert "<script>alert" not in own(page) and "&lt;script&gt;alert(1)" in page and "a gain &amp; more" in page
    mark = Mark(AT, Sign.ALARM, "</script><b>worse</b>")
    write_report(tmp_path / "report.html", replace(DATA, project="</title><i>", marks=(mark,)))
    written = own((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "<b>worse" not in written and "</title><i>" not in written


def test_the_headline_tells_both_metrics_and_the_gain(page):
    for told in ("AUC with the loop", "0.710", "0.660", "+0.050", "48.3 M", "2 min 30 s"):
        assert told in page


def test_a_loss_is_a_gain_when_lower_is_better(tmp_path):
    windows = tuple(replace(w, metric="log_loss") for w in WINDOWS)
    summary = {"loop_metric": 0.5, "static_metric": 0.53}
    write_report(tmp_path / "report.html", replace(DATA, metric="log_loss", windows=windows, summary=summary))
    assert "+0.030" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_unknown_window_is_a_gap_and_a_provisional_one_is_hollow():
    loop = next(trace for trace in build_chart(DATA)["data"] if trace["name"] == "loop")
    assert loop["y"] == [0.7, None, 0.72] and not loop["connectgaps"]
    assert loop["marker"]["color"] == ["@loop", "@card", "@card"]


def test_each_kind_of_mark_has_a_lane_of_its_own():
    chart = build_chart(DATA)
    assert chart["layout"]["yaxis2"]["ticktext"] == ["retrained", "promoted"]
    assert [trace["y"] for trace in chart["data"] if trace.get("yaxis") == "y2"] == [[0], [1]]


def test_plotly_takes_the_chart():
    import plotly.graph_objects as go

    colors = {"@font": "Arial"}

    def painted(value):
        if isinstance(value, str) and value.startswith("@"):
            return colors.get(value, "#123456")
        if isinstance(value, list):
            return [painted(each) for each in value]
        return {key: painted(each) for key, each in value.items()} if isinstance(value, dict) else value

    assert len(go.Figure(painted(build_chart(DATA))).data) == 6


def test_an_estimate_is_a_dashed_line_in_its_band_and_the_page_tells_how_far_they_were_off(tmp_path):
    known = [replace(w, estimated=0.7, estimated_low=0.6, estimated_high=0.8) for w in WINDOWS[:2]]
    data = replace(DATA, windows=(*known, WINDOWS[2]), summary=dict(DATA.summary) | {"estimate_error": 0.0123})
    band, line = [trace for trace in build_chart(data)["data"] if trace["name"] == "estimated"]
    assert line["y"] == [0.7, 0.7, None] and line["text"][0] == "estimated: 0.700 (0.600 to 0.800)"
    assert sorted(band["y"]) == [0.6, 0.6, 0.8, 0.8] and band["fill"] == "toself"
    write_report(tmp_path / "report.html", data)
    page = own((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "mean error of estimates" in page and "0.012" in page and "estimated before its labels" in page


def test_without_estimates_the_page_does_not_speak_of_them(page):
    assert "estimated" not in own(page)
    assert all(trace["name"] != "estimated" for trace in build_chart(DATA)["data"])


def test_a_project_without_any_batch_has_a_page(tmp_path):
    write_report(tmp_path / "report.html", ReportData("new", Task.REGRESSION, "rmse", timedelta(days=1)))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No batch has been scored yet" in page and "unknown" in page and len(page) < 100_000


def test_windows_without_any_label_and_marks_that_no_decision_has_are_drawn():
    chart = build_chart(replace(DATA, windows=(WINDOWS[1],), baseline=(), marks=(Mark(AT, Sign.PERSON, "one row"),)))
    assert chart["layout"]["yaxis2"]["ticktext"] == ["by a person"]


def rows_of(page, heading):
    """The cells of each row of the table under a heading, and the row's classes."""
    table = page[page.index(f"<h2>{heading}</h2>") :]
    found = re.findall(r'<tr class="([^"]*)">(.*?)</tr>', table[: table.index("</section>")])
    return [(set(look.split()), re.findall(r">([^<>]*)</td>", cells)) for look, cells in found]


def page_of(tmp_path, **changes):
    write_report(tmp_path / "report.html", replace(DATA, **changes))
    return own((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_decisions_of_a_tick_stand_together_in_the_order_they_were_taken(tmp_path):
    why = ("auc was worse",)
    taken = (
        Decision(AT, "promotion", "refuse", ("31761 rows since batch 2024-01-15T00:00:00Z",), {}, 3),
        Decision(AT, "retraining", "retrain", why, {}, 2),
        Decision(AT, "alarm", "alarm", why, {}, 2),
        Decision(AT + WEEK, "alarm", "alarm", why, {}, 3),
    )
    rows = rows_of(page_of(tmp_path, decisions=taken), "Decisions")
    assert [cells[1:] for _, cells in rows] == [
        ["alarm", "alarm", "v3", "auc was worse"],
        ["alarm", "alarm", "v2", "auc was worse"],
        ["retraining", "retrain", "", "for the same reason"],
        ["promotion", "refuse", "v3", "31,761 rows since batch 2024-01-15"],
    ]
    assert [look for look, _ in rows] == [set(), set(), {"again"}, {"again"}]


def test_the_time_of_day_of_the_ticks_is_told_once(tmp_path):
    shift = timedelta(hours=5)
    windows = tuple(replace(w, start_at=w.start_at + shift, end_at=w.end_at + shift) for w in WINDOWS)
    alerts = tuple(Alert(str(h), AT + timedelta(hours=h), Severity.INFO, "t", "b") for h in (5, 6))
    page = page_of(tmp_path, windows=windows, alerts=alerts)
    assert "weekly at 05:00 UTC, 2024-01-01 to 2024-01-22" in page
    assert [cells[0] for _, cells in rows_of(page, "Alerts")] == ["2024-01-15 06:00", "2024-01-15"]


def test_of_many_alerts_the_newest_that_are_more_than_information_are_shown(tmp_path):
    def some(severity, n):
        return tuple(Alert(f"{severity}{i}", START + i * WEEK, severity, "t", "b") for i in range(n))

    many = some(Severity.WARNING, report.SHOWN_ALERTS + 3) + some(Severity.INFO, 2)
    page = page_of(tmp_path, alerts=many)
    looks = [look for look, _ in rows_of(page, "Alerts")]
    assert sum(not look for look in looks) == report.SHOWN_ALERTS
    assert sum("quiet" in look for look in looks) == 2
    assert "show the 2 for information only" in page and "show 3 older" in page
    assert rows_of(page_of(tmp_path, alerts=some(Severity.INFO, 1)), "Alerts")[0][0] == set()


def test_numbers_and_times_are_written_as_their_examples_say():
    outcome = doctest.testmod(story)
    assert outcome.attempted and not outcome.failed

"""The store, on SQLite and on a real PostgreSQL: what is put is got, whole, once, and migrated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from forked import processes

import homeostat.store
from homeostat.errors import StoreError
from homeostat.records import (
    Alert,
    AlertStatus,
    Answer,
    Approval,
    ApprovalState,
    Batch,
    BatchState,
    CheckResult,
    ColumnDrift,
    Decision,
    DriftResult,
    FitCost,
    LabelTask,
    Lease,
    ModelRecord,
    Post,
    PostKind,
    Purpose,
    Reply,
    Role,
    Severity,
    TaskState,
    UnseenValues,
    Window,
    WindowStatus,
)
from homeostat.store import Store, Writer
from homeostat.store.facts import Fact
from homeostat.store.schema import Base

AT = datetime(2024, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
LATER = AT + timedelta(days=1)
BATCH = Batch("b1", AT, LATER, BatchState.SCORED, 10, 2, "two rows broke a rule", 3, LATER)
WINDOW = Window(
    "b1", AT, LATER, 10, 7, 0.7, WindowStatus.PROVISIONAL, "auc", 0.1 + 0.2, {"auc": 0.1 + 0.2, "brier": 1 / 3}, 3,
    LATER, 0.71, 0.6, 0.8,
)  # fmt: skip
CHECK = CheckResult(
    AT,
    "b1",
    3,
    DriftResult(
        "drift",
        0.5,
        (ColumnDrift("x", "psi", 0.3, 0.1, True), ColumnDrift("größe", None, None, None, None, "too few rows")),
        1000,
        10,
        "one column could not be measured",
    ),
    (UnseenValues("x", "range", 0.25, "above 3"),),
    "run1",
)
DECISION = Decision(AT, "retraining", "retrain", ("it is worse", "by 0.1"), {"worse_by": {"b1": 0.1}, "n": [1, 2]}, 3)
COST = FitCost(2, 10**12, 1 / 3)
SERVING = Fact("cost", FitCost)
MODEL = ModelRecord(3, "p/key", AT, "xgboost", 10**6, {"auc": 2 / 3}, FitCost(2, 10**12, 0.25), "run2", AT, LATER)
LINED = replace(
    MODEL, version=4, lineage=2, loss={"mean": 1 / 3, "rows": 10.0, "scale": 0.1, "profile": [0.5, 9.5], "segments": {}}
)
ALERT = Alert("k1", AT, Severity.CRITICAL, "größer ☂", "line one\nline two")
TASK = LabelTask("2024-01-01T00:00:00Z/größe", "größe", "b1", Purpose.MEASURE, 2, AT, LATER, 1 / 3, "late")
SETTLED = replace(
    TASK,
    id="t2",
    key="t2",
    state=TaskState.SETTLED,
    remote="17",
    sent_at=AT,
    settled_at=LATER,
    label="☂",
    quality=2 / 3,
    agreement=0.5,
)
APPROVAL = Approval(3, AT, LATER, ApprovalState.REJECTED, LATER, "ann", "☂")
LEASE = Lease("tick", "host:1", AT, LATER)
POST = Post("id 1", PostKind.FEEDBACK, ({"id": "größe", "y": 1, "x": 1 / 3},), "ab" * 32, AT, "ann")
REPLY = Reply("k 1", "cd" * 32, AT, "ann")
ANSWER = Answer(TASK.id, "ann", "☂", AT, "18")
RECORDS: dict[str, tuple[Callable[[Writer], Any], Callable[[Store], Any], Any]] = {
    "batch": (lambda w: w.put_batch(BATCH), lambda s: s.get_batch("b1"), BATCH),
    "bare batch": (
        lambda w: w.put_batch(Batch("b0", AT, AT, BatchState.HISTORY, 0)),
        lambda s: s.list_batches(BatchState.HISTORY),
        [Batch("b0", AT, AT, BatchState.HISTORY, 0)],
    ),
    "window": (lambda w: w.put_window(WINDOW), lambda s: s.list_windows(), [WINDOW]),
    "unknown window": (
        lambda w: w.put_window(replace(WINDOW, status=WindowStatus.UNKNOWN, realized=None, metrics={}), Role.BASELINE),
        lambda s: s.list_windows(Role.BASELINE),
        [replace(WINDOW, status=WindowStatus.UNKNOWN, realized=None, metrics={})],
    ),
    "check": (lambda w: w.put_check(CHECK), lambda s: s.list_checks(), [CHECK]),
    "decision": (lambda w: w.append_decision(DECISION), lambda s: s.get_decision(AT, "retraining"), DECISION),
    "model": (lambda w: w.put_model(MODEL), lambda s: s.get_model(3), MODEL),
    "model of a line": (lambda w: w.put_model(LINED), lambda s: s.get_model(4), LINED),
    "alert": (lambda w: w.append_alert(ALERT), lambda s: s.list_alerts(), [ALERT]),
    "alert status": (
        lambda w: (
            w.append_alert(ALERT),
            w.put_acknowledgement("k1", LATER, "ann", "on it"),
            w.put_snooze("k1", LATER),
        ),
        lambda s: s.list_alert_statuses(["k1"]),
        {"k1": AlertStatus("k1", None, None, LATER, "ann", "on it", LATER)},
    ),
    "approval": (
        lambda w: w.put_approval(APPROVAL),
        lambda s: s.list_approvals(ApprovalState.REJECTED),
        [APPROVAL],
    ),
    "lease": (lambda w: w.take_lease(LEASE), lambda s: s.get_lease("tick"), LEASE),
    "post": (lambda w: w.append_post(POST), lambda s: s.list_posts(PostKind.FEEDBACK, LATER, "b1"), [POST]),
    "reply": (
        lambda w: (w.begin_reply(REPLY), w.put_reply("k 1", 201, {"answer": [1, "☂"]})),
        lambda s: s.get_reply("k 1"),
        replace(REPLY, status=201, body={"answer": [1, "☂"]}),
    ),
    "release": (lambda w: w.append_release("r1", AT, "ann"), lambda s: s.list_releases(), ["r1"]),
    "labeling task": (lambda w: w.put_task(TASK), lambda s: s.list_tasks(TaskState.OPEN), [TASK]),
    "settled task": (lambda w: w.put_task(SETTLED), lambda s: s.get_task("t2"), SETTLED),
    "answer": (lambda w: w.append_answer(ANSWER), lambda s: s.list_answers(TASK.id), [ANSWER]),
    "stage": (lambda w: w.put_stage(AT, "act", {"did": "wait"}), lambda s: s.get_stage(AT, "act"), {"did": "wait"}),
    "fact": (lambda w: w.put_fact(SERVING, COST), lambda s: s.get_fact(SERVING), COST),
    "journal": (
        lambda w: w.append_journal(AT, "k", "act", {"by": "ann", "share": 1 / 3}),
        lambda s: [(e.seq, e.at, e.key, e.kind, e.body) for e in s.list_journal()],
        [(1, AT, "k", "act", {"by": "ann", "share": 1 / 3})],
    ),
}


@pytest.fixture
def store(store_url: str) -> Store:
    """An empty store of each kind."""
    return Store(store_url, "p")


@pytest.mark.parametrize(("put", "get", "expected"), RECORDS.values(), ids=RECORDS)
def test_what_is_put_is_got_and_put_again_it_is_still_one(store: Store, put: Any, get: Any, expected: Any) -> None:
    for _ in range(2):
        with store.write("test") as write:
            put(write)
        assert get(store) == expected
        assert get(Store(str(store.engine.url.render_as_string(hide_password=False)), "p")) == expected


@pytest.mark.parametrize(("put", "get", "expected"), RECORDS.values(), ids=RECORDS)
def test_owners_in_one_database_do_not_see_each_other(store: Store, put: Any, get: Any, expected: Any) -> None:
    other = Store(str(store.engine.url.render_as_string(hide_password=False)), "p-replay")
    with other.write("test") as write:
        put(write)
    assert not get(store)
    assert get(other) == expected


def test_a_record_put_again_is_its_newest_state(store: Store) -> None:
    for state in (BatchState.VALIDATED, BatchState.SCORED):
        with store.write("test") as write:
            write.put_batch(replace(BATCH, state=state))
    assert [b.state for b in store.list_batches()] == [BatchState.SCORED]
    assert store.list_batches(BatchState.VALIDATED) == []


def test_lists_come_in_the_order_of_time_however_they_were_put(store: Store) -> None:
    days = [3, 1, 2]
    with store.write("test") as write:
        for day in days:
            at = AT + timedelta(days=day)
            write.put_batch(replace(BATCH, id=f"b{day}", end_at=at))
            write.put_window(replace(WINDOW, batch=f"b{day}", end_at=at))
            write.append_decision(replace(DECISION, tick_at=at))
            write.append_alert(replace(ALERT, key=f"k{9 - day}", at=at))
            write.put_stage(at, "act", {"day": day})
    assert [b.id for b in store.list_batches()] == ["b1", "b2", "b3"]
    assert [w.batch for w in store.list_windows()] == ["b1", "b2", "b3"]
    assert [d.tick_at.day for d in store.list_decisions("retraining")] == [2, 3, 4]
    assert [a.key for a in store.list_alerts()] == ["k8", "k7", "k6"]
    assert (store.last_tick("act"), store.count_ticks("act")) == (AT + timedelta(days=3), 3)
    assert store.last_outcome("act", AT + timedelta(days=3)) == {"day": 2}
    assert store.last_outcome("act", AT) is None and store.list_decisions("promotion") == []


def test_a_transaction_that_breaks_leaves_nothing_of_itself(store: Store) -> None:
    with store.write("before") as write:
        write.put_fact(SERVING, FitCost(1))
    with pytest.raises(KeyError), store.write("broken") as write:
        for put, _, _ in RECORDS.values():
            put(write)
        write.put_fact(SERVING, FitCost(2))
        raise KeyError("in the middle")
    assert store.get_fact(SERVING) == FitCost(1)
    assert not store.list_batches() and not store.list_alerts() and not store.list_journal()


def test_a_decision_is_said_in_the_journal_in_the_same_transaction(store: Store) -> None:
    with store.write("test") as write:
        write.append_decision(DECISION)
    (entry,) = store.list_journal()
    assert (entry.kind, entry.body["decision"], entry.body["reasons"]) == ("decide_retraining", "retrain", [
        "it is worse", "by 0.1",
    ])  # fmt: skip
    assert store.verify_journal().sound and store.journal_head() == entry.hash


def test_an_alert_waits_until_it_is_delivered_and_a_second_raising_does_not_wake_it(store: Store) -> None:
    with store.write("test") as write:
        write.append_alert(ALERT)
        write.put_delivery("k1", None, "PAGER: refused")
    assert store.list_alerts(undelivered=True) == [ALERT]
    with store.write("test") as write:
        write.put_delivery("k1", LATER, None)
        write.append_alert(replace(ALERT, title="said again"))
    assert store.list_alerts(undelivered=True) == []
    assert store.list_alerts() == [ALERT]


def test_a_release_is_taken_by_one_batch(store: Store) -> None:
    with store.write("test") as write:
        for row in ("r2", "r1"):
            write.append_release(row, AT, "ann")
        write.take_releases(["r1"], "b1")
        write.append_release("r1", LATER, "ben")
    assert (store.list_releases(), store.list_releases("b1"), store.list_all_releases()) == (
        ["r2"], ["r1"], ["r1", "r2"],
    )  # fmt: skip


def test_a_fact_that_is_dropped_is_gone_and_may_be_dropped_again(store: Store) -> None:
    with store.write("test") as write:
        write.put_fact(SERVING, COST)
    for _ in range(2):
        with store.write("test") as write:
            write.drop_fact(SERVING)
        assert store.get_fact(SERVING) is None


def test_a_time_without_a_zone_is_a_defect_that_shows(store: Store) -> None:
    with pytest.raises(Exception, match="carries no time zone"), store.write("test") as write:
        write.put_stage(datetime(2024, 1, 1), "act", {})


def put_the_same(url: str, ready: Any, result: Any) -> None:
    """Write the same records at the same moment as other processes."""
    store = Store(url, "p")
    ready.wait()
    for _ in range(5):
        with store.write("test") as write:
            for put, _, _ in RECORDS.values():
                put(write)
    result.put(store.verify_journal().entries)


def test_processes_that_make_and_write_one_store_at_once_agree(store_url: str) -> None:
    ready, result = processes().Barrier(4), processes().Queue()
    workers = [processes().Process(target=put_the_same, args=(store_url, ready, result)) for _ in range(4)]
    for worker in workers:
        worker.start()
    assert [result.get(timeout=60) for _ in workers] == [2] * 4
    for worker in workers:
        worker.join()
    store = Store(store_url, "p")
    assert all(get(store) == expected for _, get, expected in list(RECORDS.values())[:-1])


def test_batches_after_a_time_are_those_that_end_later(store: Store) -> None:
    with store.write("test") as write:
        for day in (3, 1, 2):
            write.put_batch(replace(BATCH, id=f"b{day}", end_at=AT + timedelta(days=day)))
    assert [b.id for b in store.list_batches(after=AT + timedelta(days=1))] == ["b2", "b3"]
    assert store.list_batches(BatchState.HELD, after=AT) == []


def test_a_model_of_before_lines_is_read_as_a_line_of_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with Store(url, "p").write("test") as write:
        write.put_model(MODEL)
    config = Config()
    config.set_main_option("script_location", str(Path(homeostat.store.__file__).parent / "migrations"))
    with sa.create_engine(url).begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    found = Store(url, "p").get_model(3)
    assert found == MODEL and found.root_version == 3 and LINED.root_version == 2


def test_the_migrations_make_what_the_models_say(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() is not None


def test_opening_a_store_again_migrates_nothing_and_loses_nothing(store: Store) -> None:
    with store.write("test") as write:
        write.put_batch(BATCH)
    again = Store(str(store.engine.url.render_as_string(hide_password=False)), "p")
    assert again.get_batch("b1") == BATCH


def test_a_store_of_a_newer_version_is_refused_in_one_line(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"^the store is at schema 9999, .* Update Homeostat\.$"):
        Store(str(store.engine.url.render_as_string(hide_password=False)), "p")


def test_a_store_that_lost_a_table_is_one_line_to_read_and_to_write(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE batches"))
    with pytest.raises(StoreError, match=r"^the store cannot be read: .*batches") as read:
        store.list_batches()
    with (
        pytest.raises(StoreError, match=r"^the store cannot be written: .*batches") as written,
        store.write("x") as write,
    ):
        write.put_batch(BATCH)
    assert "\n" not in str(read.value) + str(written.value)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("not a database" * 100)
    with pytest.raises(
        StoreError, match=r"^the store at sqlite:///.*store\.db cannot be opened: file is not a database\."
    ):
        Store(f"sqlite:///{tmp_path / 'store.db'}", "p")


def test_a_store_where_there_can_be_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be opened: .*(Not a directory|File exists)"):
        Store(f"sqlite:///{tmp_path / 'file' / 'store.db'}", "p")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:s3cret@127.0.0.1:9/db",
        "postgresql://u:s3cret@127.0.0.1:9/db",
        "postgresql+psycopg://u:s3c@s3cret@127.0.0.1:9/db",
        "postgresql+psycopg://u:s3c/s3cret@127.0.0.1:9/db",
        "postgresql+psycopg://u:p@127.0.0.1:s3cret/db",
        "postgresql+psycopg://127.0.0.1:9/db?user=u&password=s3cret",
        "postgresql+psycopg://u:p@127.0.0.1:9/db?unheard_of=s3cret",
        "mysql://u:s3cret@127.0.0.1/db",
        "nothing at all s3cret",
    ],
)
def test_the_password_of_a_store_never_shows(url: str) -> None:
    with pytest.raises(StoreError, match="HOMEOSTAT_STORE_URL") as told:
        Store(url, "p")
    assert "s3c" not in str(told.value) and "\n" not in str(told.value)


def test_a_wrong_password_is_one_line_without_it(postgresql_url: str) -> None:
    with pytest.raises(
        StoreError, match=r"^the store at .*127\.0\.0\.1.* cannot be opened: .*authentication failed"
    ) as told:
        Store(postgresql_url.replace("s3cret", "wr0ng"), "p")
    assert "wr0ng" not in str(told.value) and "\n" not in str(told.value)


def test_a_lease_is_another_s_only_once_it_is_over_or_its_holder_is_known_to_be_gone(store: Store) -> None:
    def take(lease: Lease, **how: bool) -> bool:
        with store.write("test") as write:
            return write.take_lease(lease, **how)

    other = replace(LEASE, holder="host:2", taken_at=LATER, until=LATER + timedelta(hours=1))
    early = replace(other, taken_at=AT)
    assert take(LEASE) and not take(early)
    assert take(replace(LEASE, until=LATER + timedelta(minutes=1))) and not take(other)
    assert take(early, sure=True) and store.get_lease("tick") == early
    with store.write("test") as write:
        write.drop_lease("tick", LEASE.holder)
    assert store.get_lease("tick") == early
    assert take(replace(LEASE, taken_at=early.until, until=early.until))


def test_many_posts_are_held_at_once_and_one_may_be_split(store: Store) -> None:
    others = [replace(POST, id=f"p{number}", received_at=LATER) for number in range(1200)]
    with store.write("t") as write:
        assert write.append_posts([POST]) == {}
        assert write.append_posts([replace(POST, digest="other"), *others]) == {POST.id: POST}
    assert len(store.list_posts(PostKind.FEEDBACK, LATER, "b1")) == 1201
    rest = replace(POST, id="id rest", rows=({"id": 2},))
    with store.write("t") as write:
        write.split_post(replace(POST, rows=({"id": 1},)), rest)
        write.take_posts([POST.id], "b1")
    assert store.list_posts(PostKind.FEEDBACK, AT, "b2") == [rest]
    assert [post.rows for post in store.list_batch_posts(PostKind.FEEDBACK, "b1")] == [({"id": 1},)]


def test_a_request_with_a_key_is_begun_once_and_forgotten_in_time(store: Store) -> None:
    with store.write("t") as write:
        assert write.begin_reply(REPLY) is None
        assert write.begin_reply(replace(REPLY, digest="other", at=LATER)) == REPLY
        assert write.drop_replies(AT) == 0 and write.drop_replies(LATER) == 1
    assert store.get_reply(REPLY.key) is None


def test_a_post_is_given_to_one_batch_and_the_same_id_is_one_post(store: Store) -> None:
    with store.write("test") as write:
        assert write.append_post(POST) is None
        assert write.append_post(replace(POST, digest="other")) == POST
        write.append_post(replace(POST, id="later", received_at=LATER))
    assert (
        store.list_posts(PostKind.FEEDBACK, AT, "b1") == [POST] and store.list_posts(PostKind.INPUTS, LATER, "") == []
    )
    assert store.count_waiting_posts(PostKind.FEEDBACK) == 2
    with store.write("test") as write:
        write.take_posts([POST.id], "b1")
    assert store.list_posts(PostKind.FEEDBACK, AT, "b1") == [replace(POST, batch="b1")]
    assert store.list_posts(PostKind.FEEDBACK, AT, "b2") == [] and store.count_waiting_posts(PostKind.FEEDBACK) == 1
    with store.write("test") as write:
        assert write.drop_posts(LATER + timedelta(days=1)) == 1
    assert [post.id for post in store.list_posts(PostKind.FEEDBACK, LATER, "b1")] == ["later"]


def test_the_newest_of_a_list_come_in_the_order_of_time(store: Store) -> None:
    with store.write("test") as write:
        for day in range(5):
            at = AT + timedelta(days=day)
            write.put_window(replace(WINDOW, batch=f"b{day}", end_at=at))
            write.append_decision(replace(DECISION, tick_at=at, kind="wait" if day % 2 else "retrain"))
            write.append_alert(replace(ALERT, key=f"k{day}", at=at))
    middle = AT + timedelta(days=2)
    assert [w.batch for w in store.list_windows(newest=2)] == ["b3", "b4"]
    assert [w.batch for w in store.list_windows(after=middle)] == ["b3", "b4"]
    assert [a.key for a in store.list_alerts(newest=1)] == ["k4"]
    assert [d.tick_at.day for d in store.list_decisions(kinds=["retrain"], newest=2)] == [3, 5]
    assert [d.tick_at.day for d in store.list_decisions(before=middle)] == [1, 2]
    assert [d.tick_at.day for d in store.list_decisions(after=middle)] == [4, 5]
    assert [entry.seq for entry in store.list_journal(after=3)] == [4, 5]
    assert [entry.seq for entry in store.list_journal(newest=1)] == [5]

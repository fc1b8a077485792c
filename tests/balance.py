"""How the files of the tests are shared between workers: the longest first, and together those that share a server."""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadFileScheduling

WITH_PREFECT = (
    "test_deployments",
    "test_health_of_servers",
    "test_runner",
    "test_servers",
    "test_tick_flow",
    "test_work_pool",
)
LONGEST = (
    "test_kills",
    "test_posts_killed",
    "test_live",
    "test_up",
    "test_labels_from_people",
    "test_knowledge",
    "test_steps_in_the_loop",
    "test_alarm",
    "test_label_studio",
    "test_backends",
    *WITH_PREFECT,
)
TOGETHER = {"test_backends": "test_label_studio", **dict.fromkeys(WITH_PREFECT, "prefect")}
"""Files that need one server for a whole session run in one worker, which then starts one."""


class LongestFirst(LoadFileScheduling):
    """A file at a time to each worker, in the order that `by_length` gave the tests."""

    def _split_scope(self, nodeid: str) -> str:
        name = name_of(nodeid)
        return TOGETHER.get(name, name)


def name_of(nodeid: str) -> str:
    """The name of a test's file, without folder and ending."""
    return PurePosixPath(nodeid.partition("::")[0]).stem


def by_length(nodeid: str) -> int:
    """A key that sorts the tests of the longest files to the front, and leaves the others as they are."""
    name = name_of(nodeid)
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)

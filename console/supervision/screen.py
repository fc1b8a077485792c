"""How a person sees what runs: one calm screen on a terminal, and plain lines on change everywhere else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from homeostat.console.output import say, say_facts, say_json
from homeostat.console.supervision.board import Board, Line
from homeostat.console.supervision.keeper import Condition, Keeper, State
from homeostat.console.titles import title_of

LATELY, GAP = 5, 2
LOOK = {
    State.STARTING: ("○", "yellow"),
    State.HEALTHY: ("●", "green"),
    State.FAILING: ("▲", "red"),
    State.ADOPTED: ("●", "cyan"),
}


class Teller:
    """Turns changes into sentences: how a service fares, and which project has a problem."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._conditions: dict[str, Condition] = {}
        self._problems: dict[str, str | None] | None = None

    def of_service(self, keeper: Keeper) -> str | None:
        """What a change means to a person; None where it means nothing new."""
        name, now = title_of(keeper.service.name), keeper.condition
        before = self._conditions.get(keeper.service.name)
        self._conditions[keeper.service.name] = now
        if before is not None and (before.state, before.problem) == (now.state, now.problem):
            return None
        if now.state is State.FAILING:
            again = "" if keeper.service.adopted or now.problem == "does not answer" else "; restarting"
            return f"{name} {now.problem}{again}"
        if now.state is State.STARTING and now.problem and not now.restarts:
            return f"{name} {now.problem}"
        if now.well and before is not None and (before.restarts or before.state is State.FAILING):
            return f"{name} is {'back' if now.state is State.ADOPTED else 'healthy again'}"
        return None

    def of_projects(self, lines: Sequence[Line] | None) -> list[str]:
        """The projects that have come, gone, got another problem or lost it; `lines` is None before the first look."""
        if lines is None:
            return []
        now = {line.name: line.problem if line.healthy is False else None for line in lines}
        before = now.keys() if self._problems is None else self._problems
        had = self._problems or {}
        messages = [f"{name} was added" for name in now if name not in before]
        messages += [f"{name} was removed" for name in had if name not in now]
        messages += [f"{name}: {problem}" for name, problem in now.items() if problem and problem != had.get(name)]
        messages += [f"{name} is fine again" for name in now if had.get(name) and not now[name]]
        self._problems = now
        return messages


Describe = Callable[[], Mapping[str, object]]


class PlainScreen:
    """Plain lines, and only on change; with `as_json`, what runs as JSON once all is up."""

    def __init__(self, title: str, keepers: Sequence[Keeper], board: Board, describe: Describe,
                 as_json: bool) -> None:  # fmt: skip
        """Say that the start has begun."""
        self._title, self._keepers, self._board, self._describe, self._json = title, keepers, board, describe, as_json
        self._teller = Teller()
        self._tell(f"{title}: starting {', '.join(title_of(k.service.name) for k in keepers)}")

    def change(self, keeper: Keeper) -> None:
        """Tell what became of a service."""
        message = self._teller.of_service(keeper)
        if message:
            self._tell(message)

    def ready(self) -> None:
        """Tell the addresses."""
        if self._json:
            say_json(self._describe())
        else:
            urls = {title_of(k.service.name): k.service.url for k in self._keepers if k.service.url}
            say_facts(f"{self._title} is up; Ctrl-C stops it", urls)

    def redraw(self) -> None:
        """Tell what became of the projects."""
        for line in self._teller.of_projects(self._board.lines):
            self._tell(line)

    def ending(self) -> None:
        """Tell that the end has begun."""
        self._tell(f"{self._title}: stopping")

    def _tell(self, line: str) -> None:
        if not self._json:
            say(line)


class LiveScreen:
    """One screen that is redrawn in place."""

    def __init__(self, title: str, keepers: Sequence[Keeper], board: Board, live: Live) -> None:
        """Show how things are at the start."""
        self._title, self._keepers, self._board, self._live = title, keepers, board, live
        self._teller, self._began = Teller(), datetime.now(UTC)
        self._lately: deque[tuple[str, str]] = deque(maxlen=LATELY)
        self._ending = False
        self.redraw()

    def change(self, keeper: Keeper) -> None:
        """Remember what became of a service."""
        self._remember(self._teller.of_service(keeper))

    def ready(self) -> None:
        """Remember that all are healthy."""
        self._remember(
            f"all services are up, {int((datetime.now(UTC) - self._began).total_seconds())} s after the start"
        )

    def redraw(self) -> None:
        """Draw how things are now."""
        for line in self._teller.of_projects(self._board.lines):
            if ":" not in line:
                self._remember(line)
        self._live.update(
            render(self._title, self._keepers, self._board.lines or (), list(self._lately), self._ending), refresh=True
        )

    def ending(self) -> None:
        """Draw that the end has begun."""
        self._ending = True
        self.redraw()

    def _remember(self, message: str | None) -> None:
        if message:
            self._lately.append((datetime.now().strftime("%H:%M:%S"), message))


def render(
    title: str, keepers: Sequence[Keeper], lines: Sequence[Line], lately: Sequence[tuple[str, str]], ending: bool
) -> RenderableType:
    """The whole screen."""
    parts: list[RenderableType] = [_headline(title, keepers, lines, ending), Text(), _services(keepers)]
    if lines:
        parts += [Text(), _projects(lines)]
    problems = [(line.name, line.problem) for line in lines if line.problem and line.healthy is False]
    problems += [(title_of(k.service.name), k.condition.problem) for k in keepers if _ails(k)]
    if problems:
        parts += [Text(), _pairs(problems, "red")]
    if lately:
        parts += [Text(), _pairs(lately, "dim")]
    parts += [Text(), Text("stopping the services …" if ending else "Ctrl-C stops it", style="dim")]
    return Padding(Group(*parts), (1, 2))


def _ails(keeper: Keeper) -> bool:
    return bool(keeper.condition.problem) and not keeper.condition.well


def _headline(title: str, keepers: Sequence[Keeper], lines: Sequence[Line], ending: bool) -> Text:
    waiting = sum(k.condition.state is State.STARTING for k in keepers)
    failing = sum(k.condition.state is State.FAILING for k in keepers)
    sick = sum(line.healthy is False for line in lines)
    if ending:
        word, style = "stopping", "yellow"
    elif failing or (sick and not waiting):
        word = " and ".join(filter(None, [_count(failing, "service"), _count(sick, "project")])) + " not healthy"
        style = "red"
    elif waiting:
        word, style = f"starting, {len(keepers) - waiting} of {len(keepers)} up", "yellow"
    else:
        word, style = "all healthy", "green"
    return Text.assemble(("Homeostat", "bold"), "  ", title, "  ", (word, style))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    return table


def _services(keepers: Sequence[Keeper]) -> Table:
    table = _table("service", "address", "state", "restarts")
    for keeper in keepers:
        now, service = keeper.condition, keeper.service
        sign, colour = LOOK[now.state]
        table.add_row(
            Text(title_of(service.name)),
            Text(service.url or "–", style=f"link {service.url}" if service.url else "dim"),
            Text(f"{sign} {now.state.value}", style=colour),
            Text(str(now.restarts) if now.restarts else "–", style="" if now.restarts else "dim"),
        )
    return table


def _projects(lines: Sequence[Line]) -> Table:
    table = _table("project", "health", "champion", "last tick (UTC)", "next run (UTC)", "alerts")
    looks = {True: ("● healthy", "green"), False: ("▲ not healthy", "red"), None: ("○ unknown", "dim")}
    for line in lines:
        health, colour = looks[line.healthy]
        champion = f"version {line.champion}" if line.champion else None
        cells = [champion, _minute(line.last_tick), _minute(line.next_run), None if not line.alerts else line.alerts]
        shown = [Text("–", style="dim") if cell is None else Text(str(cell)) for cell in cells]
        table.add_row(Text(line.name), Text(health, style=colour), *shown)
    return table


def _pairs(pairs: Sequence[tuple[str, str | None]], style: str) -> Table:
    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold", style=style)
    for name, text in pairs:
        grid.add_row(Text(name), Text(text or ""))
    return grid


def _minute(at: str | None) -> str | None:
    """An ISO instant to the minute.

    >>> _minute("2026-01-07T06:00:00Z")
    '7 Jan 06:00'
    """
    if at is None:
        return None
    when = datetime.fromisoformat(at)
    return f"{when.day} {when:%b %H:%M}"


def live_on(console: Console) -> Live:
    """The place on a terminal where the screen is drawn; it stays there when all has ended."""
    return Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

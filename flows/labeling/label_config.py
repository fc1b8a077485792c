"""The words between Homeostat and Label Studio: its labeling config, its tasks, its predictions, its results."""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

from homeostat.flows.labeling.exchange import Item, shown_columns
from homeostat.project import Project, Task

TASK, KEY = "homeostat_task", "homeostat_key"
CONTROL = "label"
HOTKEYS = 9
_VARIABLE = re.compile(r'="\$(\w+)"')


def objects_of(project: Project) -> dict[str, list[str]]:
    """What is shown, by the name that config and tasks call it: `text`, `image`, and the other columns as `row`."""
    text, image = project.labeling.text, project.labeling.image
    rest = [column for column in shown_columns(project) if column not in (text, image)]
    named = {"text": [text] if text else [], "image": [image] if image else [], "row": rest}
    return {name: columns for name, columns in named.items() if columns}


def make_config(project: Project, classes: Sequence[str]) -> str:
    """The labeling config of a project: its shown columns, and one choice of its classes or a number."""
    view, shown = xml.Element("View"), objects_of(project)
    for name in shown:
        tag = {"text": "Text", "image": "Image", "row": "Table"}[name]
        xml.SubElement(view, tag, name=name, value=f"${name}")
    about = {"name": CONTROL, "toName": next(iter(shown)), "required": "true"}
    if project.task is Task.REGRESSION:
        xml.SubElement(view, "Number", about)
        return xml.tostring(view, encoding="unicode")
    control = xml.SubElement(view, "Choices", about | {"choice": "single", "showInline": "true"})
    for number, name in enumerate(classes, 1):
        xml.SubElement(control, "Choice", {"value": name} | ({"hotkey": str(number)} if number <= HOTKEYS else {}))
    return xml.tostring(view, encoding="unicode")


def fits(config: str, project: Project, classes: Sequence[str]) -> bool:
    """Whether a config, however it was dressed up since, can say every label and shows no more than tasks hold."""
    try:
        view = xml.fromstring(config)
    except xml.ParseError:
        return False
    kind = "Number" if project.task is Task.REGRESSION else "Choices"
    controls = [tag for tag in view.iter(kind) if tag.get("name") == CONTROL]
    if not controls or not set(_VARIABLE.findall(config)) <= set(objects_of(project)):
        return False
    return set(classes) <= {choice.get("value") for choice in controls[0].iter("Choice")}


def make_task(item: Item, project: Project, title: str) -> dict[str, Any]:
    """A task as Label Studio imports it, with the model's suggestion where people may see it."""
    shown = objects_of(project)
    data: dict[str, Any] = {TASK: item.task.id, KEY: item.task.key}
    if "text" in shown:
        data["text"] = str(_plain(item.shown.get(shown["text"][0])) or "")
    if "image" in shown:
        data["image"] = picture_of(item.shown.get(shown["image"][0]), project.folder)
    if "row" in shown:
        data["row"] = {column: _plain(item.shown.get(column)) for column in shown["row"]}
    if not project.labeling.show_suggestion or item.task.suggestion is None:
        return {"data": data}
    result = make_result(item.task.suggestion, project)
    return {"data": data, "predictions": [{"model_version": title, "result": [result]}]}


def make_result(label: str, project: Project) -> dict[str, Any]:
    """A label as Label Studio writes it down."""
    about = {"from_name": CONTROL, "to_name": next(iter(objects_of(project)))}
    if project.task is Task.REGRESSION:
        return about | {"type": "number", "value": {"number": float(label)}}
    return about | {"type": "choices", "value": {"choices": [label]}}


def read_label(results: Sequence[Mapping[str, Any]]) -> str | None:
    """The label of an annotation; None where it has none."""
    for result in results:
        value = result.get("value", {})
        if result.get("from_name") == CONTROL and value.get("choices"):
            return str(value["choices"][0])
        if result.get("from_name") == CONTROL and value.get("number") is not None:
            return str(value["number"])
    return None


def picture_of(value: object, folder: Path) -> str:
    """A picture as a browser takes it: a file of the project is sent along, an address stays what it is."""
    text = str(value or "")
    file = folder / text
    if not text or "://" in text or text.startswith("data:") or not file.is_file():
        return text
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _plain(value: object) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)

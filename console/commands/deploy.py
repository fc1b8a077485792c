"""`deploy`: a project's flows on a work pool of a Prefect server, for workers on other machines to run."""

from __future__ import annotations

from typing import Annotated

import typer

from homeostat.console.arguments import HERE, AsJson, Folder
from homeostat.console.output import say_facts, say_json
from homeostat.errors import HomeostatError


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("deploy")(deploy)


def deploy(
    folder: Folder = HERE,
    work_pool: Annotated[str, typer.Option("--work-pool", help="The work pool whose workers run the flows.")] = "",
    image: Annotated[str | None, typer.Option(help="The image to run them from, on Docker and Kubernetes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put the project's deployments on a work pool of the Prefect server that PREFECT_API_URL names.

    The deployments are those of `up`, with the same schedules and automations. A process worker needs the project's
    folder and this package; an image must contain both.
    """
    from homeostat.flows.orchestration.deployments import deploy as put
    from homeostat.flows.servers.local import prefect_server
    from homeostat.project import load_project
    from homeostat.records import Scope
    from homeostat.settings import find_paths

    project = load_project(folder)
    paths = find_paths(project, Scope.LIVE)
    if not paths.prefect_api_url:
        raise HomeostatError(
            "deploy: PREFECT_API_URL is not set.", "Set it to the address of the server that has the work pool."
        )
    if not work_pool:
        raise HomeostatError("deploy: no work pool given.", "Name one with --work-pool.")
    with prefect_server(paths) as url:
        ids = put(project, work_pool, image)
    names = {f"{flow}/{project.name}": str(deployment) for flow, deployment in ids.items()}
    if as_json:
        say_json({"project": project.name, "work_pool": work_pool, "server": url, "deployments": names})
    else:
        worker = f"prefect worker start --pool {work_pool}"
        say_facts(f"{project.name} is deployed", {"server": url, "deployments": len(names), "run them with": worker})

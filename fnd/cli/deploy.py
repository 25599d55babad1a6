"""`fnd deploy`: build a function's directory and put it into service."""

from __future__ import annotations

from pathlib import Path

import click

from fnd.cli.deployment import Deployment, deploy_directory
from fnd.cli.options import daemon_of
from fnd.cli.output import JSON, fields, output_option, stdout, write_json
from fnd.cli.progress import Progress


@click.command
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--app", required=True, metavar="NAME", help="The app it goes into.")
@click.option("--create-app", is_flag=True, help="Create the app if there is none of that name.")
@click.option("--driver", metavar="NAME", help="The driver that builds and runs it, if not the daemon's default.")
@click.option("--no-triggers", is_flag=True, help="Leave out the triggers that func.yaml lists.")
@output_option
@click.pass_context
def deploy(
    ctx: click.Context,
    directory: Path,
    app: str,
    create_app: bool,
    driver: str | None,
    no_triggers: bool,
    output: str,
) -> None:
    """Build DIRECTORY (the current one if not given) and put it into service in an app.

    Its func.yaml says what the function is called, what it may use, and which URLs lead to it. Files that
    .fndignore lists stay out, as do caches, environments and version control. Deploying again replaces the
    function; calls that run finish on the old one.
    """
    deployment = deploy_directory(
        daemon_of(ctx),
        directory,
        app,
        Progress(),
        create_app=create_app,
        driver=driver,
        with_triggers=not no_triggers,
    )
    if output == JSON:
        write_json(
            {
                "app": deployment.app,
                "fn": deployment.fn,
                "created": deployment.created,
                "triggers": list(deployment.triggers),
                "invoke_url": deployment.invoke_url,
                "trigger_urls": list(deployment.trigger_urls),
            }
        )
    else:
        stdout().print(fields(_for_people(deployment)))


def _for_people(deployment: Deployment) -> list[tuple[str, object]]:
    fn = deployment.fn
    shown: list[tuple[str, object]] = [
        ("function", f"{deployment.app['name']} {fn['name']} ({'new' if deployment.created else 'replaced'})"),
        ("image", fn["image"]),
        ("invoke", deployment.invoke_url),
    ]
    return shown + [("trigger", url) for url in deployment.trigger_urls]

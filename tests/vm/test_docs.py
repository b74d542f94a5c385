"""What the documents tell readers to type, typed; what they say comes out, compared."""

import os
from pathlib import Path

import pytest

from tests.lab import Lab, demo, load
from tests.vm.conftest import OUT
from tests.vm.console import Shell, missing_line, rewritten, steps_of

ROOT = Path(__file__).parents[2]


def follow(path: str, shell: Shell) -> None:
    document = (ROOT / path).read_text()
    printed, wrong = {}, []
    for step in steps_of(document):
        printed[step.line] = shell.run(step.command)
        missing = missing_line(step.shown, printed[step.line])
        if missing is not None:
            wrong.append(f"{path}:{step.line}: # {step.command}\n  shown:   {missing}\n  printed: "
                         + "\n           ".join(printed[step.line] or ["(nothing)"]))
    if "SEPAL_DOCS_WRITE" in os.environ:
        (OUT / "docs").mkdir(parents=True, exist_ok=True)
        (OUT / "docs" / Path(path).name).write_text(rewritten(document, printed))
    assert not wrong, "\n".join(wrong)


def test_the_tutorial_is_true():
    shell = Shell(["unshare", "--net", "--mount", "bash", "--norc"], ROOT)
    shell.run("ip link set lo up; mount -t tmpfs tmpfs /run/netns 2>/dev/null || "
              "{ mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns; }")
    try:
        follow("docs/tutorial/first-tenant.md", shell)
    finally:
        shell.run("kill %1 2>/dev/null; rm -rf /etc/sepal")
        shell.close()


@pytest.mark.parametrize("document", ["docs/how-to/debug-a-flow.md", "docs/how-to/debug-offload.md"])
def test_a_how_to_for_the_lab_is_true(document, tmp_path):
    with Lab(load(), OUT / "logs" / "docs") as lab:
        for host in demo.HOSTS:
            lab.start_agent(host, demo.EXAMPLES / host)
        shell = Shell(["bash", "--norc"], ROOT)
        shell.run(demo.shell_commands())
        try:
            follow(document, shell)
        finally:
            shell.close()

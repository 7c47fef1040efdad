"""Runs the scripts of `page/`, which drive Chromium."""

import os
import subprocess

import harness

SCRIPTS = harness.ROOT / "tests" / "clients" / "page"
SECONDS = 120


def in_browser(test, script, hookbox, **environment):
    """Runs a script against the page of this hookbox, with its token if it has one. `environment` is what the script
    reads besides, and what it reads instead of `PAGE_URL` and `PAGE_TOKEN`. Fails with the output of the script."""
    home = harness.folder(test)
    log = home / "log"
    given = {"PATH": os.environ["PATH"], "HOME": str(home), "INSTALLED": str(harness.INSTALLED)}
    given |= {"PAGE_URL": hookbox.url, "PAGE_TOKEN": hookbox.environment.get("HOOKBOX_ADMIN_TOKEN", "")}
    with log.open("wb") as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        command = ["node", str(SCRIPTS / script)]
        process = subprocess.Popen(command, cwd=home, env=given | environment, **streams)
    try:
        code = process.wait(SECONDS)
        ending = f"ended with {code}"
    except subprocess.TimeoutExpired:
        code, ending = None, f"was still running after {SECONDS} s"
    finally:
        _end(process)
    if code != 0:
        test.fail(f"{script} {ending}:\n{log.read_text(errors='replace')[-10_000:]}")


def _end(process):
    """Ends a script with its browser, which is in a process group of its own: the script closes it at SIGTERM, and it
    ends by itself if the script is killed."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

#!/usr/bin/env python3
"""Backs up a SQLite file with many webhooks while hookbox accepts further ones into it, and compares the time to their
answers with that before and after. Needs Python 3.9, Linux and wrk.

    bench/backup.py target/release/hookbox
    bench/backup.py target/release/hookbox --webhooks 100000 --connections 16

The file is filled as search.py does it: all webhooks have a body, and their jobs are completed. Then wrk sends as fast as
hookbox accepts. Each round measures for some seconds without a backup, then for as long as one
takes, and then without one again. Prints for each what was accepted, p50 and p99, how long the backup took, how large
the copy and the largest write-ahead log are, and the ratio of p99 to the mean of that before and after. At the end a
hookbox serves the last copy: all of its jobs have to complete, as many as the backup has counted. No copy may have fewer
webhooks than were accepted before it was begun.

Exit code 1 if a goal is missed: p99 during a backup at most 2 times that without (the median of the rounds), and counts
that agree.
"""

import argparse, os, re, shutil, signal, statistics, subprocess, sys, threading, time

import search
from processes import HERE, HOST, Hookbox, wait_until

PORT, COPY_PORT = 18780, 18782
MOST_RATIO = 2.0
BODY_BYTES = 190  # as of the webhooks that wrk sends
SETTINGS = """
[[routes]]
name = "default"
handler = "simulate"
simulate = { min = "0s", max = "0s" }
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--webhooks", type=int, default=5_000_000, help="webhooks in the file before the first backup")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30, help="of a measurement without a backup")
    return parser.parse_args()


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]


class Load:
    """wrk, until it is told to stop."""

    def __init__(self, hookbox, connections):
        command = ["wrk", "-t1", f"-c{connections}", "-d3600s", "--latency", "-s", f"{HERE}/load.lua",
                   f"http://{HOST}:{hookbox.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def stop(self):
        """Returns what was accepted a second, p50 and p99."""
        # Then wrk prints what it has measured.
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=60)
        if "Non-2xx" in output or "Socket errors" in output:
            sys.exit(f"webhooks were refused:\n{output}")
        rate = float(re.search(r"Requests/sec: +([\d.]+)", output).group(1))
        return rate, *(milliseconds(re.search(rf"^ +{share}% +(\S+)$", output, re.M).group(1)) for share in (50, 99))


class LogSize:
    """The largest size of the write-ahead log, in MiB, until it is stopped."""

    def __init__(self, path):
        self.path, self.most, self.stopping = path, 0.0, threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.stopping.wait(0.1):
            self.most = max(self.most, os.path.getsize(self.path) / 1024 / 1024)

    def stop(self):
        self.stopping.set()
        self.thread.join()
        return self.most


def fill(hookbox, webhooks):
    hookbox.process.send_signal(signal.SIGTERM)
    hookbox.process.wait(60)
    begin_ms = int(time.time() * 1000) - 3_600_000 - webhooks
    options = argparse.Namespace(webhooks=webhooks, bodies=webhooks, bytes=BODY_BYTES, begin_ms=begin_ms)
    search.fill_sqlite(f"{hookbox.folder}/hookbox.db", options)
    hookbox.start()
    wait_until("all jobs completed", lambda: unfinished(hookbox) == 0, 600, 1)


def unfinished(hookbox):
    counts = hookbox.ask("GET", "/v1/stats")["counts"]
    return sum(int(counts[status]) for status in ("pending", "processing", "retrying"))


def back_up(hookbox, copy):
    """Runs `hookbox backup`. Returns what it has counted, and how long it took."""
    command = [hookbox.command[0], "backup", "--database-url", f"sqlite://{hookbox.folder}/hookbox.db", "--to", copy]
    began = time.monotonic()
    environment = {"PATH": os.environ["PATH"]}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    took = time.monotonic() - began
    return {name: int(count) for name, count in re.findall(r"^  (\w+) +(\d+)$", output, re.M)}, took


def row(what, measured, more=""):
    rate, p50, p99 = measured
    print(f"{what:14} {rate:8.0f} /s   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms{more}", flush=True)


def alone(hookbox, options):
    load = Load(hookbox, options.connections)
    time.sleep(options.seconds)
    return load.stop()


def measure(hookbox, options, copy):
    """One round. Returns the ratio, and what the backup has counted."""
    before = alone(hookbox, options)
    row("before", before)
    load, log = Load(hookbox, options.connections), LogSize(f"{hookbox.folder}/hookbox.db-wal")
    time.sleep(1)
    accepted = options.webhooks + accepted_webhooks(hookbox)
    counted, took = back_up(hookbox, copy)
    during, most = load.stop(), log.stop()
    size = os.path.getsize(copy) / 1024 / 1024
    row("during backup", during, f"   backup {took:.1f} s, copy {size:.0f} MiB, log {most:.0f} MiB")
    after = alone(hookbox, options)
    row("after", after)
    if counted["webhooks"] < accepted:
        sys.exit(f"{accepted} webhooks were accepted before the backup, and the copy has {counted['webhooks']}")
    ratio = during[2] / statistics.mean([before[2], after[2]])
    print(f"p99 {ratio:.2f} times", flush=True)
    return ratio, counted


def accepted_webhooks(hookbox):
    return hookbox.metric("hookbox_submissions_total{", 'outcome="accepted"')


def check(options, copy, counted):
    """Serves the copy, and compares its counts with those of the backup."""
    with Hookbox(options.program, f"sqlite://{copy}", SETTINGS, COPY_PORT) as hookbox:
        jobs = sum(count for name, count in counted.items() if name not in ("webhooks", "attempts"))
        wait_until("all jobs of the copy completed", lambda: unfinished(hookbox) == 0, 600, 1)
        completed = int(hookbox.ask("GET", "/v1/stats")["counts"]["completed"])
    print(f"the copy opens: {completed} of {jobs} jobs are completed")
    return completed == jobs


def main():
    options = arguments()
    # Retention that is over would remove webhooks meanwhile.
    keep = {"retention_completed": "365d", "retention_dead_lettered": "365d", "retention_keys": "365d"}
    with Hookbox(options.program, None, SETTINGS, PORT, **keep) as hookbox:
        fill(hookbox, options.webhooks)
        ratios, copy, counted = [], None, None
        for number in range(options.rounds):
            if copy:
                os.remove(copy)
            copy = f"{hookbox.folder}/copy-{number}.db"
            ratio, counted = measure(hookbox, options, copy)
            ratios.append(ratio)
        agrees = check(options, copy, counted)
    ratio = statistics.median(ratios)
    is_met = ratio <= MOST_RATIO and agrees
    print(f"p99 during a backup {ratio:.2f} times that without (goal: at most {MOST_RATIO:.0f}); "
          f"counts {'agree' if agrees else 'differ'}: {'met' if is_met else 'MISSED'}")
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: install it (on Debian: apt-get install wrk), then run this again")
    main()

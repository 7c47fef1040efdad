#!/usr/bin/env python3
"""Compares builds of hookbox, or settings of one build. Starts each subject on an empty store and loads it with
wrk, in turns, then prints the medians and the ratios to the first subject. Needs Python 3.9, wrk, and for
PostgreSQL psql.

    bench/compare.py before=/tmp/before after=target/release/hookbox
    bench/compare.py --store postgres --complete one=HOOKBOX three=HOOKBOX,three.toml
    bench/compare.py echo=target/release/examples/bare_echo after=target/release/hookbox

A subject is NAME=PROGRAM or NAME=PROGRAM,SETTINGS, where SETTINGS is a settings file. `cpu us` is the CPU time of
hookbox and PostgreSQL per webhook in microseconds, without that of wrk. `flushes` are commits of SQLite, or syncs
of PostgreSQL's log, per webhook.
"""

import argparse, os, re, shutil, signal, statistics, subprocess, sys, tempfile, time, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
PORT, GRPC_PORT = 18080, 15051


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="+", metavar="NAME=PROGRAM[,SETTINGS]")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--server", default="postgres://postgres@127.0.0.1:5432", help="PostgreSQL server on which a database is created")
    parser.add_argument("--complete", action="store_true", help="use handlers that complete at once; without it, no job is completed")
    parser.add_argument("--keys", choices=["random", "ordered"], default="random")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def stat(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()


def cpu(pid):
    """CPU seconds of a process."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def postgres_cpu():
    """CPU seconds of all processes of PostgreSQL, with those of child processes that have ended."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as file:
                if file.read().strip() == "postgres":
                    total += sum(int(field) for field in stat(pid)[11:15])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / TICKS


def written(pid):
    with open(f"/proc/{pid}/io") as file:
        return int(re.search(r"^write_bytes: (\d+)", file.read(), re.M).group(1))


def metrics():
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


def completed(values):
    return sum(value for name, value in values.items()
               if name.startswith("hookbox_attempts_total") and 'outcome="completed"' in name)


def psql(options, database, sql):
    return subprocess.run(["psql", "-qtA", "-d", f"{options.server}/{database}", "-c", sql],
                          check=True, capture_output=True, text=True).stdout.strip()


def wait_until_ready(process):
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=1).close()
            return
        except urllib.error.HTTPError as error:
            if error.code == 404:  # The example bare_echo does not serve this path.
                return
        except OSError:
            pass
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} ended with {process.returncode}")
        time.sleep(0.05)
    sys.exit("not ready within 30 s")


class Subject:
    def __init__(self, text):
        self.name, program = text.split("=", 1)
        program, _, self.settings = program.partition(",")
        self.program = os.path.abspath(program)
        self.is_echo = "echo" in os.path.basename(self.program)
        # Every route of the settings takes every webhook.
        self.jobs = open(self.settings).read().count("[[routes]]") if self.settings else 1
        self.rounds = []

    def start(self, options, folder):
        if self.is_echo:
            return subprocess.Popen([self.program, f"127.0.0.1:{PORT}"], cwd=folder)
        if options.store == "postgres":
            psql(options, "postgres", "DROP DATABASE IF EXISTS hookbox_compare WITH (FORCE)")
            psql(options, "postgres", "CREATE DATABASE hookbox_compare")
            url = f"{options.server}/hookbox_compare?sslmode=disable"
        else:
            url = f"sqlite://{folder}/hookbox.db"
        if self.settings:
            shutil.copy(self.settings, f"{folder}/hookbox.toml")
        run = "0s" if options.complete else "1h"
        workers = [] if options.complete else ["--workers", "1"]
        return subprocess.Popen(
            [self.program, "serve", "--database-url", url, "--http-addr", f"127.0.0.1:{PORT}",
             "--grpc-addr", f"127.0.0.1:{GRPC_PORT}", "--max-backlog", "100000000", "--shutdown-grace", "0s",
             "--simulate-min", run, "--simulate-max", run, "--log", "warn"] + workers, cwd=folder)

    def measure(self, options):
        folder = tempfile.mkdtemp(prefix="hookbox-compare-")
        process = self.start(options, folder)
        try:
            wait_until_ready(process)
            warmed_up, _ = self.load(options, 1)
            self.wait_until_completed(options, warmed_up * self.jobs)
            figures = self.observe(options, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            shutil.rmtree(folder)
        self.rounds.append(figures)
        return figures

    def observe(self, options, process):
        is_postgres = options.store == "postgres" and not self.is_echo
        def look():
            values = {} if self.is_echo else metrics()
            flushes = values.get("hookbox_commit_duration_seconds_count", 0)
            if is_postgres:
                flushes = float(psql(options, "hookbox_compare", "SELECT wal_sync FROM pg_stat_wal"))
            return (cpu(process.pid) + (postgres_cpu() if is_postgres else 0), flushes, written(process.pid),
                    completed(values))
        before, began = look(), time.monotonic()
        accepted, p99 = self.load(options, options.seconds)
        at_end, took = look(), time.monotonic() - began
        figures = {"accepted/s": accepted / options.seconds, "p99 ms": p99}
        if options.complete and not self.is_echo:
            figures["completed while accepting"] = (at_end[3] - before[3]) / accepted / self.jobs
            self.wait_until_completed(options, before[3] + accepted * self.jobs)
            at_end, took = look(), time.monotonic() - began
            figures["webhooks completed/s"] = accepted / took
        figures["cpu us"] = (at_end[0] - before[0]) * 1e6 / accepted
        if not self.is_echo:
            figures["flushes"] = (at_end[1] - before[1]) / accepted
            if not is_postgres:
                figures["bytes written"] = (at_end[2] - before[2]) / accepted
        return figures

    def wait_until_completed(self, options, jobs):
        deadline = time.monotonic() + 300
        while options.complete and not self.is_echo and completed(metrics()) < jobs:
            if time.monotonic() > deadline:
                sys.exit(f"{self.name}: not completed within 300 s")
            time.sleep(0.05)

    def load(self, options, seconds):
        """Returns how many webhooks were accepted, and the p99 latency in milliseconds."""
        output = subprocess.run(
            ["wrk", "-t1", f"-c{options.connections}", f"-d{seconds}s", "--latency", "-s", f"{HERE}/load.lua",
             f"http://127.0.0.1:{PORT}", "--", options.keys], check=True, capture_output=True, text=True).stdout
        if "Non-2xx" in output:
            sys.exit(f"{self.name} refused webhooks:\n{output}")
        p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", output).groups()
        return (int(re.search(r"(\d+) requests in", output).group(1)),
                float(p99) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit])


def main():
    options = arguments()
    subjects = [Subject(text) for text in options.subjects]
    for number in range(options.rounds):
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            figures = subject.measure(options)
            print(number + 1, subject.name, *(f"{name} {value:.4g}" for name, value in figures.items()),
                  sep="  ", flush=True)
    print(f"\n{options.store}, {options.keys} keys, {options.connections} connections,",
          f"{options.rounds} rounds of {options.seconds} s: medians (ratio to {subjects[0].name}: median, min, max)")
    for subject in subjects:
        print(subject.name)
        for name in subject.rounds[0]:
            values = [figures[name] for figures in subject.rounds]
            line = f"  {name}: {statistics.median(values):.4g}"
            first = [figures.get(name) for figures in subjects[0].rounds]
            if subject is not subjects[0] and all(first):
                ratios = [value / base for value, base in zip(values, first)]
                line += f" ({statistics.median(ratios):.3f}, {min(ratios):.3f}, {max(ratios):.3f})"
            print(line)


main()

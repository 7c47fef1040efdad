#!/usr/bin/env python3
"""Measures replays against their goals: how fast they are, and what others notice. Needs Python 3.9, Linux, wrk and, for
PostgreSQL, psql.

    bench/replay.py target/release/hookbox
    bench/replay.py target/release/hookbox others --webhooks 1000000 --store postgres

rate    Jobs a second that a replay without a rate restarts, of a handler that does nothing, and the share of that in the
        webhooks a second that are accepted, one in a request, while no job starts.
others  What others notice while such a replay runs: from the 202 of a webhook to the first byte at its target, of another
        route; from the acceptance to the start of the attempt, of a new webhook of the route that is replayed; and the
        time that accepting a webhook takes.

Each part starts hookbox on an empty store, --rounds times, and first has --webhooks accepted and completed; goals hold for
the medians. Exit code 1 if one is missed.
"""

import argparse, datetime, statistics, sys, time

from handlers import TARGET, first_bytes, http_route, route, text, timed_target
from processes import Hookbox, create_database, drop_database, most_open_files, percentile, wait_until

PORT, DATABASE = 18490, "hookbox_replay"
WORKERS = 64


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("parts", nargs="*", metavar="PART", help="all, if none is named")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--server", default="postgres://postgres@127.0.0.1:5432", help="PostgreSQL server on which a database is created")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--webhooks", type=int, default=100_000, help="how many are replayed, at least")
    parser.add_argument("--probes", type=int, default=200, help="how many webhooks `others` sends, one at a time, of each kind")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return options


def start(options, more=""):
    url = create_database(options.server, DATABASE) if options.store == "postgres" else None
    settings = route("orders", "order.*", 'handler = "simulate"') + more
    return Hookbox(options.program, url, settings, PORT, workers=WORKERS, simulate_min="0s", simulate_max="0s")


def fill(options, hookbox):
    """Has webhooks accepted, and then completed. Returns how many there are, and how many were accepted a second."""
    hookbox.ask("POST", "/v1/pause?route=orders")
    accepted, seconds = 0, 0
    while accepted < options.webhooks:
        accepted += hookbox.load(4)
        seconds += 4
    hookbox.ask("POST", "/v1/resume?route=orders")
    # The requests that wrk has cut off at its end are stored too, and not in its number.
    is_idle = lambda counts: counts["completed"] >= accepted and not counts["pending"] and not counts["processing"]
    wait_until("all jobs are completed", lambda: is_idle(hookbox.counts("orders")), 3600)
    return hookbox.counts("orders")["completed"], accepted / seconds


def replay(hookbox):
    return hookbox.ask("POST", "/v1/replays", {"filter": {"route": "orders", "status": ["completed"]}})["number"]


def moment(value):
    return datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))


def seconds_between(one, other):
    return (moment(other) - moment(one)).total_seconds()


# Parts. Each returns its figures of a round by name.

def measure_rate(options):
    with start(options) as hookbox:
        webhooks, accepted_rate = fill(options, hookbox)
        before, began = hookbox.attempts("completed"), time.monotonic()
        number = replay(hookbox)
        look = lambda: hookbox.ask("GET", f"/v1/replays/{number}")
        wait_until("the replay is over", lambda: look()["state"] == "completed", 3600)
        wait_until("all jobs are completed again", lambda: hookbox.attempts("completed") - before >= webhooks, 3600)
        took, ended = time.monotonic() - began, look()
        if ended["counts"]["jobs"] != webhooks:
            sys.exit(f"not all of {webhooks} jobs run again: {ended}")
    restarted_rate = webhooks / seconds_between(ended["started_at"], ended["ended_at"])
    return {"accepted/s": accepted_rate, "restarted/s": restarted_rate, "of accepting": restarted_rate / accepted_rate,
            "restarted and completed/s": webhooks / took}


def waits(hookbox, probes):
    """Milliseconds from the acceptance of a webhook of the replayed route to the start of its attempt. Sends one at a time."""
    found = []
    for number in range(probes):
        body = {"idempotency_key": f"probe-{time.monotonic_ns()}", "event_type": "order.probe", "payload": number}
        path = f"/v1/webhooks/{hookbox.ask('POST', '/v1/webhooks', body)['id']}"
        look = lambda: hookbox.ask("GET", path)
        wait_until("the probe is completed", lambda: look()["status"] == "completed", 60, pause=0.005)
        webhook = look()
        found.append(1e3 * seconds_between(webhook["accepted_at"], webhook["attempts"][0]["started_at"]))
    return found


def probe(options, hookbox, arrivals):
    """What others notice, in milliseconds."""
    of_sending, of_answer = first_bytes(hookbox, arrivals, options.probes)
    answers = [sending - answer for sending, answer in zip(of_sending, of_answer)]
    same = waits(hookbox, options.probes)
    return {"another route's wait, p50": percentile(of_answer, 0.5), "another route's wait, p95": percentile(of_answer, 0.95),
            "the same route's wait, mean": statistics.mean(same), "the same route's wait, p95": percentile(same, 0.95),
            "accepting, p50": percentile(answers, 0.5), "accepting, p95": percentile(answers, 0.95)}


def measure_others(options):
    with timed_target() as arrivals, start(options, http_route("timed", "timed", TARGET)) as hookbox:
        fill(options, hookbox)
        alone = probe(options, hookbox, arrivals)
        number = replay(hookbox)
        time.sleep(0.5)
        beside = probe(options, hookbox, arrivals)
        if hookbox.ask("GET", f"/v1/replays/{number}")["state"] != "running":
            sys.exit("the replay was over too early; give more --webhooks, or fewer --probes")
        hookbox.ask("POST", f"/v1/replays/{number}/cancel")
    figures = {}
    for name in alone:
        figures |= {f"{name}, ms alone": alone[name], f"{name}, ms beside": beside[name],
                    f"{name}, beside of alone": beside[name] / max(alone[name], 0.01)}
    return figures


# What each part measures, and its goals: a figure, and whether its median reaches the goal.
PARTS = {
    "rate": (measure_rate, {"of accepting": (">=", 0.5)}),
    "others": (measure_others, {"another route's wait, p50, beside of alone": ("<=", 2),
                                "another route's wait, p95, beside of alone": ("<=", 2)}),
}


def main():
    options = arguments()
    most_open_files()
    missed = []
    for part in options.parts or PARTS:
        measure, goals = PARTS[part]
        rounds = []
        for number in range(options.rounds):
            rounds.append(measure(options))
            print(part, number + 1, *(f"{name} {text(value)}" for name, value in rounds[-1].items()), sep="  ", flush=True)
        print(f"\n{part} ({options.store}, {options.webhooks} webhooks): median of {options.rounds} rounds (smallest to largest)")
        for name in rounds[0]:
            values = [figures[name] for figures in rounds]
            median = statistics.median(values)
            line = f"  {name}: {text(median)} ({text(min(values))} to {text(max(values))})"
            if name in goals:
                sign, goal = goals[name]
                is_reached = median >= goal if sign == ">=" else median <= goal
                line += f"  goal {sign} {text(goal)}" + ("" if is_reached else ": MISSED")
                missed += [] if is_reached else [f"{part}: {name}"]
            print(line, flush=True)
        print(flush=True)
    if options.store == "postgres":
        drop_database(options.server, DATABASE)
    print("missed: " + ", ".join(missed) if missed else "all goals are reached")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

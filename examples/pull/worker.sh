#!/bin/sh
# A worker in sh for routes whose handler is `pull`. `HOOKBOX_URL=http://127.0.0.1:8080 sh worker.sh orders` takes the
# jobs of `orders`. Needs curl 7.76 or later, and jq; and HOOKBOX_TOKEN, if requests need a token. SIGTERM ends it once the
# jobs that it holds are finished. While hookbox is away, it tries again every second.

# Replace this. Reads the payload; prints the result as JSON, or fails with the reason on standard error. The jobs of a
# lease run one after the other and have 60 s together; longer ones have to call /v1/work/extend. It can run again for
# the same job, after a failure or a crash, so key its effects by $1, the delivery id.
# jq 1.6 rounds numbers of more than 15 digits; jq 1.7 does not.
handle() {
    jq -ce 'if .order_id then {shipped: .order_id} else error("the payload has no order_id") end'
}

url=${HOOKBOX_URL:-http://127.0.0.1:8080}/v1/work
name=$(uname -n)-$$
dir=$(mktemp -d) || exit
trap 'rm -r "$dir"' EXIT
stopping=
trap 'stopping=1; kill "$leasing" 2>/dev/null' TERM
wanted='{routes: $ARGS.positional, $worker, max_jobs: 10, wait: "20s", lease: "60s"}'
wanted=$(jq -nc --arg worker "$name" "$wanted" --args "$@")
set -- --silent --show-error --fail-with-body --max-time 30 --header 'Content-Type: application/json'
# From a file, because other users of the machine can see arguments. Without a token the file is empty.
printf '%s' "${HOOKBOX_TOKEN:+header = \"Authorization: Bearer $HOOKBOX_TOKEN\"}" >"$dir/token"
set -- "$@" --config "$dir/token"

while [ -z "$stopping" ]; do
    # In the background, because a shell handles a signal while it waits, but not while a command runs.
    curl "$@" --data "$wanted" --output "$dir/leased" "$url/lease" & leasing=$!
    if ! wait "$leasing"; then
        [ -n "$stopping" ] && break
        cat "$dir/leased" 2>/dev/null >&2; rm -f "$dir/leased"; sleep 1; continue
    fi
    leasing=
    # jq cannot read an answer, so the jobs in it wait for the end of their leases. From now on, leases one at a time, so
    # that the job at fault keeps no other from running.
    if ! jq empty "$dir/leased"; then
        wanted=$(printf '%s' "$wanted" | jq -c '.max_jobs = 1'); sleep 1; continue
    fi
    jq -c '.jobs[]' "$dir/leased" | while read -r job; do
        delivery=$(printf '%s' "$job" | jq -r .delivery_id)
        if printf '%s' "$job" | jq -c .payload | handle "$delivery" >"$dir/result" 2>"$dir/error"; then
            outcome='{completed: {result: $result[0]}}'
        else # retried, as the route says; `permanent: true` makes a dead letter at once
            outcome='{failed: {error: "exit code '$?': \($error)"}}'
            : >"$dir/result"
        fi
        printf '%s' "$job" | jq -c --slurpfile result "$dir/result" --rawfile error "$dir/error" "{lease} + $outcome"
    done | jq -cs --arg worker "$name" '{$worker, outcomes: .}' >"$dir/outcomes"
    jq -e '.outcomes == []' "$dir/outcomes" >/dev/null && continue
    until curl "$@" --retry 5 --data "@$dir/outcomes" --output "$dir/finished" "$url/finish"; do
        # 22: hookbox has refused the outcomes.
        if [ $? -eq 22 ] || [ -n "$stopping" ]; then cat "$dir/finished" >&2; exit 1; fi
        sleep 1
    done
done

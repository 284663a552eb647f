# Sourced by the scripts that run checks: names every step, times it, stops at the first failure, ends in a summary.

# Files, for steps that run in the background write them too.
step_notes=$(mktemp -d)
touch "$step_notes/rows"
step_background=
SECONDS=0

step() { # name command...
    local name=$1 start=$SECONDS status=0
    shift
    printf '\n== %s\n' "$name"
    # A subshell outside any condition, so that `set -e` holds inside functions too.
    set +e
    (set -e; "$@")
    status=$?
    set -e
    printf '%5ds  %s\n' $((SECONDS - start)) "$name" >>"$step_notes/rows"
    if [ "$status" -ne 0 ]; then
        echo "$name" >>"$step_notes/failed"
        exit "$status"
    fi
}

# Runs steps beside those that follow, until `join`. What they print is kept until then.
beside() { # command, of steps
    echo "beside the following, with its output at the end: $1"
    # In a process group of its own, so that nothing of it is left when the others fail.
    set -m
    (set -e; "$@") >"$step_notes/output" 2>&1 &
    step_background=$!
    set +m
}

join() {
    local status=0
    wait "$step_background" || status=$?
    step_background=
    cat "$step_notes/output"
    return "$status"
}

# Runs the same command once per remaining argument, two at a time: CI has two cores. Fails when one fails.
in_pairs() { # command item...
    local command=$1 failed=0
    shift
    while [ $# -gt 0 ]; do
        local pids=() item
        for item in "${@:1:2}"; do
            "$command" "$item" &
            pids+=($!)
        done
        local pid
        for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
        shift "${#pids[@]}"
    done
    return "$failed"
}

summary() {
    local status=$? failed=start
    if [ -n "$step_background" ]; then
        kill -- "-$step_background" 2>/dev/null && cat "$step_notes/output"
    fi
    printf '\n'
    cat "$step_notes/rows"
    [ ! -f "$step_notes/failed" ] || failed=$(head -1 "$step_notes/failed")
    if [ "$status" -eq 0 ]; then
        printf 'summary: %d steps passed in %d s\n' "$(wc -l <"$step_notes/rows")" "$SECONDS"
    else
        printf 'summary: FAILED at "%s" after %d s\n' "$failed" "$SECONDS"
    fi
    rm -r "$step_notes"
}
trap summary EXIT

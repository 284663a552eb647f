# Sourced by the scripts that run checks: names every step, times it, stops at the first failure, ends in a summary.

step_rows=()
step_failed=
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
    step_rows+=("$(printf '%5ds  %s' $((SECONDS - start)) "$name")")
    if [ "$status" -ne 0 ]; then
        step_failed=$name
        exit "$status"
    fi
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
    local status=$?
    printf '\n'
    [ "${#step_rows[@]}" -eq 0 ] || printf '%s\n' "${step_rows[@]}"
    if [ "$status" -eq 0 ]; then
        printf 'summary: %d steps passed in %d s\n' "${#step_rows[@]}" "$SECONDS"
    else
        printf 'summary: FAILED at "%s" after %d s\n' "${step_failed:-start}" "$SECONDS"
    fi
}
trap summary EXIT

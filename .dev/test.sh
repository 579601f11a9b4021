# shellcheck shell=bash
# `./dev test` and `./dev fuzz`. Sourced by ./dev.

failed_steps=

# step NAME COMMAND...: runs it with its output shown and kept, and remembers a failure without stopping the others.
step() {
    local name=$1 status=0
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$logs/$name.log" || status=${PIPESTATUS[0]}
    if [ "$status" != 0 ]; then
        printf -- '-- %s failed (exit %s)\n' "$name" "$status"
        failed_steps="$failed_steps $name"
    fi
    return "$status"
}

# checked NAME COMMAND...: a step that counts as one test: a build, a check.
checked() {
    if step "$@"; then echo "1 0" >>"$tally"; else echo "0 1" >>"$tally"; fi
}

# counted NAME COMMAND...: a step whose log ends with "N passed, N failed", which goes into the sum.
counted() {
    step "$@" || : # remembered by step
    python3 .dev/tally.py add "$tally" "$logs/$1.log"
}

# ctest's whole output goes to a file, from which tally.py prints what failed and the count.
ctest_in() {
    local log=$logs/ctest-$1.log status=0 launcher=()
    # gcc 12's thread sanitizer cannot place its shadow where the kernel spreads mappings wider than it expects.
    [ "$1" != tsan ] || ! setarch "$(uname -m)" -R true 2>/dev/null || launcher=(setarch "$(uname -m)" -R)
    "${launcher[@]}" ctest --test-dir "build/$1" -V -j "$jobs" ${filter:+-R "$filter"} --no-tests=ignore >"$log" 2>&1 || status=$?
    grep -E '^ *[0-9]+/[0-9]+ Test' "$log" || : # none is told below
    python3 .dev/tally.py ctest "$log"
    return "$status"
}

functional_in() {
    local chosen=(--preset "$1" -j "$jobs" ${filter:+-k "$filter"})
    if [ -n "$filter" ] && [ -z "$(tests/functional/run "${chosen[@]}" --list)" ]; then
        echo "no functional test is called that"
        echo "0 passed, 0 failed"
        return
    fi
    tests/functional/run "${chosen[@]}"
}

# What a request costs is counted on the release build: the others have checks and sanitizers in them.
cost() {
    need valgrind strace binutils python3 'redis-server|valkey-server'
    build release >&2
    tests/cost/run "$@"
}

# Where Valkey is installed and Redis is not, the tests run against Valkey.
choose_redis() {
    command -v redis-server >/dev/null || export KAMIYO_TEST_REDIS="${KAMIYO_TEST_REDIS:-valkey-server}"
}

run_tests() {
    local filter=${1:-} check started=$SECONDS
    need_for_build debug
    need_for_checks fast
    need python3 'redis-server|valkey-server' openssl chromium chromium-driver
    choose_redis
    logs=$root/build/logs
    tally=$logs/tally
    mkdir -p "$logs"
    : >"$tally"
    checked build-debug build debug -DKAMIYO_WERROR=ON
    checked build-asan build asan -DKAMIYO_WERROR=ON
    checked build-tsan build tsan -DKAMIYO_WERROR=ON
    if [ -z "$filter" ]; then
        for check in $fast_checks $built_checks; do
            checked "$check" "tests/lint/$check"
        done
    fi
    counted unit-debug ctest_in debug
    counted unit-asan ctest_in asan
    counted unit-tsan ctest_in tsan
    counted functional-asan functional_in asan
    if [ -z "$filter" ] || [[ cost == *"$filter"* ]]; then
        counted cost cost
    fi
    printf '\nlogs are in build/logs; %s s\n' "$((SECONDS - started))"
    [ -z "$failed_steps" ] || printf 'failed:%s\n' "$failed_steps"
    python3 .dev/tally.py sum "$tally" && [ -z "$failed_steps" ]
}

fuzz() {
    local seconds=${FUZZ_SECONDS:-60} binary name folder inputs
    build fuzz
    for binary in build/fuzz/tests/fuzz/${1:-*}_fuzz; do
        [ -x "$binary" ] || die "no fuzzer is called \"${1:-}\""
        name=$(basename "$binary" _fuzz)
        inputs=("build/fuzz/corpus/$name") # what is found goes here; what is worth keeping is copied to tests/fuzz by hand
        mkdir -p "${inputs[0]}"
        for folder in corpus regression; do
            [ ! -d "tests/fuzz/$folder/$name" ] || inputs+=("tests/fuzz/$folder/$name")
        done
        say "$name for $seconds s"
        "$binary" -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" "${inputs[@]}"
    done
}

# shellcheck shell=bash
# `./dev test` and `./dev fuzz`. Sourced by ./dev.

# step NAME COMMAND...: runs it with its output shown and kept, and remembers a failure without stopping the others.
failed_steps=
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

# counted NAME COMMAND...: a step whose log holds test results, which go into the sum.
counted() {
    step "$@" || :
    python3 .dev/tally.py add "$tally" "$logs/$1.log"
}

# A step that is a test by itself: a check, a build.
checked() {
    if step "$@"; then echo "1 0" >>"$tally"; else echo "0 1" >>"$tally"; fi
}

ctest_in() { ctest --test-dir "build/$1" -V -j "$jobs" ${filter:+-R "$filter"} --no-tests=ignore | grep -vE '^[0-9]+: Test (command|timeout)|^[0-9]+: *(Environment|  [A-Z_]+=)|^[0-9]+: *$'; }

functional_in() {
    KAMIYO_GATEWAY="$root/build/$1/kamiyo-gateway" KAMIYO_BUILD_DIR="$root/build/$1" tests/functional/run ${filter:+"$filter"}
}

run_tests() {
    local filter=${1:-} check started=$SECONDS
    need python3 'redis-server|valkey-server' openssl
    logs=$root/build/logs
    tally=$logs/tally
    mkdir -p "$logs"
    : >"$tally"
    if [ -z "$filter" ]; then
        need_for_checks fast
        for check in $fast_checks; do
            checked "$check" "tests/lint/$check"
        done
    fi
    checked build-debug build debug -DKAMIYO_WERROR=ON
    checked build-asan build asan -DKAMIYO_WERROR=ON
    if [ -z "$filter" ]; then
        for check in $built_checks; do
            checked "$check" "tests/lint/$check"
        done
    fi
    counted unit-debug ctest_in debug
    counted unit-asan ctest_in asan
    if [ -x tests/functional/run ] && [ -x build/asan/kamiyo-gateway ]; then
        counted functional-asan functional_in asan
    fi
    printf '\nlogs are in build/logs; %s s\n' "$((SECONDS - started))"
    [ -z "$failed_steps" ] || printf 'failed:%s\n' "$failed_steps"
    python3 .dev/tally.py sum "$tally" && [ -z "$failed_steps" ]
}

fuzz() {
    local seconds=${FUZZ_SECONDS:-60} binary name
    need_for_build fuzz
    build fuzz
    for binary in build/fuzz/tests/fuzz/${1:-*}_fuzz; do
        [ -x "$binary" ] || die "no fuzzer is called \"${1:-}\""
        name=$(basename "$binary" _fuzz)
        mkdir -p "build/fuzz/corpus/$name"
        say "$name for $seconds s"
        "$binary" -max_total_time="$seconds" -artifact_prefix="build/fuzz/$name-" "build/fuzz/corpus/$name" \
            $([ -d "tests/fuzz/corpus/$name" ] && echo "tests/fuzz/corpus/$name") \
            $([ -d "tests/fuzz/regression/$name" ] && echo "tests/fuzz/regression/$name")
    done
}

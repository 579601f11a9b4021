# shellcheck shell=bash
# `./dev check`, and the list of checks that `./dev test` runs as well. Sourced by ./dev.
#
# Each check is a program in tests/lint and a CMake target of the same name. The slow ones are those that parse C, and the one that needs another package.

fast_checks="check_layers check_tree check_banned check_headers check_format"
built_checks="check_symbols check_image" # look at the debug build's archive, and need what a build needs
slow_checks="check_shell check_cppcheck check_tidy"

need_for_checks() {
    need python3
    # The formatter's verdict depends on its version; Debian 13 has no 14, and the check says so there.
    [ "$(suite)" != bookworm ] || need clang-format-14
    [ "$1" = fast ] || need clang clang-tidy cppcheck shellcheck
}

run_checks() {
    local wanted=${1:-} check
    logs=$root/build/logs
    tally=$logs/tally-check
    mkdir -p "$logs"
    : >"$tally"
    need_for_checks all
    if [ -n "$wanted" ]; then
        [ -x "tests/lint/check_${wanted#check_}" ] || { say "no check is called \"$wanted\""; exit 2; }
        case " $built_checks " in *" check_${wanted#check_} "*) build debug >&2 ;; esac
        [ "${wanted#check_}" != tidy ] || build clang >&2
        exec "tests/lint/check_${wanted#check_}"
    fi
    for check in $fast_checks; do
        checked "$check" "tests/lint/$check"
    done
    for check in debug clang release; do
        checked "build-$check" build "$check" -DKAMIYO_WERROR=ON
    done
    for check in $built_checks $slow_checks; do
        checked "$check" "tests/lint/$check"
    done
    [ -z "$failed_steps" ] || printf '\nfailed:%s\n' "$failed_steps"
    python3 .dev/tally.py sum "$tally" && [ -z "$failed_steps" ]
}

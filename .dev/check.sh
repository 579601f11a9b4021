# shellcheck shell=bash
# `./dev check`, and the list of checks that `./dev test` runs as well. Sourced by ./dev.
fast_checks=
need_for_checks() { :; }
run_checks() { die "no checks yet"; }

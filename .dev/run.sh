# shellcheck shell=bash
# `./dev run` and `./dev bench`. Sourced by ./dev.

# Ends what `run` started, whichever way the shell goes: the last first, so that the gateway drains before its upstream goes.
children=()
stop_children() {
    local i
    trap - EXIT INT TERM
    for ((i = ${#children[@]} - 1; i >= 0; i--)); do
        kill -TERM "${children[i]}" 2>/dev/null || : # it may have ended by itself
        wait "${children[i]}" || :                   # how it ended is known to whoever cares
    done
}

# A free port of 127.0.0.1, so that a second ./dev run does not meet the first.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

wait_for_port() {
    local port=$1 pid=$2 tries=0
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || die "the sample API ended before it listened"
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || die "the sample API does not listen on port $port"
        sleep 0.1
    done
}

run() {
    local gateway="$root/build/release/kamiyo-gateway" arguments=() port status=0
    build release >&2
    [ -x "$gateway" ] || die "there is no gateway yet: src/app/main.c is missing"
    trap stop_children EXIT
    trap 'stop_children; exit 130' INT
    trap 'stop_children; exit 143' TERM
    if [ -z "${UPSTREAM_URL:-}" ]; then
        need python3
        port=$(free_port)
        python3 "$root/tests/sample_api/sample_api.py" --port "$port" &
        children+=($!)
        wait_for_port "$port" $!
        export UPSTREAM_URL="http://127.0.0.1:$port"
        say "sample API on $UPSTREAM_URL; set UPSTREAM_URL to stand before another"
    fi
    [ -n "${KAMIYO_GATEWAY_CONFIG:-}" ] || [ ! -e config/gateway.yaml ] || arguments=(--config config/gateway.yaml)
    "$gateway" run "${arguments[@]}" "$@" &
    children+=($!)
    wait $! || status=$?
    exit "$status"
}

# Nanoseconds of single operations: `./dev bench micro [http | limit | route]`.
bench_micro() {
    build release >&2
    cmake --build build/release --target micro -j "$jobs" >&2
    exec build/release/tests/bench/micro "$@"
}

# What a decision costs Redis, of the obvious script's: `./dev bench script [--count]`.
bench_script() {
    need python3 'redis-server|valkey-server' valgrind
    exec tests/bench/script/run "$@"
}

bench() {
    case ${1:-} in
        micro | script) "bench_$1" "${@:2}" ;;
    esac
    [ -x tests/bench/run ] || die "tests/bench/run is missing"
    need gcc libc6-dev python3 'redis-server|valkey-server' haproxy 'nginx-light|nginx-core|nginx' wrk strace \
        libnginx-mod-stream libnginx-mod-http-lua lua-nginx-redis
    build release >&2
    exec tests/bench/run "$@"
}

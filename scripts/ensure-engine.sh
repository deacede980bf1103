#!/bin/sh
# Make sure that a container engine answers. Usage: ensure-engine.sh [--pid-file FILE]
#
# One that answers is left alone. Where there is none, root on Debian or Ubuntu gets Docker from the
# distribution. A dockerd that this script started itself (no systemd) has its process id in FILE,
# for whoever is to end it.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
log=/var/log/jobctl-dockerd.log
seconds_to_answer=60

say() { echo "ensure-engine: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

pid_file=
while [ $# -gt 0 ]; do
    case $1 in
    --pid-file) [ $# -ge 2 ] || fail "--pid-file needs the name of a file"; pid_file=$2; shift 2 ;;
    *) fail "\"$1\" is not an option; usage: ensure-engine.sh [--pid-file FILE]" ;;
    esac
done

has() { command -v "$1" >/dev/null 2>&1; }

# Succeed if an engine answers on a socket. There may be no client: Debian 13 has it in a package
# of its own, while jobctl, and so Python, is there in any case.
socket_answers() {
    [ -S "$1" ] && python3 - "$1" 2>/dev/null <<'END'
import socket, sys
with socket.socket(socket.AF_UNIX) as engine:
    engine.settimeout(10)
    engine.connect(sys.argv[1])
    engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
    sys.exit(b" 200 OK" not in engine.recv(64))
END
}

client_answers() { has docker && timeout 20 docker version >/dev/null 2>&1; }

usual_socket_answers() {
    for socket in /var/run/docker.sock "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock" \
        "${HOME:-/}/.docker/run/docker.sock"; do
        if socket_answers "$socket"; then
            return 0
        fi
    done
    return 1
}

# What the user chose is the user's to mend: nothing is installed beside it.
check_chosen_engine() {
    case $DOCKER_HOST in
    unix://*) socket_answers "${DOCKER_HOST#unix://}" && return ;;
    *)
        client_answers && return
        if ! has docker; then
            say "there is no docker command to try DOCKER_HOST=$DOCKER_HOST with; going on with it"
            return
        fi
        ;;
    esac
    fail "DOCKER_HOST=$DOCKER_HOST does not answer. Start that engine, mend DOCKER_HOST, or unset" \
        "it to use the engine of this host"
}

check_chosen_context() {
    has docker || return 0
    context=$(docker context show 2>/dev/null) || return 0
    [ -z "$context" ] || [ "$context" = default ] || fail "the engine of the docker context" \
        "\"$context\" does not answer. Start it, or go back to this host's: docker context use default"
}

advise_user() {
    if [ -S /var/run/docker.sock ]; then
        fail "there is an engine at /var/run/docker.sock, and it does not answer you. If it runs," \
            "ask an administrator: usermod -aG docker $(id -un); then log in again"
    fi
    fail "no container engine answers, and only root can install one. Ask an administrator to run:" \
        "apt-get install docker.io iptables mmdebstrap; usermod -aG docker $(id -un). Or run one of" \
        "your own: dockerd-rootless-setuptool.sh install. Or set DOCKER_HOST"
}

install_packages() {
    has apt-get || fail "no container engine answers, and this is not Debian or Ubuntu; install" \
        "Docker 20.10 or later as your distribution says, or set DOCKER_HOST"
    packages=
    has dockerd || packages="$packages docker.io"
    has iptables || packages="$packages iptables"
    # The base image comes from it where the engine has no registry; Ubuntu lacks Debian's keys.
    has mmdebstrap || packages="$packages mmdebstrap"
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] ||
        packages="$packages debian-archive-keyring"
    [ -n "$packages" ] || return 0
    say "installing:$packages"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086  # a list of words
    apt-get install -qy --no-install-recommends $packages
}

# Wait until the engine answers; fail early if the process given as $1 has ended.
await_engine() {
    tries=$((seconds_to_answer * 2))
    while ! socket_answers /var/run/docker.sock; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        [ -z "$1" ] || kill -0 "$1" 2>/dev/null || return 1
        sleep 0.5
    done
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        systemctl start docker
        await_engine "" || fail "docker.service runs and does not answer after" \
            "$seconds_to_answer s; see: journalctl -u docker"
        say "started docker.service"
        return
    fi
    # Its own session: a signal to the terminal or to make is not for it.
    setsid dockerd >"$log" 2>&1 </dev/null &
    pid=$!
    if ! await_engine "$pid"; then
        kill "$pid" 2>/dev/null || true
        tail -n 20 "$log" >&2
        fail "dockerd ended, or did not answer within $seconds_to_answer s; above are the last" \
            "lines of $log"
    fi
    say "started dockerd, process $pid; it writes to $log"
    [ -z "$pid_file" ] || echo "$pid" >"$pid_file"
}

if [ -n "${DOCKER_HOST:-}" ]; then
    check_chosen_engine
    say "using DOCKER_HOST=$DOCKER_HOST"
elif client_answers || usual_socket_answers; then
    say "a container engine answers; leaving it as it is"
else
    check_chosen_context
    [ "$(id -u)" = 0 ] || advise_user
    install_packages
    # The package's own scripts may have started it.
    socket_answers /var/run/docker.sock || start_engine
    say "a container engine answers"
fi

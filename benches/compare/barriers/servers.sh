#!/usr/bin/env bash
# Runs one server, of its Debian package, on a free port of this machine and in a temporary folder, until standard input
# ends. Usage: servers.sh install | redis | etcd | zookeeper
#
# Prints `HOST:PORT` once it accepts connections, or `skipped: WHY`. Settings are as shipped: etcd and ZooKeeper write
# to disk before they answer, Redis now and then. What differs says why.
set -euo pipefail

skipped() {
    echo "skipped: $1"
    exit 0
}

is_open() { # port
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); is_open "$port"; do :; done
    echo "$port"
}

start_redis() {
    command -v redis-server >/dev/null || skipped "redis-server is not installed"
    redis-server --bind 127.0.0.1 --port "$port" --dir "$folder" >"$folder/log" 2>&1 &
}

start_etcd() {
    command -v etcd >/dev/null || skipped "etcd is not installed"
    local here="http://127.0.0.1:$port" peers
    peers="http://127.0.0.1:$(free_port)"
    etcd --data-dir "$folder/data" --listen-client-urls "$here" --advertise-client-urls "$here" \
        --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" --initial-cluster "default=$peers" \
        >"$folder/log" 2>&1 &
}

start_zookeeper() {
    local env=/usr/share/zookeeper/bin/zkEnv.sh # says where Debian keeps it
    [ -r "$env" ] || skipped "zookeeper is not installed"
    . "$env"
    command -v "$JAVA" >/dev/null || skipped "java is not installed"
    # As shipped one host may have 60 connections, and we are one host; the admin port may be taken.
    cat >"$folder/zoo.cfg" <<END
tickTime=2000
dataDir=$folder/data
clientPort=$port
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
END
    "$JAVA" -cp "$CLASSPATH" "-Dzookeeper.log.dir=$folder" -Dzookeeper.root.logger=INFO,ROLLINGFILE \
        "$ZOOMAIN" "$folder/zoo.cfg" >"$folder/log" 2>&1 &
}

case "${1:-}" in
    install) exec apt-get install -y --no-install-recommends redis-server etcd-server zookeeper \
            protobuf-compiler libprotobuf-dev ;;
    redis | etcd | zookeeper) ;;
    *) echo "usage: servers.sh install | redis | etcd | zookeeper" >&2; exit 2 ;;
esac

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server"; wait "$server"; } 2>/dev/null || true; rm -rf "$folder"' EXIT
port=$(free_port)
"start_$1"
server=$!
deadline=$((SECONDS + 60))
until is_open "$port"; do
    kill -0 "$server" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ] || {
        cat "$folder/log" >&2
        skipped "$1 did not start"
    }
    sleep 0.1
done
echo "127.0.0.1:$port"
# Until whoever started this closes its end, also by dying.
cat >/dev/null

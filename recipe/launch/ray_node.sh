#!/usr/bin/env bash
# One node of a job's Ray cluster, in the foreground; started on each node by slurm.sbatch, which exports what is read.
#   ray_node.sh address PYTHON...          print this node's address on the network between the nodes
#   ray_node.sh head ADDRESS PYTHON...     the head, under this address
#   ray_node.sh join ADDRESS PYTHON...     a worker of the head at this address
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ports.sh
source "$(dirname "${BASH_SOURCE[0]}")/ports.sh"
mode=$1
shift

address() {
    if [ -n "${INTERFACE:-}" ]; then
        "$@" -c 'import psutil, sys
print(next(a.address for a in psutil.net_if_addrs()[sys.argv[1]] if a.family == 2))' "$INTERFACE"
    else
        "$@" -c 'import ray.util; print(ray.util.get_node_ip_address())'
    fi
}
if [ "$mode" = address ]; then
    address "$@"
    exit
fi

head=$1
shift
options=(--block --disable-usage-stats "--num-cpus=${CPU_SLOTS:?}" "--num-gpus=${GPUS_PER_NODE:?}"
    "--node-manager-port=$NODE_MANAGER_PORT" "--object-manager-port=$OBJECT_MANAGER_PORT"
    "--min-worker-port=$MIN_WORKER_PORT" "--max-worker-port=$MAX_WORKER_PORT"
    "--dashboard-agent-listen-port=$AGENT_PORT")
if [ -n "${OBJECT_STORE_BYTES:-}" ]; then options+=("--object-store-memory=$OBJECT_STORE_BYTES"); fi
own=$head
[ "$mode" = head ] || own=$(address "$@")
options+=("--node-ip-address=$own")
if [ "$mode" = head ]; then
    options+=(--head "--port=$GCS_PORT" --dashboard-host=127.0.0.1 "--dashboard-port=$DASHBOARD_PORT"
        "--ray-client-server-port=$CLIENT_PORT")
else
    options+=("--address=$head:$GCS_PORT")
fi
name="${SLURMD_NODENAME:-$(hostname)} ($mode, $own)"
folder=${RAY_FOLDER:?}-$mode${SLURM_NODEID:-0}
mkdir -p "$folder"
# Ray would wait 30 s for Serve's replicas to move, and SLURM kills what does not end before.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0
# Ray greets at length; what it says matters when it ends by itself.
"$@" -m ray.scripts.scripts start "${options[@]}" "--temp-dir=$folder" --log-color=false >"$folder/said.txt" 2>&1 &
ray=$!
echo "$name: Ray starts"
told=
trap 'told=1; kill -TERM "$ray" 2>/dev/null || true' TERM # srun tells both, and Ray may be gone by now
code=0
wait "$ray" || code=$?
wait "$ray" || code=$? # a signal ends the first one early
if [ -z "$told" ]; then
    echo "$name: Ray ended by itself with code $code; the end of what it said:" >&2
    tail -n 20 "$folder/said.txt" >&2
fi
rm -rf "$folder"
exit "$code"

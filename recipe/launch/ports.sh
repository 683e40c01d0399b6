#!/usr/bin/env bash
# The ports of a cluster's nodes, each with its reason; sourced by slurm.sbatch. Open them between the nodes only.
# Jobs of one machine must not share them: the first three move with the job's number.
offset=$((${SLURM_JOB_ID:-0} % 500))

# GCS, the head's only well-known port: every other node joins by it.
GCS_PORT=${GCS_PORT:-$((16379 + offset))}
# The head's dashboard: job submission and `ray status` of people. Bound to the loopback; reach it by ssh -L.
DASHBOARD_PORT=${DASHBOARD_PORT:-$((18265 + offset))}
# Ray's client server would listen for interactive sessions, which no run uses. Ray wants a port all the same.
CLIENT_PORT=${CLIENT_PORT:-$((17001 + offset))}

# 0: Ray takes any free port and tells GCS. Behind a firewall between nodes give numbers, and a range of at least four
# ports for each GPU for the workers.
NODE_MANAGER_PORT=${NODE_MANAGER_PORT:-0}     # one node's scheduler to another's
OBJECT_MANAGER_PORT=${OBJECT_MANAGER_PORT:-0} # objects from node to node
MIN_WORKER_PORT=${MIN_WORKER_PORT:-0}         # calls from worker to worker
MAX_WORKER_PORT=${MAX_WORKER_PORT:-0}
AGENT_PORT=${AGENT_PORT:-0} # a node's agent, which serves its logs and runtime environments

# Not Ray's: torch.distributed's rendezvous, NCCL's sockets, TransferQueue's and vLLM's servers ask the kernel for a free
# port (net.ipv4.ip_local_port_range) and tell each other; between nodes this range has to be open too.

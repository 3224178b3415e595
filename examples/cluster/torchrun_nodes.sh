#!/usr/bin/env bash
# One training on several machines, without a scheduler. Start it on every machine, each with its
# number from 0; MAIN is the address of number 0. Everything after that is relatum's own:
#
#   MACHINES=2 MACHINE=0 MAIN=10.0.0.1 ./torchrun_nodes.sh distill --data cifar100 --out /shared/run
#   MACHINES=2 MACHINE=1 MAIN=10.0.0.1 ./torchrun_nodes.sh distill --data cifar100 --out /shared/run
#
# Also: PORT (29400), PROCESSES on each machine (one for each GPU), RESTARTS (3), PYTHON (python).
# Where a machine has several networks, GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME name the one to use.
# When it ended before the training did, start the same once more on every machine, with --resume.
set -euo pipefail

: "${MACHINES:?how many machines there are}"
: "${MACHINE:?which of them this is, from 0}"
: "${MAIN:?the address of machine 0}"
if (($# == 0)); then
  echo "${0##*/}: what shall relatum do? Say for example: ${0##*/} distill --out /shared/run" >&2
  exit 2
fi

# One thread for each process, as torchrun has it for several processes on a machine.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Seconds that torchrun gives its processes to save what they have; torch 2.11 always gives 30.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-100}

arguments=(
  # Machines are known beforehand. With --rdzv-backend c10d every agent asks a store on machine 0
  # ten times a second, and one whose link is cut hangs there for as long as TCP tries again.
  --nnodes "$MACHINES" --node-rank "$MACHINE"
  --master-addr "$MAIN" --master-port "${PORT:-29400}"
  --nproc-per-node "${PROCESSES:-auto}"
  # When a process dies, all are started again, and go on from the last checkpoint.
  --max-restarts "${RESTARTS:-3}"
  # SIGUSR1 is not passed on by itself: it would end torchrun, and leave its processes alone.
  --signals-to-handle "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
)
exec "${PYTHON:-python}" -m torch.distributed.run "${arguments[@]}" -m relatum "$@"

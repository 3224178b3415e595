#!/usr/bin/env bash
# Many independent runs on the machines of a Ray cluster: every run is a task of its own, on one GPU
# or one processor. What `relatum bench` shall compare stands after the name of this file:
#
#   MAIN=10.0.0.1 ./ray_bench.sh serve                # on 10.0.0.1: the cluster; stays until Ctrl-C
#   MAIN=10.0.0.1 ./ray_bench.sh join                 # on every other machine, now or later
#   MAIN=10.0.0.1 ./ray_bench.sh digits --methods none,kd,sp --seeds 5 --out /shared/bench
#
# The last one on any of them; when it was ended, start it once more: what is finished stays, what
# was begun is gone on with. Also: PORT (6379), PYTHON (python). relatum[ray] is installed on every
# machine, and all of them see the folder.
set -euo pipefail

if (($# == 0)); then
  echo "${0##*/}: what shall be compared? Say for example: ${0##*/} digits --seeds 5 --out DIR" >&2
  exit 2
fi
: "${MAIN:?the address of the machine that serves the cluster}"
PORT=${PORT:-6379}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Who reaches a Ray cluster can run anything on it, but for a token that all machines know: that in
# ~/.ray/auth_token, which `serve` makes once; copy it where homes are not shared.
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}

ray() { "${PYTHON:-python}" -m ray.scripts.scripts "$@"; }

case $1 in
  serve)
    if [[ $RAY_AUTH_MODE == token ]]; then
      ray get-auth-token --generate >/dev/null
    fi
    ray start --head --node-ip-address "$MAIN" --port "$PORT" \
      --include-dashboard false --disable-usage-stats --block
    ;;
  join) ray start --address "$MAIN:$PORT" --block ;;
  *) exec "${PYTHON:-python}" -m relatum bench "$@" --ray "$MAIN:$PORT" --resume ;;
esac

#!/usr/bin/env bash
# Eight workers for a study that `autoprune search` has begun, one GPU each:
#   sbatch deploy/slurm.sh STUDY [other options of autoprune worker]
#SBATCH --job-name=autoprune
#SBATCH --array=0-7
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --gpus-per-task=1
#SBATCH --time=24:00:00
# Two minutes before the time limit: the current step ends, its state is stored. The signal is sent
# to the step, not to this shell.
#SBATCH --signal=TERM@120
# After a preemption or a node's failure the worker is restarted and resumes from its checkpoint.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=autoprune-%A-%a.log
set -euo pipefail

if (($# == 0)); then
    echo "usage: sbatch $0 STUDY [OPTION]..." >&2
    exit 2
fi

# The URL of the database contains a password: it is read from a private file and passed in the
# environment. On a command line everybody on the node could read it.
if [[ -z "${AUTOPRUNE_STORAGE:-}" ]]; then
    secret="${AUTOPRUNE_STORAGE_FILE:-$HOME/.config/autoprune/storage}"
    if [[ ! -r "$secret" ]]; then
        echo "$secret must hold the URL of the study's storage; it cannot be read" >&2
        exit 2
    fi
    if [[ -n "$(find -L "$secret" -maxdepth 0 -perm /077)" ]]; then
        echo "$secret can be read by others: chmod 600 $secret" >&2
        exit 2
    fi
    AUTOPRUNE_STORAGE="$(<"$secret")"
fi
export AUTOPRUNE_STORAGE
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-4}"

exec srun --cpus-per-task="$OMP_NUM_THREADS" autoprune worker "$@"

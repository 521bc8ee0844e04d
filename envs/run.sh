#!/usr/bin/env bash
# The main job: Snakemake from .venv with the arguments given, then one line that says where the
# report is ($REPORT), or that there was nothing to do. Called by the Makefile.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

export PYTHONNOUSERSITE=1 PATH="$PWD/.venv/bin:$PATH"
unset PYTHONPATH PYTHONHOME
# Who runs the main job here; it stays behind only when that run was killed.
running=.snakemake/make.running

has_locks() {
    [ -n "$(ls .snakemake/locks 2>/dev/null)" ]
}

mkdir -p .snakemake
if command -v flock >/dev/null; then
    exec 8>.snakemake/make.lock
    if ! flock -n 8; then
        echo "Another make runs the main job in this folder ($(cat "$running" 2>/dev/null || true))." \
            "Wait for it, or stop it first." >&2
        exit 1
    fi
    # No other make is alive, so the Snakemake lock that a killed one left behind holds nobody.
    if has_locks && grep -qsF "on $(uname -n)," "$running"; then
        echo "The last make was killed; removing the lock that it left and going on from there."
        .venv/bin/snakemake --quiet all --unlock "$@"
    fi
fi
echo "on $(uname -n), process $$, since $(date '+%F %T')" >"$running"

# Bars, or a few lines, instead of Snakemake's own output, all of which goes to its log. Who asks for
# details gets them as Snakemake prints them.
show=(--logger perturb --quiet host)
for argument in "$@"; do
    case "$argument" in
        --) break ;;
        -n* | -p | -q* | --dry-run | --dryrun | --quiet* | --verbose | --printshellcmds | \
            --debug-dag | --logger*) show=() ;;
    esac
done

status=0
.venv/bin/snakemake ${show[@]+"${show[@]}"} "$@" || status=$?
# A Snakemake that was killed leaves the cursor as its bars have it, hidden.
[ "$status" -le 128 ] || [ ! -t 2 ] || printf '\033[?25h\n' >&2
# The first of the logs that this run opened is Snakemake's own; a dry run opens none.
mkdir -p .snakemake/log
log="$(find .snakemake/log -name '*.snakemake.log' -newer "$running" | sort | sed -n 1p)"
# A status above 128 is a Snakemake that was killed: the note stays, as after a killed make.
[ "$status" -gt 128 ] || rm -f "$running"

if [ "$status" -ne 0 ]; then
    echo "The main job stopped before its end. What is finished is kept: the same command goes on" \
        "from there." >&2
    if [ "$status" -le 128 ] && has_locks; then
        echo "Another Snakemake runs in this folder, or was killed in it. If none runs:" \
            ".venv/bin/snakemake --unlock" >&2
    fi
    exit "$status"
elif [ -n "$log" ]; then
    if grep -q "Nothing to be done" "$log"; then
        closing="Nothing to do: all that was asked for is up to date."
    else
        closing="Finished in $((SECONDS / 60)) min $((SECONDS % 60)) s."
    fi
    # Only a run without targets of its own vouches for the report.
    case " $* " in
        *" -- "*) echo "$closing" ;;
        *) echo "$closing${REPORT:+ Report: $(realpath -m "$REPORT" 2>/dev/null || echo "$REPORT")}" ;;
    esac
fi

#!/usr/bin/env bash
# Makes .venv what the lock files say; does nothing when it already is.
#
#   envs/install.sh             the library and everything in envs/requirements.txt
#   envs/install.sh slurm       that, and envs/slurm.txt (bench: envs/bench.txt)
#
# .venv/.ready (and .ready-slurm, .ready-bench) hold the text that was installed, so set-up is
# redone when a lock file, pyproject.toml, the interpreter or the folder's place changes, and not
# when only a file's time does. They are written last: an interrupted set-up is not ready.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

export PYTHONNOUSERSITE=1 PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
python="$PWD/.venv/bin/python"

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# What .venv/.ready holds once the environment is installed.
wanted() {
    printf '%s\n' "# $("$python" -V 2>&1) in $PWD"
    cat envs/requirements.txt pyproject.toml
}

is_ready() {
    [ -x "$python" ] && [ ! -e .venv/.unfinished ] && wanted | cmp -s - .venv/.ready
}

extra_is_ready() {
    cat .venv/.ready "envs/$1.txt" | cmp -s - ".venv/.ready-$1"
}

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3 python; do
        # Run it: a name on the PATH may be a shim of a version that is not there.
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        elif [ "$candidate" = "${PYTHON:-}" ]; then
            break
        fi
    done
    fail "No usable Python ${PYTHON:+as PYTHON=$PYTHON}: 3.11 or newer with its venv module is needed." \
        "Install one (Debian, Ubuntu: apt-get install python3.11 python3.11-venv), or name yours:" \
        "    make PYTHON=/path/to/python3.11"
}

create() {
    local base
    base="$(find_python)"
    touch .venv/.unfinished
    find .venv -mindepth 1 -maxdepth 1 ! -name .lock ! -name .unfinished -exec rm -rf {} +
    echo "Creating .venv with $("$base" -V) ($base)"
    "$base" -m venv .venv
}

# pip tells of every package in several lines: here it says what fails, and nothing else.
say_waiting() {
    echo "Installing envs/$1 into .venv ($2). It takes minutes, more on a slow connection," \
        "and says nothing meanwhile."
}

install() {
    # An environment of our own that was finished is updated in place; an unfinished one, or one
    # whose interpreter or place is no longer the same, is made anew.
    if [ -e .venv/.unfinished ] || [ ! -e .venv/bin ]; then
        create
    elif [ -e .venv/.ready ]; then
        [ "$(wanted | head -n 1)" = "$(head -n 1 .venv/.ready)" ] || create
    elif ! grep -qsF "$python" .venv/bin/pip ||
        ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        fail "$PWD/.venv was not made by this Makefile, and is no virtual environment of" \
            "Python >= 3.11 at this place. Move it away, then run the same command again."
    fi
    touch .venv/.unfinished
    rm -f .venv/.ready*
    say_waiting requirements.txt "about 6 GB with the GPU build of torch"
    # One package has no wheel. It is built with the setuptools of the lock file, installed first,
    # and not with whatever version a build environment would fetch.
    awk '/^[a-z0-9]/ { build = /^setuptools==/ } build' envs/requirements.txt >.venv/.build.txt
    "$python" -m pip install --quiet --require-hashes -r .venv/.build.txt
    "$python" -m pip install --quiet --require-hashes --no-build-isolation \
        -r envs/requirements.txt
    "$python" -m pip install --quiet --no-deps --no-build-isolation -e .
    wanted >.venv/.ready.new
    mv .venv/.ready.new .venv/.ready
    rm -f .venv/.unfinished
    echo "Set-up is complete: $PWD/.venv"
}

install_extra() {
    rm -f ".venv/.ready-$1"
    say_waiting "$1.txt" "small beside it"
    "$python" -m pip install --quiet --require-hashes --no-build-isolation -r "envs/$1.txt"
    cat .venv/.ready "envs/$1.txt" >".venv/.ready-$1.new"
    mv ".venv/.ready-$1.new" ".venv/.ready-$1"
}

say_unfinished() {
    if [ -e .venv/.unfinished ]; then
        echo "Set-up did not finish; the reason is above. The same command starts it again." >&2
    fi
}

extra="${1:-}"
[ -z "$extra" ] || [ -e "envs/$extra.txt" ] || fail "There is no envs/$extra.txt to install."
if is_ready && { [ -z "$extra" ] || extra_is_ready "$extra"; }; then
    exit 0
fi

mkdir -p .venv
if command -v flock >/dev/null; then
    exec 9>.venv/.lock
    flock -n 9 || { echo "Another set-up of .venv is under way; waiting for it." && flock 9; }
fi
trap say_unfinished EXIT
is_ready || install
[ -z "$extra" ] || extra_is_ready "$extra" || install_extra "$extra"

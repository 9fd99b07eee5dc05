#!/bin/sh
# Start a worker of Prism's environment PROCESS by Beam's boot program (`make beam-boot`), in the
# environment of `python` on PATH. Prism 2.77 puts the id between apostrophes, and no shell removes
# them before they reach the program: the worker would be unknown to Prism.
for argument; do
    shift
    case $argument in
    --id=*) argument=$(printf %s "$argument" | tr -d \') ;;
    esac
    set -- "$@" "$argument"
done
# The boot program also writes a file to its working folder.
place="${TMPDIR:-/tmp}/beam-worker-$(id -u)"
mkdir -p "$place" && cd "$place" || exit
export RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
exec "${BEAM_BOOT:-beam-boot}" --semi_persist_dir="$place" "$@"

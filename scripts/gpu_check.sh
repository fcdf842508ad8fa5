#!/usr/bin/env bash
# Checks a CUDA machine without a network: what is installed, conformance, a minute of fuzzing, benchmarks; one table, in under eight minutes.
#
#   scripts/gpu_check.sh                        # from a checkout; wheels/ is installed if it is there: docs/gpu.md
#   DEVICE=cuda-emulated scripts/gpu_check.sh   # the same on the CPU, tiny: to see that the script runs
#
# Logs, HDF5 files and the table are in OUT (runs/gpu). Exit code 1 where a part failed; a goal that was missed is told and is no failure.
set -u
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} device=${DEVICE:-cuda} wheels=${WHEELS:-wheels} out=${OUT:-runs/gpu}
case $device in
    cuda | cuda-emulated | cuda-checked) ;;
    *) echo "error: DEVICE=$device: write cuda, or cuda-emulated; CUDA_VISIBLE_DEVICES=1 chooses among several" >&2; exit 2 ;;
esac
mkdir -p "$out" && out=$(cd "$out" && pwd) || { echo "error: OUT=$out can't be written to" >&2; exit 2; }
export PYTHONPATH="$PWD:$PWD/scripts" PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore COLUMNS=160 XDG_CACHE_HOME=${XDG_CACHE_HOME:-$out/cache}
failed=0 rows=()

row() {  # name, verdict, seconds, what it says
    rows+=("$(printf '%-14s %-8s %4s s   %s' "$1" "$2" "$3" "$4")")
    if [ "$2" = FAILED ]; then failed=1; fi
}

part() {  # name, limit in seconds, what to look for in its log, command...
    local name=$1 limit=$2 look=$3 start=$SECONDS code=0 said verdict=ok
    shift 3
    echo "== $name: $*"
    timeout --kill-after=5 "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    said=$(grep -E -- "$look" "$out/$name.log" | tail -n 1)
    if [ "$code" = 124 ] || [ "$code" = 137 ]; then
        verdict=FAILED said="takes longer than $limit s; $said"
    elif [ "$code" != 0 ] || grep -q "^does NOT hold" "$out/$name.log"; then
        verdict=FAILED said="exit code $code; $(grep -E "^does NOT hold|^error|Error" "$out/$name.log" | tail -n 1) $said"
    fi
    row "$name" "$verdict" $((SECONDS - start)) "$said"
}

bench() {  # name, limit; counts the goals of its table
    part "$1" "$2" "^written" "$python" scripts/bench.py "$1" "${bench[@]}" --out "$out"
    local reached missed
    reached=$(grep -cE "│ +yes +│" "$out/$1.log")
    missed=$(grep -cE "│ +NO +│" "$out/$1.log")
    rows[-1]+="; goals: $reached reached, $missed missed"
}

if compgen -G "$wheels/*.whl" >/dev/null; then
    "$python" -m pip install --quiet --no-index --no-deps --upgrade --target "$out/site" "$wheels"/*.whl || failed=1
    export PYTHONPATH="$PYTHONPATH:$out/site"
fi
if [ "$device" = cuda ]; then
    tests=(-m gpu) where=(tests/backends) networks=100000 jobs=4 bench=(--device cuda)
    if "$python" -c "import xdist" 2>/dev/null; then tests+=(-n 4); fi
else
    tests=(-k "refused or few_forms") where=(tests/backends/test_graphs.py) networks=2 jobs=1 bench=(--device cpu --quick)
fi

part installed 30 "^needed|^all there" "$python" scripts/gpu_installed.py "$device"
cat "$out/installed.log"
if [ "$failed" = 0 ]; then
    part conformance 130 " in [0-9.]+s" "$python" -m pytest -q -p no:cacheprovider -W default "${tests[@]}" "${where[@]}"
    part fuzzing 100 "^networks|│ networks" "$python" scripts/fuzz.py --device "$device" --oracle forward,gradients --minutes 1 --networks $networks --jobs $jobs
    bench training 130
    bench es 50
    bench eprop 35
fi

for name in training es eprop; do
    if [ -f "$out/$name.log" ]; then cat "$out/$name.log"; fi
done
printf '%s\n' "" "${rows[@]}" | tee "$out/table.txt"
exit $failed

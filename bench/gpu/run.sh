#!/usr/bin/env bash
# Tests and measures Vitrum on this machine's NVIDIA GPU: correctness first, then PyTorch and ours in turns.
#
#   ./run.sh [RESULTS] [--quick] [--tiny]
#
# Writes into RESULTS (results by default): result.json with everything, result.md with the tables, and a log of each step. Needs
# the driver and NVRTC; compute-sanitizer, and Python with torch and timm (PYTHON names it), are used where they are. --quick leaves
# the demo, the sanitizer and the comparison out; --tiny takes the tiny demo and few benches, for a try on the emulator. Exit status: 0
# if no step failed.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$PWD/results quick= demo=() steps_of=() ops_of=()
for word in "$@"; do
  case $word in
    --quick) quick=1 ;;
    --tiny) demo=(--tiny) steps_of=(--filter sgemm_1024) ops_of=(--filter residual) ;;
    -*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
    *) out=$word ;;
  esac
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here" || exit 1
python=${PYTHON:-python3}
export VITRUM_GOLDENS=$here/goldens VITRUM_CACHE=$out/cache
failed=0
rows=() steps=()

# step NAME LIMIT COMMAND...: runs it for at most so many seconds, keeps its output, notes how it ended.
step() {
  local name=$1 limit=$2 start=$SECONDS status=0 outcome
  shift 2
  echo "== $name" >&2
  timeout "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
  case $status in
    0) outcome=passed ;;
    124) outcome="not finished in $limit s" failed=1 ;;
    *) outcome="failed ($status)" failed=1 ;;
  esac
  note "$name" "$outcome" $((SECONDS - start))
}

note() {
  rows+=("| $1 | $2 | $3 |")
  steps+=("{\"step\":\"$1\",\"outcome\":\"$2\",\"seconds\":$3}")
  echo "   $2, $3 s" >&2
}

# The JSON that a step printed as its last line, or null.
json_of() {
  local last
  last=$(tail -n 1 "$out/$1.log" 2>/dev/null)
  case $last in
    "{"*"}") printf '%s' "$last" ;;
    *) printf null ;;
  esac
}

quoted() { printf '"%s"' "$(printf '%s' "$1" | tr -d '\\"' | tr '\n' ';')"; }

facts=$(nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.sm,clocks.max.sm,clocks.mem,power.limit --format=csv,noheader 2>/dev/null | head -n 1)
[ -n "$facts" ] || facts="nvidia-smi tells nothing"

step devices 60 ./vitrum devices --json
step selftest 600 ./vitrum selftest --device cuda --json
step conformance 900 env VITRUM_CUDA_HERE=${VITRUM_CUDA_HERE:-gpu} ./conformance --skip without_a_driver
if [ -z "$quick" ]; then
  if command -v compute-sanitizer >/dev/null; then
    # Programs under it take many times longer: the ops whose kernels share memory, then all of them for addresses.
    for op in linear attention layer_norm global_norm; do
      step "racecheck_$op" 300 compute-sanitizer --tool racecheck --error-exitcode 9 ./vitrum selftest --device cuda --filter "$op"
    done
    step memcheck 900 compute-sanitizer --tool memcheck --error-exitcode 9 ./vitrum selftest --device cuda
  else
    note sanitizer "skipped: no compute-sanitizer" 0
  fi
  step demo 900 ./vitrum demo --device cuda "${demo[@]}" --report "$out/demo.html" --json
fi
# Peers before ours alone: what is left of the time then goes to figures that need no peer.
if [ -z "$quick" ] && "$python" -c 'import torch, timm, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
  step compare 900 "$python" bench/peers/compare.py --rounds 9 --python "$python" --out "$out" --peer candle= \
    --peer "vitrum=$here/vitrum bench --steps --once --device cuda" \
    --peer "torch=$python $here/bench/peers/torch_eager.py --once --device cuda" \
    --bench deit_ti_65_pgd10_b128 --bench deit_ti_65_train_b128 --bench vit_ti16_224_train_b8 --bench sgemm_4096
else
  note compare "skipped: no torch and timm with CUDA, or --quick" 0
fi
step bench_steps 300 ./vitrum bench --steps --device cuda "${steps_of[@]}" --json
step bench_ops 600 ./vitrum bench --ops --device cuda "${ops_of[@]}" --json

peers=
for file in "$out"/peers-*.json; do
  [ -e "$file" ] && peers+=${peers:+,}$(cat "$file")
done
printf '{"gpu":%s,"commit":"%s","date":"%s","steps":[%s],"devices":%s,"selftest":%s,"demo":%s,"bench_steps":%s,"bench_ops":%s,"peers":[%s]}\n' \
  "$(quoted "$facts")" "$(cat COMMIT)" "$(date -u +%F)" "$(IFS=,; echo "${steps[*]}")" "$(json_of devices)" "$(json_of selftest)" \
  "$(json_of demo)" "$(json_of bench_steps)" "$(json_of bench_ops)" "$peers" >"$out/result.json"
{
  printf '%s\nCommit %s, %s.\n\n' "$facts" "$(cat COMMIT)" "$(date -u +%F)"
  printf '| step | outcome | seconds |\n|---|---|---:|\n'
  printf '%s\n' "${rows[@]}"
  [ -e "$out/peers.md" ] && printf '\n' && cat "$out/peers.md"
  # "{" begins each measurement; its name and its median stand in the same object.
  printf '\n| step | ms | GFLOP/s |\n|---|---:|---:|\n'
  json_of bench_steps | tr '{' '\n' | sed -n 's/.*"bench":"\([^"]*\)".*/&\n/p' | while read -r line; do
    name=$(printf '%s' "$line" | sed -n 's/.*"bench":"\([^"]*\)".*/\1/p')
    ms=$(printf '%s' "$line" | sed -n 's/.*"median_ms":\([0-9.]*\).*/\1/p')
    rate=$(printf '%s' "$line" | sed -n 's/.*"gflops":\([0-9.]*\).*/\1/p')
    [ -n "$name" ] && printf '| %s | %.3f | %s |\n' "$name" "$ms" "${rate:+$(printf %.0f "$rate")}"
  done
} >"$out/result.md"
rm -rf "$out/cache"
cat "$out/result.md"
exit $failed

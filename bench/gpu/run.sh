#!/usr/bin/env bash
# Tests and measures Vitrum on this machine's NVIDIA GPU, the most valuable first: a run that is cut off leaves what it has.
#
#   ./run.sh [RESULTS] [--only "STEP STEP ..."] [--tiny]
#
# Steps, in this order; --only takes some of them:
#   devices selftest    what there is; every operation against the f64 oracle
#   kernels             products and attention beside PyTorch's, in turns, with the ceilings of the same run
#   steps               whole steps of models beside PyTorch eager and compiled
#   profile             where the time of each step goes, op by op
#   rest                epilogues, LayerNorm, updates, stochastic layers, losses
#   autotuned           training and inference of ViT-B and S again, beside torch.compile's max-autotune: minutes of compiling
#   roofline            ours alone, with a picture
#   lab                 the laboratory's versions of products and attention
#   conformance         the test suite of the backend
#   sanitizer           compute-sanitizer, where it is installed
#   demo ops            the demo; every op's own bench cases
# Writes into RESULTS (results by default): gpu.jsonl with every figure, gpu.md with the goals and the table, roofline.svg,
# result.json with the outcome of the steps, and a log of each. Needs the driver and NVRTC; Python with torch and timm (PYTHON names
# it) for the comparison. --tiny takes shapes for a trial on the emulator; TORCH_DEVICE=cpu then runs PyTorch's side without a GPU.
# Exit status: 0 if no step failed.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$PWD/results only= tiny=()
while [ "$#" -gt 0 ]; do
  case $1 in
    --only) only=" ${2:?--only needs steps} " && shift ;;
    --tiny) tiny=(--tiny) ;;
    -*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
    *) out=$1 ;;
  esac
  shift
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here" || exit 1
python=${PYTHON:-python3}
export VITRUM_GOLDENS=$here/goldens VITRUM_CACHE=${VITRUM_CACHE:-$out/cache}
failed=0
rows=() steps=()

# Whether a step was asked for.
wanted() { [ -z "$only" ] || [[ $only == *" $1 "* ]]; }

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

# compare NAME LIMIT FLAGS...: rows of the suite, PyTorch's in turns where it is there. Rows begun before the limit may take longer.
peer=()
if "$python" -c 'import torch, timm, sys, os; sys.exit(not (torch.cuda.is_available() or os.environ.get("TORCH_DEVICE")))' 2>/dev/null; then
  peer=(--python "$python" ${TORCH_DEVICE:+--torch-device "$TORCH_DEVICE"})
fi
compare() {
  local name=$1 limit=$2
  shift 2
  wanted "$name" || return 0
  if ! command -v "$python" >/dev/null; then
    note "$name" "skipped: no Python" 0
    return 0
  fi
  step "$name" $((limit + 120)) "$python" bench/peers/compare_gpu.py --vitrum "$here/vitrum" "${peer[@]}" --out "$out" --budget "$limit" "${tiny[@]}" "$@"
}

quick=()
[ ${#tiny[@]} -eq 0 ] || quick=(--time 0 --rounds 1)
facts=$(nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.sm,clocks.max.sm,clocks.mem,power.limit --format=csv,noheader 2>/dev/null | head -n 1)
[ -n "$facts" ] || facts="nvidia-smi tells nothing"
[ ${#peer[@]} -gt 0 ] || echo "no torch and timm with CUDA: ours alone is measured" >&2

! wanted devices || step devices 60 ./vitrum devices --json
! wanted selftest || step selftest 600 ./vitrum selftest --device cuda --json
compare kernels 300 --group gemm --group attention "${quick[@]}"
compare steps 420 --group step "${quick[@]}" --variant eager --variant compile --variant "compile, graph"
! wanted profile || step profile 180 ./vitrum bench --suite --profile --filter step --device cuda --bf16 --time 0 "${tiny[@]}"
compare rest 240 --group epilogue --group layer_norm --group update --group stochastic --group loss "${quick[@]}"
compare autotuned 480 --again --group step --bench 'vit_[bs]16_(train|infer)_b[0-9]{3}' --variant max-autotune "${quick[@]}"
if wanted roofline; then
  library=()
  grep -q '"bench": "gemm_8192", "peer": "torch"' "$out/gpu.jsonl" 2>/dev/null && library=(--peers "$out/gpu.jsonl")
  step roofline 400 ./vitrum bench --suite --device cuda --bf16 "${tiny[@]}" --out "$out/suite.jsonl" --svg "$out/roofline.svg" "${library[@]}" ${quick[0]:+--time 0} --json
fi
if wanted lab; then
  for op in bench/lab/*/; do
    step "lab_$(basename "$op")" 120 ./vitrum bench --lab "$op" --device cuda --bf16 "${tiny[@]}" --json
  done
fi
! wanted conformance || step conformance 900 env VITRUM_CUDA_HERE="${VITRUM_CUDA_HERE:-gpu}" ./conformance --skip without_a_driver
if wanted sanitizer; then
  if command -v compute-sanitizer >/dev/null; then
    # Programs under it take many times longer: the ops whose kernels share memory, then all of them for addresses.
    for op in linear attention layer_norm global_norm; do
      step "racecheck_$op" 300 compute-sanitizer --tool racecheck --error-exitcode 9 ./vitrum selftest --device cuda --filter "$op"
    done
    step memcheck 900 compute-sanitizer --tool memcheck --error-exitcode 9 ./vitrum selftest --device cuda
  else
    note sanitizer "skipped: no compute-sanitizer" 0
  fi
fi
! wanted demo || step demo 900 ./vitrum demo --device cuda "${tiny[@]}" --report "$out/demo.html" --json
if wanted ops && [ ${#tiny[@]} -eq 0 ]; then
  step ops 600 ./vitrum bench --ops --device cuda --json
fi

printf '{"gpu":%s,"commit":"%s","date":"%s","steps":[%s],"devices":%s,"selftest":%s,"demo":%s,"ops":%s}\n' \
  "$(quoted "$facts")" "$(cat COMMIT)" "$(date -u +%F)" "$(IFS=,; echo "${steps[*]}")" "$(json_of devices)" "$(json_of selftest)" \
  "$(json_of demo)" "$(json_of ops)" >"$out/result.json"
{
  printf '%s\nCommit %s, %s.\n\n' "$facts" "$(cat COMMIT)" "$(date -u +%F)"
  printf '| step | outcome | seconds |\n|---|---|---:|\n'
  printf '%s\n' "${rows[@]}"
  [ ! -e "$out/gpu.md" ] || { printf '\n' && cat "$out/gpu.md"; }
} >"$out/result.md"
rm -rf "$out/cache" "$out/list.json"
cat "$out/result.md"
exit $failed

#!/usr/bin/env bash
# The whole code set for real: data, two stages from scratch, predictions, floors, scores, tables. --help says how.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: benchmarks/full_scale.sh cpu|gpu [STEP ...]

Trains a Llama from scratch on every billable code, in two stages, and measures it. Steps, all but the last three when none is named:

  generate   the data set                                                        OUTPUT/data
  stage1     each code and its title        configs/sft/full_scratch_*_stage1.yaml    OUTPUT/stage1/model
  stage2     the ways people write them     configs/sft/full_scratch_*_stage2.yaml    OUTPUT/stage2/model
  predict    both stages on the test texts, lists condition by condition; the model of the tables, which is stage 2 or, once
             there is one, the embedded model, also on whole lists, validation texts, texts of its training, and elsewhere
  floor      the nearest title and the search on the same texts, without training
  score      calibration, scores with intervals, the union of model and floor
  report     OUTPUT/report.html, and OUTPUT/results.md with every table
  everyday   stage 2 goes on with what wards see, twice as many texts of it; for cpu  OUTPUT/everyday/model
  names      that goes on with plain names (HTN) for some minutes; for cpu            OUTPUT/names/model
  embed      the mean of these two, or stage 2, in bf16, calibrated and scored as it is shipped    OUTPUT/embedded/model

A finished step is skipped. A step that was stopped, by Ctrl-C, by a time box or by a power cut, goes on with the same
command; only `generate` begins again, and a stage goes on from its last checkpoint.

  MINUTES=50 benchmarks/full_scale.sh cpu stage1     # ends by then; give it time for more than one checkpoint

Exit status: 0 finished, 75 not finished yet (run the same command again), anything else an error.

variable      default                what it is
OUTPUT        outputs/full_scratch   folder for everything; for gpu outputs/full_scratch_gpu
MINUTES       no limit               time box of this call, fractions allowed
SAMPLE        5000                   test texts of each scenario, drawn from all codes
VALIDATION    1000                   validation texts of each scenario: calibration, and the threshold of the union
SEEN          1000                   training texts of each scenario, to hold against the unseen ones
FLOORS        floor search           floors to answer with
ENGINE        vllm, if installed     engine of eval.predict
EXTERNAL_DEV  none                   folder of JSONL files of texts from elsewhere, scored apart
CODIESP       none                   folder that configs/corpora/codiesp.yaml wrote, scored apart
DATA          configs/data/full.yaml   configuration of data_gen.generate
FRESH         twice as many texts    words for data_gen.generate that make `everyday` its texts
ACCELERATE    cpu or one_gpu         file of configs/accelerate
SFT, STAGE1, STAGE2, EVERYDAY, NAMES, PREDICT   further words for all training, one part of it, eval.predict
PYTHON        .venv/bin/python       the environment's Python
TEXT
}

STEPS=(generate stage1 stage2 predict floor score report)
ON_REQUEST=(everyday names embed)
SCENARIOS=(base reordered abbreviated typo multiple paraphrased)
NOT_FINISHED=75
# test and validation texts stay those of the data set but for a few, which everyday_rows.py leaves out
FRESH=${FRESH:-"--train_variants.reordered 4 --train_variants.abbreviated 5 --train_variants.typo 6
  --train_variants.paraphrased 5 --multiple.train 200000"}

main() {
  case "${1:-}" in
    -h | --help) usage; exit 0 ;;
    cpu | gpu) device=$1; shift ;;
    *) usage >&2; exit 2 ;;
  esac
  for step in "$@"; do
    [[ " ${STEPS[*]} ${ON_REQUEST[*]} " == *" $step "* ]] || fail "no step '$step'; steps are ${STEPS[*]} ${ON_REQUEST[*]}"
  done
  cd "$(dirname "$0")/.."
  read_settings
  (($#)) || set -- "${STEPS[@]}"
  for step in "$@"; do
    exec 9>"$out/.$step.lock"
    flock --nonblock 9 || fail "another call is at $step of $out"
    "step_$step"
  done
}

read_settings() {
  out=${OUTPUT:-$([[ $device == gpu ]] && echo outputs/full_scratch_gpu || echo outputs/full_scratch)}
  python=${PYTHON:-.venv/bin/python}
  [[ -x $python ]] || python=python
  deadline=$(awk -v minutes="${MINUTES:-0}" 'BEGIN {print int(minutes * 60 + 0.999)}')
  accelerate=configs/accelerate/${ACCELERATE:-$([[ $device == gpu ]] && echo one_gpu || echo cpu)}.yaml
  engine=${ENGINE:-$("$python" -c 'import importlib.util as u; print("vllm" if u.find_spec("vllm") else "auto")')}
  read -ra floors <<<"${FLOORS:-floor search}"
  mkdir -p "$out"
  if [[ -n ${EXTERNAL_DEV:-} ]]; then
    compgen -G "$EXTERNAL_DEV/*.jsonl" >/dev/null || fail "EXTERNAL_DEV: no JSONL file in $EXTERNAL_DEV"
  fi
  if [[ $device == gpu ]] && ! command -v nvidia-smi >/dev/null; then
    say "no nvidia-smi here: without a GPU the gpu configurations take days; benchmarks/full_scale.sh cpu is for such machines"
  fi
  # the models are made here, so that nothing has to be asked of a hub
  export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1} TOKENIZERS_PARALLELISM=${TOKENIZERS_PARALLELISM:-false}
}

step_generate() {
  if is_there "$out/data/run.json" data_gen.generate; then
    say "generate: $out/data is there"
    return
  fi
  boxed "$python" -m data_gen.generate --config "${DATA:-configs/data/full.yaml}" --output-dir "$out/data"
}

step_stage1() {
  train stage1 "$out/data" ${STAGE1:-}
}

step_stage2() {
  require_trained stage1
  train stage2 "$out/data" --model_name_or_path "$out/stage1/model" ${STAGE2:-}
}

step_predict() {
  require_trained stage1
  predict stage1/test "stage 1" --model "$out/stage1/model"
  require_trained stage2
  predict stage2/test "stage 2" --model "$out/stage2/model"
  choose_model
  local name
  for name in test whole validation seen $(list_elsewhere); do
    predict "$model/$name" "$model_label" --model "$out/$model/model"
  done
}

step_floor() {
  local floor name
  for floor in "${floors[@]}"; do
    for name in test validation $(list_elsewhere); do
      predict "$floor/$name" "$floor" --engine "$floor"
    done
  done
}

step_score() {
  local name floor
  choose_model
  [[ -s $out/$model/validation/predictions.jsonl ]] || fail "no predictions in $out/$model/validation; run the step predict"
  calibrate "$model"
  score stage1/test
  for name in test whole seen $(list_elsewhere); do
    score "$model/$name" --validation "$out/$model/validation/predictions.jsonl"
  done
  [[ $model == stage2 ]] || score stage2/test
  for floor in "${floors[@]}"; do
    for name in test $(list_elsewhere); do
      score "$floor/$name"
      combine "$floor" "$name"
      score "union_$floor/$name"
    done
  done
}

step_report() {
  local floor scores=("$out/stage1/test/scores.json" "$out/stage2/test/scores.json") paired=() trained=("$out/stage1/model" "$out/stage2/model")
  choose_model
  [[ $model == stage2 ]] || scores+=("$out/$model/test/scores.json")
  ! is_trained everyday || trained+=("$out/everyday/model")
  ! is_trained names || trained+=("$out/names/model")
  for floor in "${floors[@]}"; do
    scores+=("$out/$floor/test/scores.json" "$out/union_$floor/test/scores.json")
    paired+=("$out/$floor/paired.json")
    boxed "$python" -m eval.paired "$out/$model/test/predictions.jsonl" "$out/$floor/test/predictions.jsonl" \
      --output "$out/$floor/paired.json"
  done
  boxed "$python" -m eval.report "${scores[@]}" --paired "${paired[@]}" \
    --training "${trained[@]}" --output "$out/report.html"
  boxed "$python" benchmarks/full_scale_tables.py "$out" --model "$model" --floors "${floors[@]}" --output "$out/results.md"
}

step_everyday() {
  require_trained stage2
  is_there "$out/everyday/fresh/run.json" data_gen.generate ||
    boxed "$python" -m data_gen.generate --config "${DATA:-configs/data/full.yaml}" --output-dir "$out/everyday/fresh" $FRESH
  choose_rows everyday
  train everyday "$out/everyday/data" --model_name_or_path "$out/stage2/model" ${EVERYDAY:-}
}

step_names() {
  require_trained everyday
  choose_rows names --names
  train names "$out/names/data" --model_name_or_path "$out/everyday/model" ${NAMES:-}
}

# choose_rows STEP WORD...: its training rows, of the fresh data set.
choose_rows() {
  local data=$out/$1/data
  shift
  is_there "$data/run.json" data_gen.generate ||
    boxed "$python" benchmarks/everyday_rows.py "$out/everyday/fresh" --held-out "$out/data" --output "$data" "$@"
}

step_embed() {
  local parts=("$out/stage2/model") name floor beside=()
  require_trained stage2
  ! is_trained everyday || parts=("$out/everyday/model")
  ! is_trained names || parts+=("$out/names/model")
  is_newer "$out/embedded/model/run.json" "${parts[-1]}/run.json" ||
    boxed "$python" benchmarks/embedded_model.py weights "${parts[@]}" --output "$out/embedded/model"
  choose_model
  for name in validation test; do
    predict "$model/$name" "$model_label" --model "$out/$model/model"
  done
  calibrate "$model"
  score "$model/test" --validation "$out/$model/validation/predictions.jsonl"
  for floor in "${floors[@]}"; do
    [[ ! -s $out/$floor/test/predictions.jsonl ]] || score "$floor/test"
    [[ ! -s $out/$floor/test/scores.json ]] || beside+=("$out/$floor/test/scores.json")
  done
  boxed "$python" benchmarks/embedded_model.py card "$out/$model/test/scores.json" "${beside[@]}" --output "$out/$model/model"
}

# choose_model: the model that is measured in full, and what tables call it.
choose_model() {
  model=stage2 model_label="stage 2"
  ! is_newer "$out/embedded/model/run.json" "$out/stage2/model/run.json" || model=embedded model_label="embedded model"
}

# train STAGE DATA WORD...: one stage, unless it is trained to its end.
train() {
  local stage=$1 data=$2
  shift 2
  if is_trained "$stage"; then
    say "$stage: $out/$stage/model is trained"
    return
  fi
  is_there "$data/run.json" data_gen.generate || fail "no data set in $data; run the step generate"
  boxed "$python" -m accelerate.commands.launch --quiet --config_file "$accelerate" \
    --num_cpu_threads_per_process "$(nproc)" -m finetune.sft --config "configs/sft/full_scratch_${device}_$stage.yaml" \
    --data "$data" --output_dir "$out/$stage/model" "$@" ${SFT:-}
}

# predict WHO/WHAT LABEL WORD...: answers, unless all are there and no older than the model.
predict() {
  local folder=$out/$1 who=${1%%/*} what=${1#*/} label=$2 chosen=()
  shift 2
  if is_newer "$folder/run.json" "$out/$who/model/run.json" && grep -qs '"counts"' "$folder/run.json"; then
    say "$step: $folder is answered"
    return
  fi
  case $what in
    codiesp) chosen=(--data "$CODIESP/test.parquet") ;;
    elsewhere_*) chosen=(--data "$EXTERNAL_DEV/${what#elsewhere_}.jsonl") ;;
    test) chosen=(--data "$out/data/test.parquet" --sample "${SAMPLE:-5000}" --scenarios "${SCENARIOS[@]}") ;;
    whole) chosen=(--data "$out/data/test.parquet" --sample "${SAMPLE:-5000}" --scenarios multiple) ;;
    validation) chosen=(--data "$out/data/validation.parquet" --sample "${VALIDATION:-1000}" --sample-of "{multiple: ${VALIDATION:-1000}}" --scenarios "${SCENARIOS[@]}") ;;
    seen) chosen=(--data "$out/data/train.parquet" --sample "${SEEN:-1000}" --sample-of "{multiple: ${SEEN:-1000}}" --scenarios "${SCENARIOS[@]}") ;;
  esac
  if [[ $1 == --model ]]; then
    chosen+=(--engine "$engine")
    [[ $what != codiesp ]] || chosen+=(--long-text chunks --overlap-tokens 16 --max-tokens 64)
    [[ $what != seen ]] || label="$label, texts of its training"
  fi
  [[ $what == whole ]] && label="$label, lists read whole" || chosen+=(--by-condition multiple)
  boxed "$python" -m eval.predict --config configs/eval/predict_full_scratch.yaml \
    --output "$folder/predictions.jsonl" --label "$label" "$@" "${chosen[@]}" ${PREDICT:-}
}

# score WHO/WHAT WORD...: scores.json beside predictions, unless it is newer than they are.
score() {
  local folder=$out/$1
  shift
  [[ -s $folder/predictions.jsonl ]] || fail "no predictions in $folder; run the steps predict and floor"
  is_newer "$folder/scores.json" "$folder/predictions.jsonl" ||
    boxed "$python" -m eval.score "$folder/predictions.jsonl" --output "$folder/scores.json" "$@"
}

# calibrate WHO: how sure a model may be of its codes, by its answers to the validation texts. More of them than the usual
# 95 in 100 are right, so a threshold for that would hold nothing back.
calibrate() {
  local answers=$out/$1/validation/predictions.jsonl
  [[ $out/$1/model/calibration.json -nt $answers ]] || boxed "$python" -m eval.calibrate "$answers" --model "$out/$1/model" --target 0.98
}

# combine FLOOR WHAT: the floor's answer where the model is unsure, by a threshold chosen on validation texts.
combine() {
  local folder=$out/union_$1/$2
  is_newer "$folder/run.json" "$out/$model/$2/predictions.jsonl" ||
    boxed "$python" -m eval.combine "$out/$model/$2/predictions.jsonl" "$out/$1/$2/predictions.jsonl" \
      --validation "$out/$model/validation/predictions.jsonl" "$out/$1/validation/predictions.jsonl" \
      --output "$folder/predictions.jsonl" --label "$model_label and $1"
}

list_elsewhere() {
  local file
  if [[ -n ${EXTERNAL_DEV:-} ]]; then
    for file in "$EXTERNAL_DEV"/*.jsonl; do
      file=${file##*/}
      echo "elsewhere_${file%.jsonl}"
    done
  fi
  [[ -z ${CODIESP:-} ]] || echo codiesp
}

is_there() { # FILE STAGE
  grep -qs "\"stage\": \"$2\"" "$1"
}

is_trained() {
  grep -qs '"finished": true' "$out/$1/model/run.json"
}

is_newer() { # FILE OTHER: the file is there and not older
  [[ -f $1 && ! $1 -ot $2 ]]
}

require_trained() {
  is_trained "$1" || end_unfinished "$1 is not trained to its end"
}

# boxed COMMAND...: the command, ended when the time box is over; times.tsv says how long each took.
boxed() {
  local left=0 started=$SECONDS status=0
  if ((deadline)); then
    left=$((deadline - SECONDS))
    ((left > 0)) || end_unfinished "the time box is over"
  fi
  say "$step: ${*/#$python/python}"
  # a group of its own, so that launcher and workers end together; what is killed at any moment can go on
  timeout --kill-after=60 "$left" "$@" &
  local child=$!
  trap 'kill -TERM $child || true; wait $child || true; note_time $started 130; end_unfinished "stopped"' INT TERM HUP
  wait $child || status=$?
  trap - INT TERM HUP
  note_time "$started" "$status"
  if ((deadline && (status == 124 || status == 137))); then
    end_unfinished "$step: the time box of $MINUTES minutes is over"
  fi
  ((status == 0)) || fail "$step ended with status $status; what it said stands above"
}

note_time() { # SECONDS_AT_START STATUS
  printf '%s\t%s\t%s\t%s\n' "$(date -u +%FT%TZ)" "$step" "$((SECONDS - $1))" "$2" >>"$out/times.tsv"
}

say() {
  echo "full_scale: $*" >&2
}

fail() {
  say "error: $*"
  exit 1
}

end_unfinished() {
  say "$*; what was done is kept: run the same command again to go on"
  exit "$NOT_FINISHED"
}

main "$@"

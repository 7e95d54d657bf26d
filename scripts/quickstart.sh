#!/usr/bin/env bash
# The main job on data that it makes: install, train on DICOM series, evaluate and segment unseen series.
# Everything lies under quickstart/. It can be run again: finished steps are not repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
make_environment openvino

here="$PWD/quickstart"
python="$PWD/.venv/bin/python"
mkdir -p "$here"
started=$SECONDS

echo "1/6  a phantom data set of DICOM series in quickstart/data"
"$python" scripts/make_phantom_dataset.py "$here/data"

cd bundle
# The phantoms' organs differ only in HU, so brightness and contrast are not augmented.
echo "2/6  training (python -m monai.bundle run training), from scratch: no weights are downloaded"
"$python" -m monai.bundle run training --config_file configs/train.json \
    --dataset_dir "$here/data" --ckpt_dir "$here/models" --output_dir "$here/training" \
    --pretrained scratch --max_epochs 8 --iterations_per_epoch 40 --val_interval 8 --ema_momentum 0.03 \
    --lr_schedule onecycle --encoder_lr 1e-3 --decoder_lr 1e-3 \
    --train#preprocessing#jitter_prob 0 --train#preprocessing#gamma_prob 0 \
    --batch_size 6 --overrides "{'spacing_mm': [3.5, 3.5], 'roi_size': [80, 80]}"

echo "3/6  evaluation on unseen series"
"$python" -m monai.bundle run --config_file "['configs/train.json','configs/evaluate.json']" \
    --dataset_dir "$here/data/unseen" --ckpt_dir "$here/models" --output_dir "$here/evaluation"

echo "4/6  int8 for the CPU, calibrated on training cases, judged on validation cases"
"$python" -m monai.bundle run --config_file configs/quantize.json --ckpt_dir "$here/models"

cd ..
echo "5/6  segmentation of the same series, without their labels, by the fastest engine"
"$here/../.venv/bin/monai-vggunet" segment "$here/data/unseen/images" -o "$here/masks" --model "$here/models/model.pt"

echo "6/6  pages to look at: one of the run, one of the first series (monai-vggunet report)"
first="$(cd "$here/masks" && ls */record.json | head -n 1 | xargs dirname)"
"$here/../.venv/bin/monai-vggunet" report "$here" "$here/masks/$first" --images "$here/data/unseen"

echo
echo "model:  quickstart/models/model.pt (with model.json; int8: model_int8.xml)"
echo "masks:  quickstart/masks/<series>/mask.nii.gz, each on its series' own grid"
echo "look:   quickstart/report.html (the run), quickstart/masks/$first/report.html (one series)"
echo "took $((SECONDS - started)) s after installation"
"$python" - "$here/evaluation/metrics.json" <<'PY'
import json
import sys

print(f"mean Dice {json.load(open(sys.argv[1]))['mean']['val_mean_dice']:.3f}")
PY

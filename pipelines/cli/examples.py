"""Examples of every command, for the end of its help."""

TRAJECTORIES_EXAMPLES = """\
examples:
  hlmat trajectories --dataset shapes --out out/shapes
  hlmat trajectories --dataset dis5k --data-root /data/hqseg44k --split val --out out/dis5k
  hlmat trajectories --dataset refcoco --data-root /data/refer_seg --segmenter sam \\
      --checkpoint sam_vit_l_0b3195.pth --max-clicks 7 --out out/refcoco
  hlmat trajectories --dataset grabcut --data-root /data/iseg --max-clicks 20 \\
      --target-iou none --no-stop-on-no-gain --out out/noc     # NoC as the field measures it
  hlmat trajectories --dataset folder --data-root ~/mine --segmenter my_tool:MySegmenter \\
      --out out/mine

"""
EXPORT_EXAMPLES = """\
examples:
  hlmat export --from out/shapes --format trace --out out/shapes-trace.json
  hlmat export --from out/shapes --format llama-factory --out out/shapes-sft
  hlmat export --from out/shapes --format llama-factory --codec pixels --max-side 448 \\
      --mask-colour red --out out/shapes-sft-448
  hlmat export --from out/shapes --format hub --out out/shapes-hub    # for the Hugging Face Hub
  hlmat export --from out/shapes --format coco-results --out out/shapes-coco

"""
SERVE_SEGMENTER_EXAMPLES = """\
examples:
  hlmat serve-segmenter --segmenter sam --checkpoint sam_vit_l_0b3195.pth
  hlmat serve-segmenter --segmenter my_tool:MySegmenter --host 0.0.0.0 --port 8100
  hlmat trajectories --dataset shapes --segmenter http://127.0.0.1:8100 --out out/served

"""
FIT_CLICKS_EXAMPLES = """\
examples:
  hlmat fit-clicks clicks.csv --out model.json                 # masks next to the log
  hlmat fit-clicks clicks.csv --dataset refcoco --data-root /data/refer_seg --out model.json
  hlmat fit-clicks rclicks/clicks.csv --log-format rclicks --dataset davis \\
      --data-root /data/iseg --masks rclicks/fn_fp --out davis.json
  hlmat evaluate --policy human --click-model model.json --dataset shapes --out out/human

"""
STATS_EXAMPLES = """\
examples:
  hlmat stats out/shapes
  hlmat stats out/shapes --json | jq '.["gIoU"]'
  hlmat stats out/shapes --verify                # every file against its sha256 first
  hlmat stats out/shapes --report stats.html     # with charts of each data set and split

"""
EVALUATE_EXAMPLES = """\
examples:
  hlmat evaluate --recipe mini --out out/mini/test
  hlmat evaluate --recipe qwen2_5_vl_7b_lora --model out/qwen2_5_vl_7b_lora/model \\
      --dataset refcoco --data-root /data/refer_seg --split testA --out out/testA
  hlmat evaluate --policy openai --server http://localhost:8000/v1 --dataset shapes \\
      --split test --codec thousandths --out out/served
  hlmat evaluate --policy replay --answers out/mini/test/predictions.json --dataset shapes \\
      --split test --out out/replayed
  hlmat evaluate --policy centre --dataset shapes --split test --out out/centre
  hlmat evaluate --policy human --click-decile all --dataset shapes --split test \\
      --out out/human                          # how robust the segmenter is to people's clicks

"""
FILTER_EXAMPLES = """\
examples:
  hlmat filter --recipe mini_refine --dataset folder --data-root ~/mine --out out/filtered
  hlmat filter --recipe mini_refine --dataset coco --data-root /data/coco --split val2017 \\
      --keep-at 0.9 --out out/filtered
  hlmat filter --recipe mini_refine --corrupt 0.3-1 --out out/trial   # how well it finds bad masks

"""
REFINE_EXAMPLES = """\
examples:
  hlmat refine --recipe mini_refine --dataset folder --data-root ~/mine --out out/refined
  hlmat refine --recipe mini_refine --dataset coco --data-root /data/coco --split val2017 \\
      --segmenter sam --checkpoint sam_vit_l_0b3195.pth --stop-score 0.95 --out out/refined
  hlmat refine --recipe mini_refine --corrupt 0.5-0.9 --out out/trial   # what is gained

"""
SCORE_EXAMPLES = """\
examples:
  hlmat score predictions.json                      # the last mask of each expression
  hlmat score predictions.json --step best-scored   # the one that the model scored best
  hlmat score predictions.json --step 3 --json

"""
TRAIN_EXAMPLES = """\
examples:
  hlmat train --recipe mini
  hlmat train --recipe mini --dry-run
  hlmat train --recipe qwen2_5_vl_7b_lora --dataset refcoco --data-root /data/refer_seg \\
      --split train --model models/Qwen2.5-VL-7B-Instruct
  hlmat train --recipe mini --out out/short --set max_steps=100

"""
STAR_PLUS_EXAMPLES = """\
examples:
  hlmat star-plus --recipe mini_prm --rounds 2
  hlmat star-plus --recipe qwen2_5_vl_7b_lora --dataset refcoco --data-root /data/refer_seg \\
      --split train --evaluation-split val --checkpoint sam_vit_l_0b3195.pth
  hlmat star-plus --recipe mini_prm --runner PortableRunner --job_endpoint=localhost:8073 \\
      --environment_type=LOOPBACK

"""
RL_EXAMPLES = """\
examples:
  hlmat rl --recipe mini_grpo
  hlmat rl --recipe mini_grpo --model out/mini/model --out out/rl-mini
  hlmat rl --recipe mini_grpo --click-price 0.05 --rounds 20 --out out/short

"""
LADDER_EXAMPLES = """\
examples:
  hlmat ladder --recipe mini_prm
  hlmat ladder --recipe mini_prm --limit 100 --out out/short
  hlmat ladder --recipe ./my_recipe --data-root /data/refer_seg --checkpoint sam_vit_l_0b3195.pth

"""
COMPARE_EXAMPLES = """\
examples:
  hlmat compare trained=out/mini/test/trained centre=out/mini/test/centre
  hlmat compare trained=out/a greedy=out/b --chart steps.png
  hlmat compare 2000=out/a 8000=out/b --learning-curve curve.png

"""
MINI_BASE_EXAMPLES = """\
examples:
  hlmat mini-base --out out/mini/base
  hlmat mini-base --out out/random --steps 0        # random weights alone

"""
REJECTS_EXAMPLES = """\
examples:
  hlmat rejects out/mine                  # by reason, with the first message of each
  hlmat rejects out/mine --all            # every one
  hlmat rejects out/mine --all --json | jq -r '.rejects[].image_path'

"""
INSPECT_EXAMPLES = """\
examples:
  hlmat inspect out/shapes                                  # the first trajectory
  hlmat inspect out/shapes --target 'train/000003#1' --strip strip.png
  hlmat inspect out/mine --target folder/all/cup             # a reject: why, and what can be drawn

"""
VIEW_EXAMPLES = """\
examples:
  hlmat view out/shapes                                     # in the browser, until Ctrl-C
  hlmat view out/shapes --save out/shapes-page              # a folder: open its index.html
  hlmat view out/mini/test/trained --against out/mini/test/centre

"""
EDIT_EXAMPLES = """\
examples:
  hlmat edit out/shapes                                     # flag targets in the browser
  hlmat edit out/shapes --read mine.csv                     # or take flags from a file
  hlmat edit apply out/shapes --out out/shapes-corrected

"""
SPLIT_EXAMPLES = """\
examples:
  hlmat split out/shapes --out out/parts
  hlmat split out/mine --parts train=0.9,test=0.1 --stratify dataset,area --out out/parts

"""
MERGE_EXAMPLES = """\
examples:
  hlmat merge out/part1 out/part2 --out out/whole
  hlmat merge out/corrected out/all --keep-first --out out/whole

"""
SAMPLE_EXAMPLES = """\
examples:
  hlmat sample out/shapes --count 100 --out out/hundred
  hlmat sample out/mine --share 0.1 --by target --stratify iou,stop --seed 1 --out out/tenth

"""
NOISE_EXAMPLES = """\
examples:
  hlmat noise out/shapes --report noise.html
  hlmat noise out/shapes --flags noise.csv --kinds hole,island,shared
  hlmat edit apply out/shapes --flags noise.csv --out out/clean

"""
BENCH_EXAMPLES = """\
examples:
  hlmat bench list
  hlmat bench show shapes-solid                             # what to run
  hlmat bench baselines out/bench                           # rows to compare with
  hlmat bench score out/bench/shapes-solid/mine.yaml
  hlmat bench verify out/bench/shapes-solid/mine.yaml --sample 20
  hlmat bench table out/bench --html out/bench/table.html

"""

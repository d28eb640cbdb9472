//! A run that is killed continues as if it had never stopped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::common::{run_ok, text};

/// A tiny run with everything that draws: attack, ARD, PRM, stochastic depth, mixing, cropping, an average.
const RUN: &str = "train --data synthetic --limit 96 --batch 16 --epochs 3 --patch 8 --width 32 --heads 2 --depth 2 \
                   --mlp-width 32 --drop-path 0.2 --mixup 0.8 --crop-pad 2 --ema 0.9 --eval-limit 0 --threads 1 \
                   --method adversarial --attack-steps 2 --attack-warmup 2 --seed 5 --out";

fn arguments<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    RUN.split_whitespace().chain([text(out)]).chain(more.iter().copied()).collect()
}

#[test]
fn a_run_killed_by_sigkill_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    run_ok(&arguments(&whole, &[]));

    let mut child = Command::new(env!("CARGO_BIN_EXE_vitrum"))
        .args(arguments(&killed, &["--checkpoint-every", "1"]))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let seen = lines.map(Result::unwrap).find(|line| line.starts_with("epoch 2/3: 16/96"));
    assert!(seen.is_some(), "the second epoch was never announced");
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(!killed.join("model.safetensors").exists(), "the run was over before it was killed");

    run_ok(&["train", "--resume", "--eval-limit", "0", "--threads", "1", "--out", text(&killed)]);
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    assert!(read(&whole, "model.safetensors") == read(&killed, "model.safetensors"), "the weights differ");
    assert_eq!(
        String::from_utf8(read(&whole, "metrics.jsonl")).unwrap(),
        String::from_utf8(read(&killed, "metrics.jsonl")).unwrap()
    );
}

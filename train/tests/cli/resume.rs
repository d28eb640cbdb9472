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

#[test]
fn a_federated_run_resumes_after_its_last_whole_round() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    let run = |out: &Path, more: &[&str]| {
        let flags = "federated --data synthetic --limit 48 --batch 8 --patch 8 --width 32 --heads 2 --depth 1 --mlp-width 32 \
                     --clients 3 --partition dirichlet:0.5 --eval-limit 20 --threads 1 --seed 5 --out";
        run_ok(&flags.split_whitespace().chain([text(out)]).chain(more.iter().copied()).collect::<Vec<_>>());
    };
    run(&whole, &["--rounds", "3"]);
    // The learning rate falls over all rounds, so a shorter run is not the beginning of a longer one: its file is.
    run(&stopped, &["--rounds", "1", "--schedule", "constant"]);
    let file = stopped.join("federated.toml");
    let ended = std::fs::read_to_string(&file).unwrap();
    assert!(ended.contains("round = 1") && ended.contains("rounds = 1"), "{ended}");
    std::fs::write(&file, ended.replace("rounds = 1", "rounds = 3")).unwrap();
    run_ok(&["federated", "--resume", "--eval-limit", "20", "--threads", "1", "--out", text(&stopped)]);
    let constant = folder.path().join("constant");
    run(&constant, &["--rounds", "3", "--schedule", "constant"]);
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    assert!(read(&constant, "model.safetensors") == read(&stopped, "model.safetensors"), "the weights differ");
    assert!(read(&constant, "metrics.jsonl") == read(&stopped, "metrics.jsonl"), "the records differ");
    assert!(read(&whole, "model.safetensors") != read(&constant, "model.safetensors"));
    assert_eq!(String::from_utf8(read(&stopped, "metrics.jsonl")).unwrap().lines().count(), 3);
}

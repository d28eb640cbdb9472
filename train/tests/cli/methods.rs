//! The training methods by their flags: what is written down is what was asked for.

use std::path::Path;

use models::{LoadOptions, load};

use crate::common::{json, run, run_ok, text};

/// A tiny training run.
const TINY: &str = "train --data synthetic --limit 48 --batch 16 --epochs 1 --eval-limit 0 --threads 1";
/// A tiny fresh model.
const FRESH: &str = "--patch 8 --width 32 --heads 2 --depth 2 --mlp-width 32";

fn words<'a>(parts: &[&'a str]) -> Vec<&'a str> {
    parts.iter().flat_map(|part| part.split_whitespace()).collect()
}

/// The recipe that a run of these flags writes down.
fn recipe(out: &Path, flags: &str) -> toml::Table {
    run_ok(&words(&[TINY, FRESH, flags, "--out", text(out)]));
    let run = std::fs::read_to_string(out.join("run.toml")).unwrap();
    run.parse::<toml::Table>().unwrap()["recipe"].as_table().unwrap().clone()
}

#[test]
fn losses_arms_and_noise_are_what_the_flags_say() {
    let folder = tempfile::tempdir().unwrap();
    let method = |name: &str, flags: &str| recipe(&folder.path().join(name), flags)["method"].clone();
    let l2 =
        "--method adversarial --loss trades --beta 1 --attack-norm l2 --eps 0.5 --alpha 0.1 --attack-steps 1 --no-ard";
    let trades = method("trades", l2);
    assert_eq!((trades["loss"]["kind"].as_str(), trades["loss"]["beta"].as_float()), (Some("trades"), Some(1.0)));
    let attack = &trades["attack"];
    let found = ["norm", "eps", "objective", "start"].map(|key| attack[key].as_str().unwrap());
    assert_eq!(found, ["l2", "0.5", "kl", "normal"]);
    assert_eq!((attack["ard"].as_bool(), attack["prm"].as_bool()), (Some(false), Some(true)));
    let mart = method("mart", "--method adversarial --loss mart --attack-steps 1 --eps-ramp --clean-warmup");
    assert_eq!((mart["loss"]["kind"].as_str(), mart["loss"]["beta"].as_float()), (Some("mart"), Some(6.0)));
    assert_eq!((mart["eps_ramp"].as_bool(), mart["clean_warmup"].as_bool()), (Some(true), Some(true)));
    let noise = method("noise", "--method nullspace --noise-level image --noise permuted");
    assert_eq!((noise["level"].as_str(), noise["noise"].as_str()), (Some("image"), Some("permuted")));

    let refused = |flags: &str| run(&words(&[TINY, FRESH, flags, "--out", text(&folder.path().join("refused"))]));
    for (flags, remedy) in [
        ("--method adversarial --beta 2", "--loss trades"),
        ("--eps-ramp", "--method adversarial"),
        ("--loss mart", "--method adversarial"),
        ("--noise-level image", "--method nullspace"),
        ("--method adversarial --loss mart --mixup 0.8", "mixup"),
        ("--stochastic a05:batch", ":token"),
    ] {
        let (status, message) = refused(flags);
        assert!(status == 2 && message.contains(remedy), "{flags}: {message}");
    }
}

#[test]
fn augmentations_are_what_the_flags_say() {
    let folder = tempfile::tempdir().unwrap();
    let augment = |name: &str, flags: &str| recipe(&folder.path().join(name), flags)["augment"].clone();
    let preset = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/stochastic_imagenet.toml");
    let config = format!("--config {}", text(&preset));
    let found = augment("preset", &config);
    assert_eq!(found["rand_augment"].as_str(), Some("rand-m9-mstd0.5-inc1"));
    assert_eq!(found["random_erasing"].as_float(), Some(0.25));
    let found = augment("jitter", &format!("{config} --rand-augment none --color-jitter 0.5 --random-erasing 0.5"));
    assert_eq!((found.get("rand_augment"), found["color_jitter"].as_float()), (None, Some(0.5)));
    assert_eq!(found["random_erasing"].as_float(), Some(0.5));
    for (flags, remedy) in [
        ("--rand-augment rand-m9-mmax20-inc1", "`mmax20`"),
        ("--rand-augment rand-m9-inc1 --color-jitter 0.4", "--rand-augment none"),
        ("--random-erasing 2", "`random_erasing`"),
    ] {
        let (status, message) = run(&words(&[TINY, FRESH, flags, "--out", text(&folder.path().join("refused"))]));
        assert!(status == 2 && message.contains(remedy), "{flags}: {message}");
    }
}

#[test]
fn stochastic_weights_are_measured_over_seeds_and_transferred_without_their_layers() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    run_ok(&words(&[TINY, FRESH, "--stochastic a10:image --out", text(&first)]));
    let weights = first.join("model.safetensors");
    let eval = ["eval --data synthetic --limit 60 --threads 1 --weights", text(&weights), "--json"];
    let found = json(&words(&[&eval[..], &["--draw-seeds 4 --per-class"]].concat()));
    let spread = |key: &str| found["over_seeds"][key]["std"].as_f64().unwrap();
    assert!(spread("nll") > 0.0 && spread("accuracy") >= 0.0, "{found}");
    let classes = found["per_class"]["classes"].as_array().unwrap();
    let sum = |key: &str| classes.iter().map(|class| class[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("correct"), sum("total")), (found["clean"]["correct"].as_u64().unwrap(), 60));
    let (status, message) = run(&words(&[&eval[..], &["--draw-seeds 2 --draws 0"]].concat()));
    assert!(status == 2 && message.contains("--draw-seeds"), "{message}");

    let preset = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/stochastic_features.toml");
    let more = "--new-head always --blocks 1 --stochastic none --out";
    run_ok(&words(&[TINY, "--config", text(&preset), "--weights", text(&weights), more, text(&second)]));
    let [before, after] =
        [&first, &second].map(|run| load(run.join("model.safetensors"), &LoadOptions::default()).unwrap());
    assert!(before.config.stochastic.is_some() && after.config.stochastic.is_none());
    assert_eq!((before.config.depth, after.config.depth), (2, 1));
    for (name, tensor) in &after.tensors {
        let (_, old) = before.tensors.iter().find(|(other, _)| other == name).unwrap();
        assert_eq!(old == tensor, !name.starts_with("head."), "{name}");
    }
}

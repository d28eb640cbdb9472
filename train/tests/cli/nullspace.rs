//! Noise from the exact nullspace of the patch embedding: `vitrum nullspace max`, `watermark`, `pullback`, `transfer`.

use std::path::{Path, PathBuf};

use models::{VitConfig, init};
use vitrum_tests::real_data;

use crate::common::{batch, config, json, listing, measured, model, read, result, run, run_ok, shown, text};

/// Largest |difference| over largest |value|, of what a model says of two sets of images.
fn relative_change(folder: &Path, weights: &Path, file: &Path, [clean, noisy]: [&str; 2]) -> f64 {
    let logits = |name: &str| {
        let (input, output) = (folder.join("in.safetensors"), folder.join("logits.safetensors"));
        crate::common::write(&input, &vec![("images".into(), read(file, name))]);
        run_ok(&["predict", "--weights", text(weights), "--input", text(&input), "--output", text(&output)]);
        read(&output, "logits").to_f64()
    };
    let (clean, noisy) = (logits(clean), logits(noisy));
    let largest = clean.iter().fold(0.0_f64, |most, z| most.max(z.abs()));
    clean.iter().zip(&noisy).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn every_word_has_help_with_an_example() {
    for (command, words) in [
        ("nullspace", &["max", "watermark", "pullback", "transfer"][..]),
        ("privacy", &["invert", "gradients", "membership"]),
    ] {
        for word in words {
            let help = run_ok(&[command, word, "--help"]);
            assert!(
                help.contains(&format!("Example:\n  vitrum {command} {word}")) && help.contains("--json"),
                "{help}"
            );
        }
    }
}

#[test]
fn the_largest_noise_stays_in_the_box_and_the_model_does_not_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = model(folder, 10);
    let mut l1 = Vec::new();
    for search in ["greedy", "sum", "l1"] {
        let out = folder.join(search);
        let args = ["nullspace", "max", "--weights", text(&weights), "--search", search, "--limit", "2"];
        let found = json(&[&args[..], &["--pictures", "1", "--json", "--out", text(&out)]].concat());
        let report = &found["max"];
        assert_eq!(report["nullity"].as_u64(), Some(96), "{found}");
        let file = out.join("noisy.safetensors");
        let images = read(&file, "images");
        assert_eq!(images.dims(), [2, 3, 32, 32]);
        assert!(images.values::<f32>().unwrap().iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        let change = relative_change(folder, &weights, &file, ["clean", "images"]);
        assert!(change < 1e-5, "{search}: {change}");
        let (max, permuted) = (&report["nullspace"]["max"], &report["permuted"]["max"]);
        assert!(permuted.as_f64().unwrap() > 1e3 * max.as_f64().unwrap(), "{found}");
        assert!(report["gap"].as_f64().is_none_or(|gap| gap < 1e-4), "{found}");
        assert_eq!(report["gap"].is_null(), search == "greedy");
        assert_eq!(listing(&out), ["00000_clean.png", "00000_noisy.png", "noisy.safetensors", "nullspace.json"]);
        shown(&out, "00000_noisy.png", "largest noise in the nullspace");
        l1.push(report["mean_l1"].as_f64().unwrap());
    }
    assert!(l1[2] > 1.1 * l1[0] && l1[2] > l1[1], "{l1:?}");
}

#[test]
fn a_superposition_looks_like_one_image_and_is_taken_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = model(folder, 10);
    for distance in ["l1", "l2"] {
        let out = folder.join(distance);
        let args = ["nullspace", "watermark", "--weights", text(&weights), "--source", "0", "--target", "5"];
        let found = json(&[&args[..], &["--distance", distance, "--json", "--out", text(&out)]].concat());
        let report = &found["watermark"];
        assert_eq!(report["classes"][0], report["classes"][1]);
        let psnr = |name: &str| report[name].as_f64().unwrap();
        assert!(psnr("psnr_target") > psnr("psnr_start") + 1.0, "{found}");
        let file = out.join("watermark.safetensors");
        assert!(relative_change(folder, &weights, &file, ["source", "images"]) < 1e-5);
        assert_eq!(
            listing(&out),
            ["nullspace.json", "source.png", "superposition.png", "target.png", "watermark.safetensors"]
        );
        shown(&out, "superposition.png", "nearest to the target");
    }
    let out = folder.join("none");
    let args = ["nullspace", "watermark", "--weights", text(&weights), "--target", "9", "--limit", "5"];
    let (status, error) = run(&[&args[..], &["--out", text(&out)]].concat());
    assert!(status == 2 && error.contains("no such image"), "{error}");
}

/// A second model with the first one's patch embedding: it can't see the noise either. A third with its own can.
fn others(folder: &Path) -> [PathBuf; 2] {
    let own = init::init(&config(10), 5).unwrap();
    [6_u64, 7].map(|seed| {
        let mut tensors = init::init(&config(10), seed).unwrap();
        for (name, tensor) in tensors.iter_mut().filter(|(name, _)| seed == 6 && name == "patch_embed.proj.weight") {
            *tensor = own.iter().find(|(other, _)| other == name).unwrap().1.clone();
        }
        let path = folder.join(format!("other{seed}.safetensors"));
        models::save(&path, &config(10), &tensors).unwrap();
        path
    })
}

#[test]
fn noise_carries_over_to_models_with_the_same_embedding_only() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = model(folder, 10);
    let [same, different] = others(folder);
    let input = batch(folder, "images.safetensors", 5, |_| ());
    let args = ["nullspace", "transfer", "--weights", text(&weights), "--to", text(&same), "--to", text(&different)];
    let check = |more: &[&str]| {
        let found = json(&[&args[..], &["--input", text(&input), "--json"], more].concat());
        let mse = |row: usize, which: &str| found["models"][row][which]["mse_logits"].as_f64().unwrap();
        for row in [0, 1] {
            assert!(mse(row, "noise") < 1e-8 && mse(row, "permuted") > 1e-6, "{found}");
            assert_eq!(found["models"][row]["noise"]["agreement"].as_f64(), Some(1.0));
        }
        assert!(mse(2, "noise") > 1e-6, "{found}");
    };
    let record = folder.join("transferred");
    check(&["--linf", "0.3", "--out", text(&record)]);
    let (written, page) = result(&record, "transfer");
    assert!(measured(&written, "mse_logits", &format!("{}, noise", text(&different))) > 1e-6, "{written}");
    assert!(measured(&written, "agreement", &format!("{}, noise", text(&same))) == 1.0, "{written}");
    assert!(page.contains("permuted noise"), "{page}");
    // Noise of another command, one for each image.
    let out = folder.join("max");
    let max = ["nullspace", "max", "--weights", text(&weights), "--input", text(&input), "--search", "sum"];
    run_ok(&[&max[..], &["--out", text(&out)]].concat());
    check(&["--noise", text(&out.join("noisy.safetensors"))]);
    let (status, error) =
        run(&[&args[..], &["--noise", text(&out.join("noisy.safetensors")), "--limit", "3"]].concat());
    assert!(status == 2 && error.contains("one per image"), "{error}");
}

#[test]
fn noise_on_the_tokens_is_carried_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (weights, out) = (model(folder, 10), folder.join("pulled"));
    let args = ["nullspace", "pullback", "--weights", text(&weights), "--limit", "8", "--json"];
    let found = json(&[&args[..], &["--noise-limit", "0.05", "--linf", "0.5", "--out", text(&out)]].concat());
    let report = &found["pullback"];
    let figure = |name: &str| report["pulled"][name].as_f64().unwrap();
    assert!(figure("kkt") < 1e-4 && figure("gap") < 1e-6 && (0.0..1.0).contains(&figure("misfit")), "{found}");
    assert!(report["synthesis"]["reached"].as_bool().unwrap(), "{found}");
    let file = out.join("pullback.safetensors");
    let noise = read(&file, "noise");
    assert_eq!((noise.dims(), read(&file, "tokens").dims()), (&[1, 3, 32, 32][..], &[1, 16, 96][..]));
    assert!(noise.to_f64().iter().all(|v| v.abs() <= 0.5));
    // The tokens' noise in that file gives the same again, without being made.
    let tokens = folder.join("tokens.safetensors");
    crate::common::write(&tokens, &vec![("noise".into(), read(&file, "tokens"))]);
    let again = folder.join("again");
    let found = json(&[&args[..], &["--noise", text(&tokens), "--linf", "0.5", "--out", text(&again)]].concat());
    assert!(found["pullback"]["synthesis"].is_null());
    assert_eq!(read(&again.join("pullback.safetensors"), "noise"), noise);
    let (status, error) = run(&[&args[..], &["--noise", text(&file), "--out", text(&again)]].concat());
    assert!(status == 2 && error.contains("patch tokens"), "{error}");
}

#[test]
fn an_empty_nullspace_is_told_with_rank_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let square = VitConfig { patch: 4, ..config(10) };
    let path = folder.join("square.safetensors");
    models::save(&path, &square, &init::init(&square, 1).unwrap()).unwrap();
    let out = folder.join("out");
    let refused = |args: &[&str], rank: &str| {
        for word in ["max", "watermark"] {
            let (status, error) = run(&[&["nullspace", word, "--out", text(&out)], args].concat());
            assert!(status == 2 && error.contains("nullspace is empty") && error.contains("c p^2 > d"), "{error}");
            assert!(error.lines().any(|line| line.contains("rank") && line.trim().ends_with(rank)), "{error}");
        }
    };
    refused(&["--weights", text(&path)], "48");
    // The published MNIST model has patches of 16 values and a width of 64.
    let (Some(weights), Some(mnist)) = (real_data("vit-mnist/model.safetensors"), real_data("mnist")) else { return };
    let how = ["--heads", "4", "--activation", "relu", "--normalize", "0.1307/0.3081"];
    refused(&[&["--weights", text(&weights), "--data", text(&mnist)][..], &how].concat(), "16");
}

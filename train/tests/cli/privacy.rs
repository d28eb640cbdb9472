//! What a model, its features and its gradients give away: `vitrum privacy`.

use models::init;
use vitrum_tests::real_data;

use crate::common::{config, json, listing, measured, model, read, result, run, shown, text};

#[test]
fn gradients_give_the_image_and_its_label_away() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (weights, out) = (model(folder, 10), folder.join("leaked"));
    // Real pictures where there are any: a drawn one has plain patches.
    let data = real_data("cifar-10-batches-bin").map_or("synthetic".into(), |path| text(&path).to_owned());
    let args = ["privacy", "gradients", "--weights", text(&weights), "--data", &data, "--json", "--out", text(&out)];
    let found = json(&[&args[..], &["--limit", "3"]].concat());
    assert!(found["quality"]["mean_psnr"].as_f64().unwrap() > 50.0, "{found}");
    for row in found["images"].as_array().unwrap() {
        assert_eq!(row["label"], row["inferred"]);
        assert_eq!((row["analytic"]["rank"].as_u64(), row["analytic"]["patches"].as_u64()), (Some(16), Some(16)));
    }
    assert_eq!(listing(&out), ["privacy.json", "reconstructed.safetensors", "strip.png"]);
    shown(&out, "strip.png", "closed form");
    assert_eq!(read(&out.join("reconstructed.safetensors"), "reconstructed").dims(), [3, 3, 32, 32]);
    let found = json(&[&args[..], &["--limit", "1", "--attack", "descent", "--steps", "20"]].concat());
    let distances = found["images"][0]["descended"]["distances"].as_array().unwrap();
    let at = |index: usize| distances[index].as_f64().unwrap();
    assert!(distances.len() == 20 && at(19) < 0.9 * at(0), "{found}");
    assert!(found["quality"]["reidentified"].is_null());
}

#[test]
fn features_give_images_away() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (weights, out) = (model(folder, 10), folder.join("inverted"));
    let args = ["privacy", "invert", "--weights", text(&weights), "--data", "synthetic", "--json", "--out", text(&out)];
    let more = ["--limit", "3", "--steps", "60", "--block", "0", "--block", "1", "--batch", "2"];
    let found = json(&[&args[..], &more].concat());
    let noise = found["noise"]["mean_psnr"].as_f64().unwrap();
    for at in [0, 1] {
        let inversion = &found["inversions"][at];
        assert_eq!(inversion["config"]["block"].as_u64(), Some(at as u64));
        assert!(inversion["quality"]["mean_psnr"].as_f64().unwrap() > noise + 1.0, "{found}");
        assert_eq!(inversion["quality"]["reidentified"].as_f64(), Some(1.0));
        assert!(inversion["quality"]["ssim"].as_array().unwrap().len() == 3);
    }
    assert_eq!(listing(&out), ["block0.png", "block1.png", "privacy.json", "reconstructed.safetensors"]);
    shown(&out, "block1.png", "after block 1");
    let (status, error) = run(&[&args[..], &["--block", "2"]].concat());
    assert!(status == 2 && error.contains("fewer blocks"), "{error}");
}

#[test]
fn an_untrained_model_has_no_members_and_shadows_are_at_least_two() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = model(folder, 10);
    let shadows: Vec<_> = [11_u64, 12, 13]
        .map(|seed| {
            let path = folder.join(format!("shadow{seed}.safetensors"));
            models::save(&path, &config(10), &init::init(&config(10), seed).unwrap()).unwrap();
            path
        })
        .into();
    let args =
        ["privacy", "membership", "--weights", text(&weights), "--data", "synthetic", "--limit", "150", "--json"];
    let flags: Vec<&str> = shadows.iter().flat_map(|path| ["--shadow", text(path)]).collect();
    let out = folder.join("membership");
    let found = json(&[&args[..], &flags, &["--out", text(&out)]].concat());
    let attacks = found["attacks"].as_array().unwrap();
    let (written, page) = result(&out, "membership");
    let auc = measured(&written, "membership_auc", "likelihood ratio");
    assert_eq!(auc, attacks[3]["auc"].as_f64().unwrap());
    assert!(page.contains("membership_tpr_at_0.1%_fpr") && page.contains("others"), "{page}");
    let names: Vec<&str> = attacks.iter().map(|row| row["attack"].as_str().unwrap()).collect();
    assert_eq!(names, ["loss", "entropy", "confidence", "likelihood ratio"]);
    for row in attacks {
        assert_eq!((row["members"].as_u64(), row["others"].as_u64()), (Some(150), Some(150)));
        // Of 150 against 150, the area's deviation is 0.033 where there is nothing to find.
        assert!((row["auc"].as_f64().unwrap() - 0.5).abs() < 0.15, "{found}");
    }
    let (status, error) = run(&[&args[..], &flags[..2]].concat());
    assert!(status == 2 && error.contains("two or more"), "{error}");
}

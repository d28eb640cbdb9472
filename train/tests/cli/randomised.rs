//! MIM, Patch-Fool and the evaluation of randomised models, from the command line.

use models::{Distribution, Sharing, Stochastic, StochasticLayer, VitConfig, init};

use crate::common::{config, json, measured, model, read, result, run, text};

#[test]
fn mim_and_patch_fool_write_what_they_found() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, out) = (model(folder.path(), 10), folder.path().join("attacked"));
    let flags = ["attack", "--weights", text(&weights), "--data", "synthetic", "--limit", "5", "--batch", "3"];
    let more = ["--pictures", "0", "--steps", "3", "--out", text(&out), "--json"];
    let found = json(&[&flags[..], &more[..], &["--attack", "mim"]].concat());
    assert_eq!(found["attack"]["name"], "mim3-linf");
    assert_eq!(found["attack"]["config"]["momentum"], 1.0);
    assert_eq!(found["warnings"].as_array().map(Vec::len), Some(0), "{found}");

    let patch = ["--attack", "patch-fool", "--patches", "2", "--patch-select", "saliency"];
    let found = json(&[&flags[..], &more[..], &patch[..]].concat());
    assert_eq!(
        (found["attack"]["name"].as_str(), found["attack"]["total"].as_u64()),
        (Some("patch-fool3-p2"), Some(5))
    );
    let clean = json(&[&flags[..], &more[..], &["--eps", "0", "--alpha", "0"]].concat());
    assert!(clean["attack"]["accuracy"].is_number());
    assert_eq!(read(&out.join("adversarial.safetensors"), "images").dims(), [5, 3, 32, 32]);
    let (written, page) = result(&out, "attack");
    assert_eq!(measured(&written, "accuracy", "pgd3-linf"), clean["attack"]["accuracy"].as_f64().unwrap());
    assert_eq!(written["run"]["settings"]["attack pgd3-linf"]["eps"], "0");
    assert!(page.contains("pgd3-linf") && written["run"]["weights"]["sha256"].is_string(), "{written}");

    let both = ["--attack", "patch-fool", "--attack", "mim", "--steps", "2", "--json"];
    let found = json(&[&["eval"][..], &flags[1..], &both[..]].concat());
    assert_eq!(found["patch_attacks"][0]["name"], "patch-fool2-p1");
    assert_eq!(found["attacks"][0]["name"], "mim2-linf");
}

#[test]
fn a_randomised_model_is_measured_by_draws_and_one_draw_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("random.safetensors");
    let distribution = Distribution::Uniform { half_width: 0.5 };
    let layer = Stochastic { layer: StochasticLayer::Scale, distribution, sharing: Sharing::PerImage };
    let random = VitConfig { stochastic: Some(layer), ..config(10) };
    models::save(&path, &random, &init::init(&random, 5).unwrap()).unwrap();
    let flags = ["--weights", text(&path), "--data", "synthetic", "--limit", "5", "--steps", "2"];
    let more = ["--sweep", "1,3", "--draws", "9", "--votes", "3,9"];
    let out = folder.path().join("judged");
    let found = json(&[&["randomised", "--json", "--out", text(&out)][..], &flags[..], &more[..]].concat());
    let kinds: Vec<_> = found["attacks"].as_array().unwrap().iter().map(|attack| attack["kind"].as_str()).collect();
    assert_eq!(kinds, [Some("eot1"), Some("eot3"), Some("twin")]);
    assert_eq!((found["samples"].as_u64(), found["shared"].as_str()), (Some(5), Some("perimage")));
    let (low, high) = (&found["clean"]["pooled"]["low"], &found["clean"]["pooled"]["high"]);
    assert!(low.as_f64().unwrap() < high.as_f64().unwrap(), "{found}");
    assert!(found["warnings"][0]["problem"].as_str().unwrap().contains("NOT robustness"), "{found}");
    let (written, page) = result(&out, "randomised");
    let attack = &found["attacks"][1];
    let on = format!("eot3 {}", attack["name"].as_str().unwrap());
    let judgement = &attack["judgement"];
    assert_eq!(measured(&written, "accuracy", &on), judgement["single"].as_f64().unwrap());
    assert_eq!(measured(&written, "accuracy_high", &on), judgement["over_samples"]["high"].as_f64().unwrap());
    assert_eq!(measured(&written, "accuracy_vote9", "clean"), found["clean"]["votes"][1]["accuracy"].as_f64().unwrap());
    assert_eq!(measured(&written, "worst_case", "all attacks"), found["worst_case"].as_f64().unwrap());
    assert!(page.contains("<h2>Warnings</h2>") && page.contains("NOT robustness"), "the page hides the warning");

    let (status, errors) = run(&[&["eval", "--attack", "pgd"][..], &flags[..]].concat());
    assert!(status == 0 && errors.contains("NOT robustness"), "{errors}");
    let (status, errors) = run(&[&["eval", "--attack", "pgd", "--eot", "3"][..], &flags[..]].concat());
    assert!(status == 0 && !errors.contains("NOT robustness"), "{errors}");
    let (status, errors) = run(&[&["randomised"][..], &flags[..], &["--draws", "5"]].concat());
    assert!(status == 2 && errors.contains("votes"), "{errors}");
}

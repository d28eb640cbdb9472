//! What is warned about where an attack's figure would mislead.

use models::{Distribution, Sharing, Stochastic, StochasticLayer, VitConfig, init};

use crate::common::{config, model, run, text};

#[test]
fn a_randomised_model_attacked_without_its_draws_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("random.safetensors");
    let distribution = Distribution::Uniform { half_width: 0.5 };
    let layer = Stochastic { layer: StochasticLayer::Scale, distribution, sharing: Sharing::PerImage };
    let random = VitConfig { stochastic: Some(layer), ..config(10) };
    models::save(&path, &random, &init::init(&random, 5).unwrap()).unwrap();
    let flags = ["autoattack", "--weights", text(&path), "--data", "synthetic", "--limit", "3", "--steps", "1"];
    for (draws, warned) in [("0", true), ("1", true), ("2", false)] {
        let (status, errors) = run(&[&flags[..], &["--attacks", "pgd", "--eot", draws]].concat());
        assert!(status == 0 && errors.contains("NOT robustness") == warned, "{draws} draws: {errors}");
    }
}

#[test]
fn gradients_that_lead_nowhere_are_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // For images of class 3 the softmax is 1 to the last bit: cross-entropy has no slope there, the margin has.
    let mut tensors = init::init(&config(10), 5).unwrap();
    for (_, tensor) in tensors.iter_mut().filter(|(name, _)| name == "head.bias") {
        let mut values = tensor.values::<f32>().unwrap().to_vec();
        values[3] = 1e4;
        *tensor = engine::Tensor::new(tensor.dims(), &values).unwrap();
    }
    let path = folder.join("saturated.safetensors");
    models::save(&path, &config(10), &tensors).unwrap();
    let (weights, out) = (model(folder, 10), folder.join("out"));
    let flags = ["--data", "synthetic", "--limit", "40", "--steps", "1"];
    let attack = ["attack", "--pictures", "0", "--out", text(&out)];
    let warned = |words: &[&str]| {
        let (status, errors) = run(&[words, &flags[..]].concat());
        assert_eq!(status, 0, "{errors}");
        errors.contains("gradients are 0 everywhere")
    };
    let saturated = ["--weights", text(&path)];
    assert!(warned(&[&attack[..], &saturated[..]].concat()));
    assert!(warned(&[&["eval", "--attack", "pgd"], &saturated[..]].concat()));
    assert!(warned(&[&["autoattack", "--attacks", "fgsm"], &saturated[..]].concat()));
    assert!(!warned(&[&attack[..], &saturated[..], &["--objective", "margin"]].concat()));
    assert!(!warned(&[&attack[..], &["--weights", text(&weights)]].concat()));
}

//! What the subcommands compute, against PyTorch's figures, against one another, and against a real model's.

use std::path::{Path, PathBuf};

use engine::Tensor;
use engine::check::nmse;
use models::tensor_file::TensorFile;
use vitrum_tests::real_data;

use crate::common::{batch, json, listing, model, read, run_ok, text, write};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens").join(name)
}

#[test]
fn gradients_equal_those_of_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("gradients.safetensors");
    for (name, heads) in [("vit", "2"), ("deit", "3")] {
        let (weights, expected) =
            (golden(&format!("{name}.safetensors")), golden(&format!("{name}_golden.safetensors")));
        // Three images, two at a time: the second batch is half padding.
        let args = [
            "gradients",
            "--weights",
            text(&weights),
            "--heads",
            heads,
            "--norm-eps",
            "1e-6",
            "--normalize",
            "imagenet",
        ];
        let more = ["--input", text(&expected), "--output", text(&output), "--batch", "2", "--json"];
        let found = json(&[&args[..], &more[..]].concat());
        let loss = read(&expected, "loss").to_f64()[0];
        assert!((found["loss"].as_f64().unwrap() - loss).abs() < 1e-5 * loss, "{name}: {found} but {loss}");
        assert!(nmse(&read(&output, "d_images").to_f64(), &read(&expected, "d_images").to_f64()) < 1e-10, "{name}");
        let file = TensorFile::open(&expected).unwrap();
        let keys: Vec<String> = file.names().into_iter().filter(|key| key.starts_with("grad.")).collect();
        assert!(keys.len() > 20, "{keys:?}");
        for key in keys {
            let (actual, expected) = (read(&output, &key["grad.".len()..]), file.read(&key).unwrap());
            assert_eq!(actual.dims(), expected.dims(), "{name}: {key}");
            assert!(nmse(&actual.to_f64(), &expected.to_f64()) < 1e-10, "{name}: {key}");
        }
    }
}

#[test]
fn predictions_equal_those_of_pytorch_in_any_batching() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("logits.safetensors");
    let (weights, expected) = (golden("vit.safetensors"), golden("vit_golden.safetensors"));
    for batch in ["1", "2", "64"] {
        let args =
            ["predict", "--weights", text(&weights), "--heads", "2", "--norm-eps", "1e-6", "--normalize", "imagenet"];
        let more = ["--input", text(&expected), "--output", text(&output), "--features", "--batch", batch];
        run_ok(&[&args[..], &more[..]].concat());
        for key in ["logits", "features"] {
            let (actual, expected) = (read(&output, key), read(&expected, key));
            assert_eq!(actual.dims(), expected.dims());
            assert!(nmse(&actual.to_f64(), &expected.to_f64()) < 1e-11, "batch {batch}: {key}");
        }
    }
}

#[test]
fn a_converted_model_predicts_the_same_without_any_flag() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let path = |name: &str| folder.join(name);
    let (converted, first, second) = (path("converted"), path("first"), path("second"));
    let (weights, input) = (golden("vit.safetensors"), golden("vit_golden.safetensors"));
    let flags =
        ["--weights", text(&weights), "--heads", "2", "--norm-eps", "1e-6", "--normalize", "0.4,0.5,0.6/0.2,0.3,0.25"];
    run_ok(&[&["convert", "--output", text(&converted)][..], &flags[..]].concat());
    run_ok(&[&["predict", "--input", text(&input), "--output", text(&first)][..], &flags[..]].concat());
    run_ok(&["predict", "--weights", text(&converted), "--input", text(&input), "--output", text(&second)]);
    assert_eq!(read(&first, "logits"), read(&second, "logits"));

    let small = path("small");
    let adapt = ["--image-size", "32", "--patch", "2", "--classes", "7", "--json"];
    let found = json(&[&["convert", "--weights", text(&converted), "--output", text(&small)][..], &adapt[..]].concat());
    assert_eq!((found["config"]["patch"].as_u64(), found["config"]["classes"].as_u64()), (Some(2), Some(7)));
    assert_eq!(read(&small, "pos_embed").dims(), [1, 1 + 16 * 16, 32]);
    assert_eq!(read(&small, "head.weight").dims(), [7, 32]);
}

#[test]
fn noise_from_the_nullspace_is_invisible_and_permuted_noise_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (weights, out) = (model(folder, 10), folder.join("noise.safetensors"));
    let args = [
        "nullspace",
        "--weights",
        text(&weights),
        "--linf",
        "0.2",
        "--sample",
        "3",
        "--out",
        text(&out),
        "--limit",
        "5",
    ];
    let found = json(&[&args[..], &["--json"][..]].concat());
    let full = &found["full"];
    assert_eq!(
        (full["columns"].as_u64(), full["rank"].as_u64(), full["nullity"].as_u64()),
        (Some(192), Some(96), Some(96))
    );
    assert_eq!(found["per_channel"]["blocks"].as_array().unwrap().len(), 3);
    let max = |which: &str| found["check"][which]["max"].as_f64().unwrap();
    assert_eq!(found["check"]["images"].as_u64(), Some(5));
    assert!(max("nullspace") < 1e-4 && max("permuted") > 1e-2, "{found}");
    let noise = read(&out, "noise");
    assert_eq!((noise.dims(), read(&out, "basis").dims()), (&[3, 3, 32, 32][..], &[192, 96][..]));
    let largest = noise.to_f64().into_iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    assert!((largest - 0.2).abs() < 1e-6, "{largest}");
}

#[test]
fn attacked_images_stay_in_the_ball_and_in_the_box() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (weights, out) = (model(folder, 10), folder.join("attacked"));
    let flags = [
        "--weights",
        text(&weights),
        "--data",
        "synthetic",
        "--limit",
        "5",
        "--batch",
        "3",
        "--steps",
        "2",
        "--eps",
        "4/255",
    ];
    let found = json(&[&["attack", "--out", text(&out), "--pictures", "2", "--json"][..], &flags[..]].concat());
    let file = out.join("adversarial.safetensors");
    let names = listing(&out);
    let pictures = ["00000_attacked.png", "00000_clean.png", "00001_attacked.png", "00001_clean.png"];
    assert_eq!(names, [&pictures[..], &["adversarial.safetensors", "attack.json", "metrics.jsonl"]].concat());
    let images = read(&file, "images");
    assert_eq!(images.dims(), [5, 3, 32, 32]);
    assert!(images.to_f64().iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    let linf = found["attack"]["max_linf"].as_f64().unwrap();
    assert!(linf > 1.0 / 255.0 && linf <= 4.0 / 255.0 + 1e-6, "{linf}");
    let (labels, predictions) = (read(&file, "labels").to_f64(), read(&file, "predictions").to_f64());
    let success: Vec<f64> = labels.iter().zip(&predictions).map(|(a, b)| f64::from(u8::from(a != b))).collect();
    assert_eq!(read(&file, "success").to_f64(), success);
    assert_eq!(read(&file, "indices").to_f64(), [0.0, 1.0, 2.0, 3.0, 4.0]);

    // What was written is what the model sees: predicting the file gives the predictions in it.
    let logits = folder.join("logits.safetensors");
    run_ok(&["predict", "--weights", text(&weights), "--input", text(&file), "--output", text(&logits)]);
    let logits = read(&logits, "logits").to_f64();
    let best = |row: &[f64]| (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    let again: Vec<f64> = logits.chunks(10).map(|row| f64::from(u8::try_from(best(row)).unwrap())).collect();
    assert_eq!(again, predictions);
    let evaluated = json(&[&["eval", "--attack", "pgd", "--json"][..], &flags[..]].concat());
    assert_eq!(evaluated["attacks"][0]["correct"], found["attack"]["correct"]);
}

#[test]
fn images_of_a_file_may_be_any_number() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = model(folder, 10);
    let input = batch(folder, "images.safetensors", 7, |_| ());
    let logits = |batch: &str| {
        let output = folder.join(format!("logits{batch}"));
        run_ok(&[
            "predict",
            "--weights",
            text(&weights),
            "--input",
            text(&input),
            "--output",
            text(&output),
            "--batch",
            batch,
        ]);
        read(&output, "logits")
    };
    let (one, three, seven) = (logits("1"), logits("3"), logits("7"));
    assert_eq!(one.dims(), [7, 10]);
    assert!(nmse(&one.to_f64(), &seven.to_f64()) < 1e-11 && nmse(&three.to_f64(), &seven.to_f64()) < 1e-11);
}

#[test]
fn the_real_mnist_model_gives_its_published_logits_and_accuracy() {
    let (Some(weights), Some(published), Some(mnist)) =
        (real_data("vit-mnist/model.safetensors"), real_data("vit-mnist/test_logits.npy"), real_data("mnist"))
    else {
        return;
    };
    const COUNT: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let data = vitrum_train::data::open(text(&mnist), vitrum_train::data::Split::Test, &Default::default()).unwrap();
    let mut pixels = vec![0.0; COUNT * 784];
    for (index, image) in pixels.chunks_mut(784).enumerate() {
        data.image_f32(index, image).unwrap();
    }
    let images = Tensor::new(&[COUNT, 1, 28, 28], &pixels).unwrap();
    let input = write(&folder.path().join("digits.safetensors"), &vec![("images".into(), images)]);
    let output = folder.path().join("logits.safetensors");
    let flags = ["--weights", text(&weights), "--heads", "4", "--activation", "relu", "--normalize", "0.1307/0.3081"];
    run_ok(&[&["predict", "--input", text(&input), "--output", text(&output)][..], &flags[..]].concat());
    // NumPy's format, version 1: a header of 128 bytes, then f32 [10000, 10].
    let bytes = std::fs::read(published).unwrap();
    assert_eq!((&bytes[..8], bytes.len()), (&b"\x93NUMPY\x01\0"[..], 128 + 400_000));
    let values = bytes[128..128 + COUNT * 40].as_chunks::<4>().0;
    let expected: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
    let logits = read(&output, "logits");
    let error = logits.values::<f32>().unwrap().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(error < 1e-3, "{error}");

    let limit = COUNT.to_string();
    let found = json(&[&["eval", "--data", text(&mnist), "--limit", &limit, "--json"][..], &flags[..]].concat());
    let right = |(row, index): (&[f32], usize)| {
        let best = (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        best == usize::try_from(data.label(index).unwrap()).unwrap()
    };
    let correct = expected.chunks(10).zip(0..).filter(|&pair| right(pair)).count();
    assert_eq!(
        (found["clean"]["correct"].as_u64(), found["clean"]["total"].as_u64()),
        (Some(correct as u64), Some(200))
    );
}

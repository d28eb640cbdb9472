//! Bad input: status 2, a message that names what is wrong, and nothing written.

use std::path::Path;

use engine::Tensor;
use models::init;

use crate::common::{Named, batch, config, listing, model, run, text, write};

/// Runs `args` in which nothing may be written to `folder`; the message must contain every one of `parts`.
fn refused(folder: &Path, args: &[&str], parts: &[&str]) {
    let before = listing(folder);
    let (status, message) = run(args);
    let command = args.join(" ");
    assert_eq!(status, 2, "{command}: {message}");
    for part in parts {
        assert!(message.contains(part), "{command}: no {part:?} in: {message}");
    }
    assert!(!message.contains("panicked"), "{command}: {message}");
    assert_eq!(listing(folder), before, "{command} left something");
}

#[test]
fn damaged_weights_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let good = std::fs::read(model(folder, 10)).unwrap();
    let input = batch(folder, "images.safetensors", 1, |_| ());
    let output = folder.join("logits.safetensors");
    let files: [(&str, Vec<u8>, &str); 5] = [
        ("truncated_header", good[..100].to_vec(), "truncated"),
        ("truncated_data", good[..good.len() - 4].to_vec(), "truncated"),
        ("oversized_header", [&u64::MAX.to_le_bytes(), &good[8..]].concat(), "header"),
        ("overlong", [good.as_slice(), &[0; 4]].concat(), "overlong"),
        ("zip", [b"PK\x03\x04".as_slice(), &good[4..]].concat(), "zip archive"),
    ];
    for (name, bytes, part) in files {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        let args = ["predict", "--weights", text(&path), "--input", text(&input), "--output", text(&output)];
        refused(folder, &args, &[name, part]);
    }
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut tensors: Named = init::init(&config(10), 1).unwrap();
    let (_, spoiled) = tensors.iter_mut().find(|(name, _)| name == "blocks.0.mlp.fc1.weight").unwrap();
    spoiled.values_mut::<f32>().unwrap()[7] = f32::NAN;
    let path = write(&folder.join("nan.safetensors"), &tensors);
    let output = folder.join("out.safetensors");
    let args = ["convert", "--weights", text(&path), "--heads", "2", "--output", text(&output)];
    refused(folder, &args, &["nan.safetensors", "blocks.0.mlp.fc1.weight", "NaN", "element 7"]);
}

#[test]
fn damaged_data_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = model(folder, 10);
    type Files<'a> = &'a [(&'a str, Vec<u8>)];
    let cases: [(&str, Files, &[&str]); 3] = [
        ("short_cifar", &[("test_batch.bin", vec![1; 3073 + 100])], &["test_batch.bin"]),
        ("bad_label", &[("test_batch.bin", vec![77; 10_000 * 3073])], &["test_batch.bin", "77"]),
        (
            "wrong_magic",
            &[
                ("t10k-images-idx3-ubyte", vec![9; 16 + 784]),
                ("t10k-labels-idx1-ubyte", [&[0, 0, 8, 1, 0, 0, 0, 1, 5][..]].concat()),
            ],
            &["t10k-images-idx3-ubyte"],
        ),
    ];
    for (name, files, parts) in cases {
        let data = folder.join(name);
        std::fs::create_dir(&data).unwrap();
        for (file, bytes) in files {
            std::fs::write(data.join(file), bytes).unwrap();
        }
        refused(folder, &["eval", "--weights", text(&weights), "--data", text(&data)], parts);
    }
    refused(folder, &["eval", "--weights", text(&weights), "--data", "nowhere"], &["nowhere", "synthetic"]);
}

#[test]
fn a_head_that_does_not_fit_the_data_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = model(folder, 5);
    let args = ["eval", "--weights", text(&weights), "--data", "synthetic", "--limit", "4"];
    refused(folder, &args, &["5 classes", "10 classes", "synthetic"]);
}

#[test]
fn bad_images_and_labels_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = model(folder, 10);
    let output = folder.join("out.safetensors");
    let at = 3 * 32 * 32 + 1024 + 5 * 32 + 6; // image 1, channel 1, row 5, column 6
    let cases = [("large", 1.5_f32, "1.5"), ("negative", -0.25, "-0.25"), ("nan", f32::NAN, "NaN")];
    for (name, value, part) in cases {
        let input = batch(folder, name, 2, |pixels| pixels[at] = value);
        for command in ["predict", "gradients"] {
            let args = [command, "--weights", text(&weights), "--input", text(&input), "--output", text(&output)];
            refused(folder, &args, &[name, "[1, 1, 5, 6]", part]);
        }
    }
    let tensors: [(&str, Tensor, Tensor, &str); 3] = [
        (
            "small",
            Tensor::from_fn(&[2, 3, 16, 16], |_| 0.5_f32).unwrap(),
            Tensor::new(&[2], &[0, 1]).unwrap(),
            "[2, 3, 16, 16]",
        ),
        ("class", Tensor::from_fn(&[2, 3, 32, 32], |_| 0.5_f32).unwrap(), Tensor::new(&[2], &[0, 10]).unwrap(), "10"),
        ("bytes", Tensor::from_fn(&[2, 3, 32, 32], |_| 5_u8).unwrap(), Tensor::new(&[2], &[0, 1]).unwrap(), "255"),
    ];
    for (name, images, labels, part) in tensors {
        let input = write(&folder.join(name), &vec![("images".into(), images), ("labels".into(), labels)]);
        let args = ["gradients", "--weights", text(&weights), "--input", text(&input), "--output", text(&output)];
        refused(folder, &args, &[name, part]);
    }
}

#[test]
fn bad_flags_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = model(folder, 10);
    let weights = text(&weights);
    let eval = |more: &[&'static str]| {
        let mut args = vec!["eval", "--weights", weights, "--data", "synthetic", "--attack", "pgd"];
        args.extend_from_slice(more);
        args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>()
    };
    let cases: [(Vec<String>, &[&str]); 8] = [
        (eval(&["--eps", "8"]), &["--eps", "did you mean 8/255?"]),
        (eval(&["--eps", "NaN"]), &["--eps", "finite"]),
        (eval(&["--alpha=-2/255"]), &["--alpha", "negative"]),
        (eval(&["--batch", "0"]), &["--batch", "0"]),
        (eval(&["--steps", "0"]), &["steps"]),
        (eval(&["--threads", "0"]), &["--threads"]),
        (eval(&["--limit", "0"]), &["limit"]),
        (eval(&["--no-such-flag"]), &["--no-such-flag"]),
    ];
    for (args, parts) in cases {
        refused(folder, &args.iter().map(String::as_str).collect::<Vec<_>>(), parts);
    }
    refused(folder, &["plan", "--model", "vit_tiny_patch16_225"], &["vit_tiny_patch16_225", "vit_tiny_patch16_224"]);
    refused(folder, &["plan"], &["--model"]);
    refused(folder, &["eval", "--data", "synthetic"], &["--weights"]);
    refused(folder, &["nullspace", "--weights", weights, "--linf=-1"], &["--linf"]);
    let normalize = ["eval", "--weights", weights, "--data", "synthetic", "--normalize", "0.5/0"];
    refused(folder, &normalize, &["normalize", "0.5/0"]);
}

#[test]
fn outputs_that_can_not_be_written_are_found_first() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = model(folder, 10);
    let input = batch(folder, "images.safetensors", 1, |_| ());
    let missing = folder.join("missing/out.safetensors");
    for output in [&missing, &folder.to_path_buf(), &input, &weights] {
        let before = (std::fs::read(&input).unwrap(), std::fs::read(&weights).unwrap());
        let args = ["predict", "--weights", text(&weights), "--input", text(&input), "--output", text(output)];
        refused(folder, &args, &[text(output)]);
        assert_eq!(before, (std::fs::read(&input).unwrap(), std::fs::read(&weights).unwrap()));
    }
    // The weights do not exist either: the output is looked at before them.
    let args = ["convert", "--weights", "nowhere.safetensors", "--output", text(&missing)];
    refused(folder, &args, &["missing/out.safetensors"]);
    let file_as_folder =
        ["attack", "--weights", text(&weights), "--data", "synthetic", "--limit", "1", "--out", text(&input)];
    refused(folder, &file_as_folder, &["images.safetensors"]);
}

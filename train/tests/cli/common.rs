//! Running the binary, and small models for it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use engine::Tensor;
use engine::rng::{Philox, Stream};
use models::{VitConfig, init, registry, tensor_file};
use vitrum_train::report::picture::Strip;

pub type Named = Vec<(String, Tensor)>;

fn output(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitrum"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Fails where the program ends without reading: its output tells.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Exit status and standard error.
pub fn run(args: &[&str]) -> (i32, String) {
    let output = output(args, "");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Standard output of a run that must succeed.
pub fn run_ok(args: &[&str]) -> String {
    run_with_input(args, "")
}

/// As [`run_ok`], with text on standard input.
pub fn run_with_input(args: &[&str], input: &str) -> String {
    let output = output(args, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "vitrum {}: {errors}", args.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The JSON object on the last line of standard output.
pub fn json(args: &[&str]) -> serde_json::Value {
    let text = run_ok(args);
    serde_json::from_str(text.trim_end().lines().last().unwrap()).unwrap()
}

/// A ViT of 32 x 32 RGB images, patch 8, width 96 (so that the 192 columns of its patch embedding have a nullspace), one block.
pub fn config(classes: usize) -> VitConfig {
    let base = registry::lookup("vit_tiny_patch16_224").unwrap();
    VitConfig {
        image: [32, 32],
        patch: 8,
        width: 96,
        depth: 1,
        heads: 2,
        head_width: 48,
        mlp_width: 96,
        classes,
        ..base
    }
}

/// Its weights in a file.
pub fn model(folder: &Path, classes: usize) -> PathBuf {
    let path = folder.join(format!("model{classes}.safetensors"));
    models::save(&path, &config(classes), &init::init(&config(classes), 5).unwrap()).unwrap();
    path
}

/// `count` images of noise with labels below 10; `change` may spoil the pixels.
pub fn batch(folder: &Path, name: &str, count: usize, change: impl Fn(&mut Vec<f32>)) -> PathBuf {
    let philox = Philox::new(3, 0, Stream::named("images"));
    let mut pixels: Vec<f32> = (0..count * 3 * 32 * 32).map(|i| philox.uniform(0, i)).collect();
    change(&mut pixels);
    let labels: Vec<i32> = (0..count).map(|i| philox.below(1, i, 10).cast_signed()).collect();
    let tensors = vec![
        ("images".to_owned(), Tensor::new(&[count, 3, 32, 32], &pixels).unwrap()),
        ("labels".to_owned(), Tensor::new(&[count], &labels).unwrap()),
    ];
    write(&folder.join(name), &tensors)
}

pub fn write(path: &Path, tensors: &Named) -> PathBuf {
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    tensor_file::write(path, named, &Default::default()).unwrap();
    path.to_path_buf()
}

pub fn read(path: &Path, name: &str) -> Tensor {
    tensor_file::TensorFile::open(path).unwrap().read(name).unwrap()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Names of what lies in a folder, sorted.
pub fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Result file `name` of a folder, and the page that `vitrum report` makes of the folder.
pub fn result(folder: &Path, name: &str) -> (serde_json::Value, String) {
    let written = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let page = folder.with_extension("html");
    run_ok(&["report", "--in", text(folder), "--out", text(&page)]);
    (serde_json::from_str(&written).unwrap(), std::fs::read_to_string(&page).unwrap())
}

/// Value of a measure in a result file.
pub fn measured(result: &serde_json::Value, name: &str, on: &str) -> f64 {
    let measures = result["measures"].as_array().unwrap();
    let found = measures.iter().find(|measure| measure["name"] == name && measure["on"] == on);
    found.ok_or_else(|| format!("no {name} on {on}: {result}")).unwrap()["value"].as_f64().unwrap()
}

/// Makes a page of a folder's results, which must hold a picture of the folder and some words.
pub fn shown(folder: &Path, picture: &str, words: &str) {
    let page = folder.with_extension("html");
    run_ok(&["report", "--in", text(folder), "--out", text(&page)]);
    let html = std::fs::read_to_string(&page).unwrap();
    let bytes = std::fs::read(folder.join(picture)).unwrap();
    let url = Strip::new("").file(&bytes, "").unwrap().pictures.remove(0).url;
    assert!(html.contains(words) && html.contains(&url), "{words}, {picture}");
}

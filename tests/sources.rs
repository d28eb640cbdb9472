//! House rules that a machine can check, so that nobody has to remember them in a review.

#[path = "support/nvrtc.rs"]
mod nvrtc;
#[path = "support/wgsl.rs"]
mod wgsl;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files that may exceed [`MOST_LINES`], each with its reason. None does.
const LONG_FILES: [(&str, &str); 0] = [];
const MOST_LINES: usize = 500;

/// Files that may hold unsafe code: memory of the device, kernels compiled without bounds checks, disjoint parts for
/// threads, SIMD leaves, and tests that count allocations or break a promise on purpose.
const UNSAFE_FILES: [&str; 20] = [
    "engine/src/device/cpu.rs",
    "engine/src/device/cuda/library.rs",
    "engine/src/device/cuda/memory.rs",
    "engine/src/device/cuda/mod.rs",
    "engine/src/device/cuda/nvrtc.rs",
    "engine/src/device/cuda/recording.rs",
    "engine/src/device/cuda/tensor_map.rs",
    "engine/src/device/webgpu/kernel.rs",
    "kernels/src/attention/cpu.rs",
    "kernels/src/common/gemm/drive.rs",
    "kernels/src/common/gemm/finish.rs",
    "kernels/src/common/gemm/lanes.rs",
    "kernels/src/common/gemm/pack.rs",
    "kernels/src/common/gemm/serial.rs",
    "kernels/src/common/gemm/tile.rs",
    "kernels/src/common/parallel.rs",
    "kernels/src/common/simd.rs",
    "kernels/tests/allocations.rs",
    "tests/memory.rs",
    "train/src/main.rs",
];
/// As above, for what is compiled into several suites.
const UNSAFE_SUPPORT: [&str; 1] = ["tests/support/probes.rs"];

/// Folders of `kernels/src` that are not ops.
const NOT_OPS: [&str; 2] = ["cases", "common"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files of the repository below `folder` whose names end in `ending`, relative to the root, with their text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(ending)
                && let (Ok(text), Ok(relative)) = (std::fs::read_to_string(&path), path.strip_prefix(root()))
            {
                found.push((relative.to_string_lossy().replace('\\', "/"), text));
            }
        }
    }
    found.sort();
    found
}

fn rust() -> Vec<(String, String)> {
    let all = files("", ".rs");
    assert!(all.len() > 100, "only {} files: looked in the wrong place", all.len());
    all
}

/// Lines that are not comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

#[test]
fn files_are_short() {
    for (path, text) in rust() {
        let lines = text.lines().count();
        let excused = LONG_FILES.iter().any(|(file, _)| *file == path);
        assert!(lines <= MOST_LINES || excused, "{path} has {lines} lines: split it, or say why not in {}", file!());
    }
}

#[test]
fn unsafe_code_is_where_it_is_expected() {
    let keyword = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"];
    let mut seen = BTreeSet::new();
    for (path, text) in rust() {
        // The measuring bench of raw products is no part of the product.
        if path.starts_with("bench/lab/") {
            continue;
        }
        let quotes_itself = path == "tests/sources.rs";
        if !quotes_itself && code(&text).any(|line| keyword.iter().any(|keyword| line.contains(keyword))) {
            seen.insert(path);
        }
    }
    let allowed: BTreeSet<String> = UNSAFE_FILES.iter().chain(&UNSAFE_SUPPORT).map(|path| (*path).to_owned()).collect();
    let unexpected: Vec<_> = seen.difference(&allowed).collect();
    assert!(unexpected.is_empty(), "unsafe code in {unexpected:?}: can it be safe? else list it in {}", file!());
    let gone: Vec<_> = allowed.difference(&seen).collect();
    assert!(gone.is_empty(), "no unsafe code any more in {gone:?}: take it off the list");
}

#[test]
fn nothing_is_left_for_later() {
    let words = [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("FIX", "ME"), concat!("TO", "DO")];
    for (path, text) in rust() {
        for (number, line) in (1..).zip(text.lines()) {
            let found = words.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "{path}:{number}: {line}");
        }
    }
}

#[test]
fn no_file_knows_a_machine() {
    let paths = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    for ending in [".rs", ".toml", ".md", ".py", ".sh", ".yml"] {
        for (file, text) in files("", ending) {
            let found = paths.iter().find(|path| text.contains(**path));
            assert!(found.is_none(), "{file} names a place of one machine: {found:?}");
        }
    }
}

#[test]
fn every_op_folder_is_whole_and_registered() {
    let folders: BTreeSet<String> = std::fs::read_dir(root().join("kernels/src"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !NOT_OPS.contains(&name.as_str()))
        .collect();
    let registered: BTreeSet<String> = kernels::registry().iter().map(|op| op.name.to_owned()).collect();
    assert_eq!(folders, registered, "folders of kernels/src (left) are the ops of registry() (right)");
    for op in kernels::registry() {
        for file in ["mod.rs", "reference.rs", "cpu.rs", "cases.rs"] {
            // The activations are plain functions that the reference of linear uses too: they lie in mod.rs.
            let excused = op.name == "activation" && file == "reference.rs";
            let path = root().join("kernels/src").join(op.name).join(file);
            assert!(excused || path.is_file(), "{} lacks {file}", op.name);
        }
        // A few words, or one copy per restart: nothing that a benchmark could tell about them matters.
        let timed = !op.bench.is_empty() || ["advance", "keep_best"].contains(&op.name);
        assert!(!op.cases.is_empty() && timed, "{} lacks cases or bench sizes", op.name);
        let labels: BTreeSet<&str> = op.cases.iter().map(|case| case.label.as_str()).collect();
        assert_eq!(labels.len(), op.cases.len(), "{}: two cases have one label, so they draw the same values", op.name);
    }
}

/// Names below `[dependencies]` of a manifest.
fn dependencies(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap_or_default();
    let section = text.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn imports_run_one_way() {
    let crates = ["engine", "kernels", "models", "train", "bench", "tests"];
    let below: [(&str, &[&str]); 4] = [
        ("engine", &[]),
        ("kernels", &["engine"]),
        ("models", &["kernels", "engine"]),
        ("train", &["models", "kernels", "engine"]),
    ];
    assert!(dependencies("kernels").iter().any(|name| name == "rayon"), "manifests are read");
    for (name, allowed) in below {
        for other in crates.iter().filter(|other| **other != name && !allowed.contains(other)) {
            assert!(!dependencies(name).iter().any(|dependency| dependency == other), "{name} depends on {other}");
        }
    }
}

#[test]
fn the_engine_knows_no_op_and_the_kernels_no_model() {
    for (path, text) in files("engine/src", ".rs") {
        for name in kernels::registry().iter().map(|op| op.name).filter(|name| name.len() > 6) {
            let named =
                code(&text).any(|line| line.contains(&format!("{name}(")) || line.contains(&format!("{name}::")));
            assert!(!named, "{path} names the op {name}");
        }
    }
    for (path, text) in files("kernels/src", ".rs") {
        let named = code(&text).any(|line| line.contains("VitConfig"));
        assert!(!named || path.ends_with("cases.rs") || text.contains("#[cfg(test)]"), "{path} knows a model");
    }
}

#[test]
fn every_suite_of_this_folder_runs() {
    let manifest = std::fs::read_to_string(root().join("tests/Cargo.toml")).unwrap();
    for (path, _) in files("tests", ".rs") {
        if let Some(name) = path.strip_prefix("tests/").filter(|name| !name.contains('/')) {
            assert!(manifest.contains(&format!("path = \"{name}\"")), "{path} is no [[test]] of tests/Cargo.toml");
        }
    }
}

#[test]
fn every_wgsl_file_is_valid_within_webgpus_baseline_limits() {
    let library = files("kernels/src/common/wgsl", ".wgsl");
    let find = |name: &str| {
        let path = format!("kernels/src/common/wgsl/{name}");
        library.iter().find(|(other, _)| *other == path).map(|(_, text)| text.as_str())
    };
    let kernels = files("kernels/src", ".wgsl").into_iter().chain(files("engine/src", ".wgsl"));
    let mut entries = 0;
    for (path, text) in kernels.filter(|(path, _)| !path.contains("/common/wgsl/")) {
        assert!(text.starts_with("//"), "{path} does not say what it computes in its first line");
        match wgsl::check(&path, &text, &find) {
            Ok(found) => entries += found,
            Err(problem) => panic!("{problem}"),
        }
    }
    assert!(entries > 10, "only {entries} entry points: looked in the wrong place");
}

#[test]
fn the_check_of_wgsl_finds_what_it_looks_for() {
    let head = "@group(0) @binding(1) var<storage, read_write> x: array<f32>;\n";
    let find = |_: &str| None;
    let check = |text: &str| wgsl::check("test.wgsl", text, &find).map_err(|problem| problem.to_string());
    let kernel = |size: &str, body: &str| format!("{head}@compute @workgroup_size({size}) fn main() {{ {body} }}");
    assert_eq!(check(&kernel("64", "x[0] = 1.0;")), Ok(1));
    assert!(check(&kernel("512", "x[0] = 1.0;")).unwrap_err().contains("512 invocations"));
    assert!(check(&kernel("64", "x[0] = 1u;")).unwrap_err().contains("test.wgsl:2"));
    let memory = "var<workgroup> m: array<f32, 4097>;\n".to_owned() + &kernel("64", "m[0] = 1.0; x[0] = m[0];");
    assert!(check(&memory).unwrap_err().contains("16388 bytes"));
    let many: String =
        (2..10).map(|at| format!("@group(0) @binding({at}) var<storage, read_write> x{at}: array<f32>;\n")).collect();
    let sum: String = (2..10).map(|at| format!("x[0] = x[0] + x{at}[0];")).collect();
    assert!(check(&(many + &kernel("64", &sum))).unwrap_err().contains("9 storage buffers"));
    assert!(check(&kernel("64", "x[0] = subgroupAdd(x[0]);")).is_err(), "subgroups are not in the baseline");
    assert!(wgsl::check("a.subgroup.wgsl", &kernel("64", "x[0] = subgroupAdd(x[0]);"), &find).is_ok());
}

/// Registers / bytes of shared memory of every CUDA kernel: f32, then bf16 where it takes that, each on sm_80, sm_90a and sm_100.
const RESOURCES: &str = "tests/snapshots/cuda_resources.txt";

/// Instructions that a kernel for tensor cores must have, read from its machine code.
const INSTRUCTIONS: &str = "tests/snapshots/cuda_instructions.txt";

#[test]
fn every_cuda_kernel_compiles_without_spills_and_takes_what_it_took() {
    if std::env::var_os("VITRUM_CUDA_LIBRARY_PATH").is_none() {
        vitrum_tests::skipped(
            "CUDA kernels under the real NVRTC: VITRUM_CUDA_LIBRARY_PATH is not set; tests/run installs it",
        );
        return;
    }
    let kernels: Vec<_> =
        ["kernels/src", "engine/src", "bench/lab"].iter().flat_map(|folder| files(folder, ".cu")).collect();
    assert!(kernels.len() > 30, "only {} CUDA sources: looked in the wrong place", kernels.len());
    for (path, text) in &kernels {
        assert!(text.starts_with("//"), "{path} does not say what it computes in its first line");
    }
    let found = nvrtc::table(&kernels, &files("kernels/src/common", ".cuh")).unwrap();
    let head = "# Registers/bytes of shared memory of every CUDA kernel, by NVRTC 13.0: f32 on sm_80, sm_90a, sm_100, then bf16 (where it takes that).\n\
                # What includes ptx90.cuh is for bf16 on sm_90a alone.\n\
                # After a change that is meant: VITRUM_UPDATE_SNAPSHOTS=1 tests/run -p vitrum-tests --test sources\n";
    compare(RESOURCES, head, &found.resources);
    if nvrtc::disassembler().is_none() {
        vitrum_tests::skipped("instructions of CUDA kernels: there is no nvdisasm beside NVRTC; tests/run installs it");
        return;
    }
    let head = "# Instructions of tensor cores and asynchronous copies in the machine code of CUDA kernels that have any, as in cuda_resources.txt.\n";
    compare(INSTRUCTIONS, head, &found.instructions);
    let hopper = found.instructions.iter().filter(|line| line.contains("HGMMA") && line.contains("UTMALDG"));
    assert!(hopper.count() >= 3, "products for sm_90a without its tensor cores");
}

/// Compares lines with a committed file, or writes it where the environment asks for that.
fn compare(file: &str, head: &str, found: &[String]) {
    let path = root().join(file);
    if std::env::var_os("VITRUM_UPDATE_SNAPSHOTS").is_some() {
        let written = std::fs::write(&path, format!("{head}{}\n", found.join("\n")));
        assert!(written.is_ok(), "{file}: {written:?}");
    }
    let difference = nvrtc::difference(&std::fs::read_to_string(&path).unwrap_or_default(), found);
    assert!(difference.is_empty(), "{file} says otherwise (- there, + here):\n{difference}");
}

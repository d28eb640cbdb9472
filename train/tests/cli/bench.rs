//! `vitrum bench --suite`: its list, its lines, its refusals.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{json, run, run_ok, run_with_input, text};
use crate::cuda::{on_emulator, on_emulator_of, run_on_emulator};

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The machine first, then a measurement each, with everything that a reader needs.
fn check_lines(lines: &[Value], names: &[&str], dtype: &str) {
    let (machine, rows) = lines.split_first().unwrap();
    for key in ["machine", "commit", "command", "ceilings", "vitrum", "flush_bytes", "nvidia_smi", "cuda"] {
        assert!(machine.get(key).is_some(), "{key}: {machine}");
    }
    assert!(machine["ceilings"]["copy_gbs"].as_f64().unwrap() > 0.0, "{machine}");
    assert_eq!(rows.iter().map(|row| row["bench"].as_str().unwrap()).collect::<Vec<_>>(), names);
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| unreachable!("{key}: {row}"));
        assert!(number("min_ms") > 0.0 && number("min_ms") <= number("p20_ms"), "{row}");
        assert!(number("p20_ms") <= number("median_ms") && number("median_ms") <= number("p80_ms"), "{row}");
        assert!(number("bytes") > 0.0 && number("gbs") > 0.0 && number("percent_of_roofline") > 0.0, "{row}");
        assert!(number("reps") >= 5.0 && row["tiny"] == true && row["dtype"] == dtype, "{row}");
    }
}

#[test]
fn the_list_has_every_shape_once_and_needs_no_device() {
    let list = json(&["bench", "--list", "--json", "--device", "cuda", "--bf16"]);
    assert_eq!((list["dtype"].as_str(), &list["tiny"]), (Some("bf16"), &Value::Bool(false)));
    let benches = list["benches"].as_array().unwrap();
    let find = |name: &str| benches.iter().find(|bench| bench["name"] == name).unwrap();
    let product = find("gemm_vit_b_fc1_dw");
    assert_eq!(
        (product["m"].as_u64(), product["n"].as_u64(), product["k"].as_u64()),
        (Some(50432), Some(3072), Some(768))
    );
    assert_eq!((product["op"].as_str(), product["pass"].as_str()), (Some("linear"), Some("dw")));
    let attention = find("attention_b256_h12_n197_d64_backward");
    assert_eq!((attention["tokens"].as_u64(), attention["group"].as_str()), (Some(197), Some("attention")));
    assert_eq!(find("deit_ti_65_pgd10_b128")["model"]["width"].as_u64(), Some(192));
}

#[test]
fn measurements_are_written_compared_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (before, after, svg) = (path("before.jsonl"), path("after.jsonl"), path("roofline.svg"));
    let suite = ["bench", "--suite", "--tiny", "--time", "0", "--filter", "cross_entropy", "--json"];
    let names = ["cross_entropy_b1024_forward", "cross_entropy_b1024_backward"];
    json(&[&suite[..], &["--out", text(&before)]].concat());
    check_lines(&lines(&before), &names, "f32");
    let files = ["--out", text(&after), "--svg", text(&svg), "--baseline", text(&before)];
    let printed = json(&[&suite[..], &files].concat());
    assert_eq!(printed["benches"].as_array().unwrap().as_slice(), &lines(&after)[1..]);
    for (old, new) in lines(&before).iter().zip(&lines(&after)).skip(1) {
        let ratio = new["median_ms"].as_f64().unwrap() / old["median_ms"].as_f64().unwrap();
        assert!((new["baseline_ratio"].as_f64().unwrap() / ratio - 1.0).abs() < 1e-9);
    }
    assert!(std::fs::read_to_string(&svg).unwrap().contains(names[0]));
    // A second run takes the first one's place.
    json(&[&suite[..], &["--out", text(&after)]].concat());
    assert_eq!(lines(&after).len(), 3);
}

#[test]
fn names_from_standard_input_are_answered_line_by_line() {
    let text = run_with_input(
        &["bench", "--suite", "--tiny", "--once", "--time", "0"],
        "adamw_vit_b\n\nadamw_vit_b\nno_such_bench\nceilings\n",
    );
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 4);
    assert!(answers[..2].iter().all(|answer| answer["bench"] == "adamw_vit_b" && answer["peer"] == "vitrum"));
    assert!(answers[2]["error"].as_str().unwrap().contains("no bench"));
    assert!(answers[3]["ceilings"]["multiply_gflops"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_profile_names_the_operations_of_a_step() {
    let text = run_ok(&["bench", "--suite", "--tiny", "--profile", "--time", "0", "--filter", "vit_s16_train"]);
    for part in ["vit_s16_train_b512", "attention", "Backward", "adamw", "% of roofline"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_can_not_be_measured_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.jsonl");
    std::fs::write(&broken, "{\"bench\":\"adamw_vit_b\",\"median_ms\":1}\n{\"ben").unwrap();
    for (args, problem) in [
        (&["--suite", "--filter", "no_such_bench"][..], "--list"),
        (&["--suite", "--tiny", "--filter", "sgd", "--baseline", text(&broken)], "broken.jsonl:2"),
        (&["--suite", "--tiny", "--filter", "sgd", "--out", "no/such/folder/x"], "no/such/folder"),
        (&["--hot"], "--suite"),
        (&["--once"], "--suite"),
    ] {
        let (status, errors) = run(&[&["bench"], args].concat());
        assert_eq!(status, 2, "{args:?}");
        assert!(errors.contains(problem), "{args:?}: {errors}");
    }
}

#[test]
fn the_emulator_measures_with_a_flushed_cache_and_in_bf16() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emulator.jsonl");
    let flags = ["bench", "--suite", "--tiny", "--device", "cuda", "--bf16", "--time", "0", "--json"];
    let more = ["--filter", "vit_b_fc1", "--out", text(&path)];
    if on_emulator(&[&flags[..], &more].concat()).is_none() {
        return;
    }
    let passes = ["gemm_vit_b_fc1_forward", "gemm_vit_b_fc1_dx", "gemm_vit_b_fc1_dw"];
    let names = [&passes[..], &["epilogue_vit_b_fc1_gelu_forward", "epilogue_vit_b_fc1_gelu_backward"]];
    let names = [names[0], names[1], &["scale_vit_b_fc1"]].concat();
    let lines = lines(&path);
    check_lines(&lines, &names, "bf16");
    let machine = &lines[0];
    assert_eq!(machine["flush_bytes"].as_u64().unwrap(), 2 * machine["cuda"]["cache"].as_u64().unwrap());
    assert!(machine["ceilings"]["gemm_gflops"].as_f64().unwrap() > 0.0);
}

fn lab(op: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/lab").join(op)
}

#[test]
fn every_version_of_the_laboratory_is_right() {
    for folder in ["gemm", "attention"].map(lab) {
        let flags = ["bench", "--lab", text(&folder), "--tiny", "--device", "cuda", "--time", "0", "--json"];
        for (capability, more) in [(80, &[][..]), (80, &["--bf16"]), (90, &["--bf16"])] {
            let Some(found) = on_emulator_of(capability, &[&flags[..], more].concat()) else { return };
            let versions = found["versions"].as_array().unwrap();
            assert_eq!(versions.last().unwrap()["version"], "shipped");
            let later = |check: &str| check.starts_with("not run") && capability == 80;
            assert!(
                versions
                    .iter()
                    .all(|version| version["check"] == "right" || version["check"].as_str().is_some_and(later)),
                "{found}"
            );
            let timed = versions.iter().filter(|version| version["check"] == "right");
            assert!(timed.clone().count() >= 3, "{found}");
            for version in timed {
                assert!(version["times"][0]["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{version}");
            }
        }
    }
}

#[test]
fn a_wrong_version_is_told_from_a_right_one() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("gemm");
    std::fs::create_dir(&folder).unwrap();
    let right = std::fs::read_to_string(lab("gemm").join("01_naive.cu")).unwrap();
    let versions = [
        ("1_right.cu", right.clone()),
        // On the shape that is timed: there the right version's result lies in the output.
        ("2_unwritten.cu", right.replace("row >= m", "m == 128 || row >= m")),
        ("3_tail.cu", right.replace("i < k;", "i < k / 8 * 8 - 8;")),
        ("4_broken.cu", right.replace("float sum", "float no sum")),
        ("5_later.cu", right.replace("threads 256", "threads 256, capability 120")),
        ("6_narrow.cu", right.replace("threads 256", "threads 256, bf16")),
    ];
    for (name, text) in versions {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let flags = ["bench", "--lab", text(&folder), "--tiny", "--device", "cuda", "--time", "0", "--json"];
    if on_emulator(&["devices", "--json"]).is_none() {
        return;
    }
    let (status, found, errors) = run_on_emulator(80, &flags);
    assert_eq!(status, Some(2), "{errors}");
    let checks = ["right", "WRONG", "WRONG", "FAILED", "not run: it needs sm_120", "not run: it needs --bf16", "right"];
    for (at, check) in checks.into_iter().enumerate() {
        assert!(found["versions"][at]["check"].as_str().unwrap().starts_with(check), "{at}: {found}");
    }
    assert!(errors.contains("4_broken.cu"), "the compiler's message is shown: {errors}");
}

#[test]
fn a_laboratory_needs_cuda_and_kernels_that_say_how_they_are_launched() {
    let (status, errors) = run(&["bench", "--lab", text(&lab("gemm"))]);
    assert_eq!((status, errors.contains("--device cuda")), (2, true), "{errors}");
}

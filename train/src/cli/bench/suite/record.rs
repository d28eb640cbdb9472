//! What the suite writes and reads again: JSON lines, first one about the machine.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use engine::device::cuda;
use engine::{Device, Error, Result, Work};
use serde::Serialize;
use serde_json::Value;

use super::shapes::Bench;
use crate::cli::bench::samples::Samples;

/// What the device reaches at most, measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ceilings {
    /// Bytes per second, read and written, of large copies, in 1e9.
    pub copy_gbs: f64,
    /// f32 multiply-adds in registers, in 1e9 FLOP per second.
    pub multiply_gflops: f64,
    /// The product of 8192^3 in the suite's type, ours.
    pub gemm_gflops: Option<f64>,
    /// The same by the vendor's library, from the file of a peer.
    pub library_gflops: Option<f64>,
}

impl Ceilings {
    /// The highest rate of arithmetic that was seen, in 1e9 FLOP per second.
    pub fn gflops(&self) -> f64 {
        [self.gemm_gflops, self.library_gflops].into_iter().flatten().fold(self.multiply_gflops, f64::max)
    }

    /// Seconds that launches of so much work take at least.
    pub fn seconds(&self, works: &[Work]) -> f64 {
        let (flops, bytes) = (1e9 * self.gflops(), 1e9 * self.copy_gbs);
        works.iter().map(|work| (count(work.flops) / flops).max(count(work.bytes) / bytes)).sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of work, for rates")]
pub fn count(work: u64) -> f64 {
    work as f64
}

/// One bench, measured: a line of the file, and an answer of `--once`.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    pub bench: String,
    pub group: &'static str,
    pub peer: &'static str,
    pub dtype: String,
    pub median_ms: f64,
    pub p20_ms: f64,
    pub p80_ms: f64,
    pub min_ms: f64,
    pub reps: usize,
    /// Whether the caches kept what the repetition before left in them.
    pub hot: bool,
    pub tiny: bool,
    /// Counted work of the launches that were timed.
    pub flops: f64,
    pub bytes: f64,
    pub gflops: f64,
    pub gbs: f64,
    /// Time that the ceilings allow over the measured time; `None` where they were not measured.
    pub percent_of_roofline: Option<f64>,
    /// Measured time over that of the baseline file.
    pub baseline_ratio: Option<f64>,
    /// Launches that take general kernels, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How a record was made.
#[derive(Clone, Copy)]
pub struct How<'a> {
    pub device: &'a Device,
    pub hot: bool,
    pub tiny: bool,
}

impl Record {
    pub fn new(bench: &Bench, how: How, samples: &Samples, works: &[Work], notes: Vec<String>) -> Self {
        let sum: Work = works.iter().copied().sum();
        let (flops, bytes) = (count(sum.flops), count(sum.bytes));
        let seconds = samples.quantile(0.5);
        let milliseconds = |q| 1e3 * samples.quantile(q);
        Self {
            bench: bench.name.clone(),
            group: bench.group,
            peer: "vitrum",
            dtype: how.device.storage().to_string(),
            median_ms: milliseconds(0.5),
            p20_ms: milliseconds(0.2),
            p80_ms: milliseconds(0.8),
            min_ms: milliseconds(0.0),
            reps: samples.reps(),
            hot: how.hot,
            tiny: how.tiny,
            flops,
            bytes,
            gflops: flops / seconds / 1e9,
            gbs: bytes / seconds / 1e9,
            percent_of_roofline: None,
            baseline_ratio: None,
            notes,
        }
    }
}

/// What figures depend on: device, driver, compiler, clocks, commit, command.
pub fn machine(device: &Device, flush: Option<usize>) -> Value {
    let cuda = match device {
        Device::Cuda(gpu) => {
            let cuda::Report { name, driver: (major, minor), caps, memory, cache } = gpu.report();
            serde_json::json!({
                "name": name,
                "driver": format!("CUDA {major}.{minor}"),
                "nvrtc": cuda::compiler().ok().map(|(major, minor)| format!("{major}.{minor}")),
                "compute_capability": caps.capability,
                "multiprocessors": caps.processors,
                "memory": memory,
                "cache": cache,
            })
        }
        Device::Cpu(_) | Device::Wgpu(_) => Value::Null,
    };
    const QUERY: &str = "--query-gpu=driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu";
    let clocks = said_by("nvidia-smi", &[QUERY, "--format=csv"]);
    // A bundle for machines without Rust is no repository.
    let described = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"];
    let commit = std::fs::read_to_string("COMMIT").ok().or_else(|| said_by("git", &described));
    serde_json::json!({
        "machine": device.description(),
        "threads": device.threads(),
        "cuda": cuda,
        "nvidia_smi": if cuda.is_null() { None } else { clocks },
        "flush_bytes": flush,
        "vitrum": env!("CARGO_PKG_VERSION"),
        "commit": commit.map(|commit| commit.trim().to_owned()),
        // Without the program's path.
        "command": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
    })
}

/// What a program prints, where it is there and succeeds.
fn said_by(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then_some(text)
}

/// Medians in ms of an earlier file, by bench. Peers' lines in it don't count.
///
/// # Errors
/// The file can't be read, a line is no JSON, or there is no measurement in it.
pub fn baseline(path: &Path) -> Result<HashMap<String, f64>> {
    let ours = |line: &Value| line.get("peer").is_none_or(|peer| peer == "vitrum");
    let mut medians = HashMap::new();
    for (number, line) in lines(path)? {
        let Some(bench) = line.get("bench").and_then(Value::as_str).filter(|_| ours(&line)) else { continue };
        let median = line.get("median_ms").and_then(Value::as_f64).filter(|median| *median > 0.0).ok_or_else(|| {
            Error::new("--baseline", "a measurement without median_ms").with("at", place(path, number))
        })?;
        medians.insert(bench.to_owned(), median);
    }
    if medians.is_empty() {
        return Err(Error::new("--baseline", "the file has no measurement of ours")
            .with("file", path.display())
            .help("it is what `vitrum bench --suite --out FILE` writes"));
    }
    Ok(medians)
}

/// The highest rate of 8192^3 that a library reached in a file of a peer, in 1e9 FLOP per second.
///
/// # Errors
/// The file can't be read, or has no such measurement.
pub fn library_gflops(path: &Path) -> Result<f64> {
    let rate = |line: &Value| {
        let is_it = line.get("bench")? == "gemm_8192" && line.get("peer")? != "vitrum";
        line.get("gflops").and_then(Value::as_f64).filter(|_| is_it)
    };
    lines(path)?.iter().filter_map(|(_, line)| rate(line)).reduce(f64::max).ok_or_else(|| {
        Error::new("--peers", "the file has no gemm_8192 with gflops by a peer")
            .with("file", path.display())
            .help("bench/peers/compare_gpu.py writes it")
    })
}

/// The JSON objects of a file, with the numbers of their lines.
fn lines(path: &Path) -> Result<Vec<(usize, Value)>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read", &error))?;
    let object = |(number, line): (usize, &str)| match serde_json::from_str::<Value>(line) {
        Ok(value) if value.is_object() => Ok((number, value)),
        Ok(_) => Err(Error::new(place(path, number), "the line is no JSON object")),
        Err(error) => Err(Error::new(place(path, number), format!("the line is no JSON: {error}"))
            .help("one object per line; a run that was cut off leaves half a line at the end: remove it")),
    };
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).map(object).collect()
}

fn place(path: &Path, line: usize) -> String {
    format!("{}:{line}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("before.jsonl");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_baseline_is_our_last_median_of_each_bench() {
        let (_folder, path) = file(concat!(
            "{\"machine\":\"x\"}\n",
            "{\"bench\":\"a\",\"peer\":\"vitrum\",\"median_ms\":3.0}\n\n",
            "{\"bench\":\"a\",\"peer\":\"torch\",\"median_ms\":9.0}\n",
            "{\"bench\":\"a\",\"peer\":\"vitrum\",\"median_ms\":2.0}\n",
        ));
        assert_eq!(baseline(&path).unwrap(), HashMap::from([("a".to_owned(), 2.0)]));
    }

    #[test]
    fn broken_files_are_refused_by_line() {
        for (text, problem) in [
            ("", "no measurement"),
            ("{\"machine\":1}\n{\"bench\"", "before.jsonl:2"),
            ("[1]", "no JSON object"),
            ("{\"bench\":\"a\",\"median_ms\":\"fast\"}", "without median_ms"),
            ("{\"bench\":\"a\",\"median_ms\":0}", "before.jsonl:1"),
        ] {
            let (_folder, path) = file(text);
            let error = baseline(&path).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert!(baseline(Path::new("no/such/file")).unwrap_err().to_string().contains("no/such/file"));
    }

    #[test]
    fn a_librarys_rate_is_the_highest_of_its_variants() {
        let line =
            |peer: &str, rate: u32| format!("{{\"bench\":\"gemm_8192\",\"peer\":\"{peer}\",\"gflops\":{rate}}}\n");
        let (_folder, path) = file(&(line("torch", 700) + &line("vitrum", 900) + &line("torch", 760)));
        assert_eq!(library_gflops(&path).unwrap(), 760.0);
        let (_folder, path) = file(&line("vitrum", 900));
        assert!(library_gflops(&path).is_err());
    }

    #[test]
    fn each_launch_has_the_time_of_its_tighter_ceiling() {
        let ceilings = Ceilings { copy_gbs: 2.0, multiply_gflops: 1.0, gemm_gflops: Some(4.0), library_gflops: None };
        let works = [Work { flops: 8_000_000_000, bytes: 1 }, Work { flops: 0, bytes: 6_000_000_000 }];
        assert_eq!(ceilings.seconds(&works), 2.0 + 3.0);
    }
}

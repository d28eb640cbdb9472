//! `vitrum bench --suite`: the rows of the table of goals, each beside what the device allows.
//!
//! | file | what |
//! |---|---|
//! | `shapes.rs` | names and shapes: what is measured |
//! | `noise.rs` | random inputs |
//! | `build.rs`, `model.rs` | a bench made ready: operations, steps of models |
//! | `record.rs` | JSON lines, written and read again |

mod build;
mod model;
mod noise;
mod record;
mod shapes;

use std::collections::HashMap;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

use engine::device::timing::Flush;
use engine::{Device, Error, Result, Work};
use kernels::common::peak;
use train::report::jsonl::Log;
use train::report::roofline::{Point, roofline};

use super::samples::Samples;
use crate::cli::screen::{self, Screen};
use build::Ready;
pub use noise::Noise;
use record::{Ceilings, How, Record};
use shapes::Bench;

/// What is overwritten before each repetition, at least: more than any cache.
pub const FLUSH: usize = 256 << 20;

const WARM_UP: Duration = Duration::from_millis(25);

/// Flags of the suite.
#[derive(clap::Args)]
#[command(next_help_heading = "Suite")]
pub struct SuiteArgs {
    /// The rows of the GPU table: products, attention, LayerNorm, updates, stochastic layers and steps of ViTs
    #[arg(long, groups = ["of_suite", "served"], conflicts_with_all = ["ops", "steps"])]
    pub suite: bool,
    /// Print names and shapes of the suite, and measure nothing
    #[arg(long, group = "of_suite")]
    pub list: bool,
    /// Shapes that take moments on an emulator, of the suite or the laboratory
    #[arg(long, requires = "of_suite")]
    pub tiny: bool,
    /// Leave in the caches what the repetition before left there
    #[arg(long, requires = "suite")]
    hot: bool,
    /// Write the measurements as JSON lines, the machine first
    #[arg(long, value_name = "FILE", requires = "suite")]
    out: Option<PathBuf>,
    /// Draw the measurements under the ceilings
    #[arg(long, value_name = "FILE", requires = "suite")]
    svg: Option<PathBuf>,
    /// Compare with the measurements that --out wrote earlier
    #[arg(long, value_name = "FILE", requires = "suite")]
    baseline: Option<PathBuf>,
    /// Take the library's rate of products from a file of bench/peers/compare_gpu.py as a ceiling too
    #[arg(long, value_name = "FILE", requires = "suite")]
    peers: Option<PathBuf>,
}

const HEADING: [&str; 9] = ["bench", "ms", "p20", "p80", "reps", "GFLOP/s", "GB/s", "% of roofline", "vs baseline"];

impl SuiteArgs {
    /// The benches whose name contains `filter`, or whose group it is.
    fn benches(&self, filter: Option<&str>) -> Result<Vec<Bench>> {
        let mut benches = shapes::all(self.tiny);
        if let Some(filter) = filter {
            benches.retain(|bench| bench.name.contains(filter) || bench.group == filter);
        }
        if benches.is_empty() {
            return Err(Error::new("--filter", "no bench of the suite has such a name or group")
                .help("`vitrum bench --list` prints them"));
        }
        Ok(benches)
    }

    /// Names and shapes; `dtype` is the type of a network's tensors.
    pub fn print_list(&self, screen: &Screen, filter: Option<&str>, dtype: &str) -> Result<()> {
        let benches = self.benches(filter)?;
        for bench in &benches {
            screen.line(format_args!("{:36} {:?}", bench.name, bench.shape))?;
        }
        screen.json(&serde_json::json!({ "dtype": dtype, "tiny": self.tiny, "benches": benches }))
    }

    /// Measures the benches that `filter` names; with `profile`, tells where the time of each goes as well, launch by launch.
    pub fn run(
        &self,
        device: &Device,
        screen: &Screen,
        filter: Option<&str>,
        time: Duration,
        profile: bool,
    ) -> Result<()> {
        let benches = self.benches(filter)?;
        let before = self.baseline.as_deref().map(record::baseline).transpose()?.unwrap_or_default();
        let library_gflops = self.peers.as_deref().map(record::library_gflops).transpose()?;
        if let Some(path) = &self.svg {
            engine::fs::check_writable(path)?;
        }
        let mut log = self.out.as_deref().map(fresh_log).transpose()?;
        let mut suite = Suite::new(device, self, time)?;
        let ceilings = Ceilings { library_gflops, ..suite.ceilings()? };
        let mut machine = record::machine(device, suite.flush.as_ref().map(Flush::bytes));
        if let Some(machine) = machine.as_object_mut() {
            machine.insert("ceilings".to_owned(), serde_json::json!(ceilings));
        }
        if let Some(log) = &mut log {
            log.write(&machine)?;
        }
        screen.line(format_args!(
            "{}\nmeasured ceilings: {:.0} GFLOP/s, {:.1} GB/s of copies",
            device.description(),
            ceilings.gflops(),
            ceilings.copy_gbs
        ))?;
        let mut records = Vec::new();
        for bench in &benches {
            let record = suite.measure(bench, Some(ceilings), &before)?;
            if let Some(log) = &mut log {
                log.write(&record)?;
            }
            screen::note(format_args!("{:36} {:10.4} ms", record.bench, record.median_ms));
            records.push(record);
            if profile && let Some((_, ready)) = &mut suite.current {
                screen.line(format_args!("{}\n{}", bench.name, ready.profile()?))?;
            }
        }
        let rows = records.iter().map(row);
        screen.table(&[HEADING.map(str::to_owned).to_vec()].into_iter().chain(rows).collect::<Vec<_>>())?;
        if let Some(path) = &self.svg {
            let svg = picture(device, ceilings, &records)?;
            engine::fs::write_atomic(path, |file| std::io::Write::write_all(file, svg.as_bytes()))?;
        }
        screen.json(&serde_json::json!({ "machine": machine, "benches": records }))
    }

    /// Answers names from standard input, one a line, each with a JSON line: `ceilings`, or a bench measured for `time`.
    pub fn serve(&self, device: &Device, time: Duration) -> Result<()> {
        let benches = self.benches(None)?;
        let mut suite = Suite::new(device, self, time)?;
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(|error| Error::io("standard input", "read", &error))?;
            let answer = match line.trim() {
                "" => continue,
                "ceilings" => suite.ceilings().map(|ceilings| {
                    let machine = record::machine(device, suite.flush.as_ref().map(Flush::bytes));
                    serde_json::json!({ "bench": "ceilings", "peer": "vitrum", "ceilings": ceilings, "machine": machine })
                }),
                name => suite.answer(&benches, name),
            };
            let answer = answer.unwrap_or_else(
                |error| serde_json::json!({ "bench": line.trim(), "peer": "vitrum", "error": error.to_string() }),
            );
            screen::put(&answer.to_string())?;
        }
        Ok(())
    }
}

/// An empty log.
fn fresh_log(path: &std::path::Path) -> Result<Log> {
    engine::fs::write_atomic(path, |_| Ok(()))?;
    Log::append(path)
}

/// Measures benches on a device.
struct Suite<'a> {
    device: &'a Device,
    args: &'a SuiteArgs,
    time: Duration,
    noise: Noise,
    flush: Option<Flush>,
    /// The bench that is ready, by name.
    current: Option<(String, Ready)>,
}

impl<'a> Suite<'a> {
    fn new(device: &'a Device, args: &'a SuiteArgs, time: Duration) -> Result<Self> {
        let flush = if args.hot { None } else { Flush::new(device, if args.tiny { 0 } else { FLUSH })? };
        Ok(Self { device, args, time, noise: Noise::new(), flush, current: None })
    }

    /// Copies and multiply-adds; on CUDA the largest product as well, which tensor cores make faster than those.
    fn ceilings(&mut self) -> Result<Ceilings> {
        let share = if self.args.tiny { 1024 } else { 1 };
        let peak = peak::measure(self.device, Duration::from_millis(300), share)?;
        let (copy_gbs, multiply_gflops) = (peak.bytes / 1e9, peak.flops / 1e9);
        let gemm_gflops = match self.device {
            Device::Cuda(_) => {
                let benches = self.args.benches(Some("gemm_8192"))?;
                benches.first().map(|bench| self.measure(bench, None, &HashMap::new())).transpose()?
            }
            Device::Cpu(_) | Device::Wgpu(_) => None,
        };
        let gemm_gflops = gemm_gflops.map(|record| record.gflops);
        Ok(Ceilings { copy_gbs, multiply_gflops, gemm_gflops, library_gflops: None })
    }

    fn answer(&mut self, benches: &[Bench], name: &str) -> Result<serde_json::Value> {
        let bench = benches.iter().find(|bench| bench.name == name);
        let bench = bench.ok_or_else(|| Error::new("bench", "no bench of the suite has this name"))?;
        let record = self.measure(bench, None, &HashMap::new())?;
        serde_json::to_value(record).map_err(|error| Error::new("bench", error.to_string()))
    }

    fn measure(&mut self, bench: &Bench, ceilings: Option<Ceilings>, before: &HashMap<String, f64>) -> Result<Record> {
        let fail = |error: Error| error.within(&bench.name);
        let mut ready = match self.current.take() {
            Some((name, ready)) if name == bench.name => ready,
            other => {
                drop(other); // frees its memory first
                Ready::new(bench.shape, self.device, &self.noise).map_err(fail)?
            }
        };
        let samples = Samples::collect_after(WARM_UP, self.time, || ready.time(self.flush.as_mut())).map_err(fail)?;
        let works: Vec<Work> = ready.works();
        let how = How { device: self.device, hot: self.flush.is_none(), tiny: self.args.tiny };
        let mut record = Record::new(bench, how, &samples, &works, ready.notes());
        record.percent_of_roofline =
            ceilings.map(|ceilings| 100.0 * ceilings.seconds(&works) / (record.median_ms * 1e-3));
        record.baseline_ratio = before.get(&bench.name).map(|earlier| record.median_ms / earlier);
        self.current = Some((bench.name.clone(), ready));
        Ok(record)
    }
}

fn row(record: &Record) -> Vec<String> {
    let ms = [record.median_ms, record.p20_ms, record.p80_ms].map(|ms| format!("{ms:.4}"));
    let optional = |value: Option<f64>, digits: usize| value.map_or_else(String::new, |v| format!("{v:.digits$}"));
    let mut row = vec![record.bench.clone()];
    row.extend(ms);
    row.extend([record.reps.to_string(), format!("{:.0}", record.gflops), format!("{:.0}", record.gbs)]);
    row.extend([optional(record.percent_of_roofline, 0), optional(record.baseline_ratio, 3)]);
    row
}

/// The measurements of single operations under the ceilings, as a file of its own.
fn picture(device: &Device, ceilings: Ceilings, records: &[Record]) -> Result<String> {
    let ops = records.iter().filter(|record| record.group != "step");
    let point = |record: &Record| Point {
        label: record.bench.clone(),
        group: record.group.to_owned(),
        intensity: record.flops / record.bytes,
        gflops: record.gflops,
    };
    let points: Vec<Point> = ops.map(point).collect();
    let chart = roofline(&device.description(), ceilings.copy_gbs, ceilings.gflops(), &points)?;
    Ok(chart.svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1))
}

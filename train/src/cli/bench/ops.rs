//! Every op's bench cases: forward and backward apart.

use std::time::{Duration, Instant};

use engine::{Device, Phase, Plan, Result, Role, Store, Tape, Value, Var, Work};
use kernels::cases::{Case, OpCases, Record, tensors};
use kernels::common::peak::{self, Peak};
use serde::Serialize;

use super::samples::Samples;
use crate::cli::screen::Screen;

/// One pass of one case.
#[derive(Serialize)]
struct Row {
    op: &'static str,
    case: String,
    pass: &'static str,
    ms: f64,
    p20_ms: f64,
    p80_ms: f64,
    reps: usize,
    gflops: f64,
    gbs: f64,
    /// Time that the ceilings allow over the measured time.
    percent_of_peak: f64,
}

const HEADING: [&str; 9] = ["op", "case", "pass", "ms", "p20", "p80", "GFLOP/s", "GB/s", "% of peak"];

/// All that was measured, with the ceilings of the same run.
#[derive(Serialize)]
pub struct Measured {
    peak_gflops: f64,
    copy_gbs: f64,
    passes: Vec<Row>,
}

pub fn run(device: &Device, screen: &Screen, ops: &[OpCases], time: Duration) -> Result<Measured> {
    let peak = peak::measure(device, Duration::from_millis(300), 1)?;
    let (peak_gflops, copy_gbs) = (peak.flops / 1e9, peak.bytes / 1e9);
    screen.line(format_args!(
        "measured ceilings: {peak_gflops:.0} GFLOP/s of f32 multiply-adds, {copy_gbs:.1} GB/s of copies (read and written)"
    ))?;
    let mut passes = Vec::new();
    for op in ops {
        for case in op.bench.iter().filter(|case| device.computes(case.storage)) {
            for (pass, samples, work) in measure(case, device, time)? {
                passes.push(row(op.name, case, pass, &samples, work, peak));
            }
        }
    }
    let shown = passes.iter().map(|row| {
        let numbers =
            [(row.ms, 3), (row.p20_ms, 3), (row.p80_ms, 3), (row.gflops, 1), (row.gbs, 1), (row.percent_of_peak, 0)];
        let words = [row.op, row.case.as_str(), row.pass].map(str::to_owned);
        words.into_iter().chain(numbers.map(|(number, digits)| format!("{number:.digits$}"))).collect()
    });
    screen.table(&[HEADING.map(str::to_owned).to_vec()].into_iter().chain(shown).collect::<Vec<_>>())?;
    Ok(Measured { peak_gflops, copy_gbs, passes })
}

fn row(op: &'static str, case: &Case, pass: &'static str, samples: &Samples, work: Work, peak: Peak) -> Row {
    let seconds = samples.quantile(0.5);
    #[expect(clippy::cast_precision_loss, reason = "for reading")]
    let (flops, bytes) = (work.flops as f64, work.bytes as f64);
    Row {
        op,
        case: case.label.clone(),
        pass,
        ms: seconds * 1e3,
        p20_ms: samples.quantile(0.2) * 1e3,
        p80_ms: samples.quantile(0.8) * 1e3,
        reps: samples.reps(),
        gflops: flops / seconds / 1e9,
        gbs: bytes / seconds / 1e9,
        percent_of_peak: 100.0 * (flops / peak.flops).max(bytes / peak.bytes) / seconds,
    }
}

/// Name, times and work of a pass.
type Pass = (&'static str, Samples, Work);

fn measure(case: &Case, device: &Device, time: Duration) -> Result<Vec<Pass>> {
    let mut store = Store::new(device.clone())?;
    let inputs = tensors(case)?;
    let vars = (0..).zip(&inputs).map(|(at, tensor)| store.constant(&format!("input{at}"), Role::Data, tensor));
    let vars = vars.collect::<Result<Vec<Var>>>()?;
    let read = |tape: &mut Tape, store: &Store, vars: &[Var]| -> Result<Vec<Value>> {
        vars.iter().map(|&var| tape.var(store, var)).collect()
    };
    let mut tape = Tape::new();
    match &case.record {
        Record::Update(record, states) => {
            let (states, rest) = vars.split_at(*states);
            let values = read(&mut tape, &store, rest)?;
            record(&mut tape, &store, states, &values)?;
            let plan = tape.plan_with(&mut store, &[], false)?;
            Ok(vec![("update", replays(&plan, &mut store, time)?, plan.work())])
        }
        Record::Op(record, wanted) => {
            let values = read(&mut tape, &store, &vars)?;
            let output = record(&mut tape, &values)?;
            let plan = tape.plan_with(&mut store, &[output], false)?;
            let mut measured = vec![("forward", replays(&plan, &mut store, time)?, plan.work())];
            let wanted: Vec<Value> = wanted.iter().filter_map(|&at| values.get(at).copied()).collect();
            if !wanted.is_empty() {
                let cotangent = engine::check::random::<f32>(tape.spec(output)?.dims(), 3, &case.label)?;
                let cotangent = store.constant("cotangent", Role::Data, &cotangent)?;
                let seed = tape.var(&store, cotangent)?;
                let gradients = tape.backward(output, Some(seed), &wanted, &[])?.values;
                let plan = tape.plan_with(&mut store, &gradients, false)?;
                // Gradients that are the output's own, as a sum's are, launch nothing.
                if plan.launches().any(|(_, phase)| phase == Phase::Backward) {
                    measured.push(backward(&plan, &mut store, time)?);
                }
            }
            Ok(measured)
        }
    }
}

/// Whole replays: on the threads that compute, or as the device times its launches.
fn replays(plan: &Plan, store: &mut Store, time: Duration) -> Result<Samples> {
    let device = store.device().clone();
    device.run(|| {
        Samples::collect(time, || {
            if device.threads().is_none() {
                return Ok(plan.profile(store)?.total());
            }
            let start = Instant::now();
            plan.replay(store)?;
            Ok(start.elapsed())
        })
    })
}

/// The backward launches of replays.
fn backward(plan: &Plan, store: &mut Store, time: Duration) -> Result<Pass> {
    let mut work = Work::default();
    let device = store.device().clone();
    let samples = device.run(|| {
        Samples::collect(time, || {
            let profile = plan.profile(store)?;
            let launches = profile.timings.iter().filter(|timing| timing.phase == Phase::Backward);
            work = launches.clone().fold(Work::default(), |sum, timing| Work {
                flops: sum.flops + timing.work.flops,
                bytes: sum.bytes + timing.work.bytes,
            });
            Ok(launches.map(|timing| timing.duration).sum())
        })
    })?;
    Ok(("backward", samples, work))
}

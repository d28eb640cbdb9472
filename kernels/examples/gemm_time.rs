//! Development only: GFLOP/s of linear through the engine.
extern crate vitrum_kernels as kernels;
use engine::device::webgpu::{AdapterKind, Options};
use engine::{Device, Result, Role, Store, Tape, Tensor};
use kernels::linear::{Activation, linear};
use std::time::Instant;
/// Half the process's CPU time: the box is shared.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 200.0
}
fn run(device: &Device, m: usize, n: usize, k: usize, bias: bool, act: Option<Activation>) -> Result<()> {
    let mut store = Store::new(device.clone())?;
    let x = store.constant("x", Role::Data, &Tensor::from_fn(&[m, k], |i| (i % 17) as f32 * 0.1 - 0.8)?)?;
    let w = store.constant("w", Role::Data, &Tensor::from_fn(&[n, k], |i| (i % 13) as f32 * 0.1 - 0.6)?)?;
    let b = store.constant("b", Role::Data, &Tensor::from_fn(&[n], |i| i as f32 * 0.01)?)?;
    let dy = store.constant("dy", Role::Data, &Tensor::from_fn(&[m, n], |i| (i % 11) as f32 * 0.1 - 0.5)?)?;
    let mut line = format!("{m:5} {n:4} {k:4} {:4} ", if bias { "bias" } else { "" });
    // forward, + dx, + dw, + db: differences of totals
    let mut before = 0.0;
    for (at, wanted) in [vec![], vec![0], vec![0, 1], vec![0, 1, 2]].iter().enumerate() {
        if at == 3 && !bias { continue; }
        let mut tape = Tape::new();
        let (xv, wv, bv) = (tape.var(&store, x)?, tape.var(&store, w)?, tape.var(&store, b)?);
        let y = linear(&mut tape, xv, wv, bias.then_some(bv), act)?;
        let dyv = tape.var(&store, dy)?;
        let values = [xv, wv, bv];
        let wanted: Vec<_> = wanted.iter().map(|&i| values[i]).collect();
        let mut keep = vec![y];
        if !wanted.is_empty() { keep = tape.backward(y, Some(dyv), &wanted, &[])?.values; }
        let start = Instant::now();
        let plan = tape.plan(&mut store, &keep)?;
        plan.replay(&mut store)?;
        device.finish()?;
        let first = start.elapsed().as_secs_f64();
        let flops = 2.0 * (m * n * k) as f64;
        let reps = ((8e9 / flops) as usize).clamp(1, 400);
        let mut best = f64::INFINITY;
        for _ in 0..4 {
            let start = cpu();
            for _ in 0..reps { plan.replay(&mut store)?; }
            device.finish()?;
            best = best.min((cpu() - start) / reps as f64);
        }
        let own = best - before;
        before = best;
        line += &format!("{} {:6.1} GF ({:7.0} us, first {first:4.1} s) ", ["fwd", "dx", "dw", "db"][at], flops / own * 1e-9, own * 1e6);
    }
    println!("{line}");
    Ok(())
}
fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let discrete = args.iter().any(|a| a == "discrete");
    let options = Options { kind: discrete.then_some(AdapterKind::Discrete), no_subgroups: discrete, ..Options::default() };
    let device = Device::wgpu(&options)?;
    let gelu = Some(Activation::Gelu);
    for (m, n, k, bias, act) in [(520, 576, 192, false, None), (520, 192, 192, false, None), (6400, 192, 64, false, None), (6400, 64, 64, true, None), (6400, 256, 64, true, None), (6400, 256, 64, true, gelu), (520, 768, 192, true, gelu), (520, 192, 768, true, None), (520, 10, 192, true, None)] {
        run(&device, m, n, k, bias, act)?;
    }
    Ok(())
}

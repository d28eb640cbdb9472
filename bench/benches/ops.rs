//! Every op's and update's bench cases, forward and with all gradients. See `bench/README.md`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use engine::{Device, Plan, Result, Store};
use kernels::cases::{Case, Record, timed};

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let device = Device::cpu(None)?;
    println!("{}", device.description());
    for op in kernels::registry() {
        for case in &op.bench {
            match &case.record {
                Record::Op(_, wanted) => {
                    bench(&mut criterion, op.name, "forward", case, timed(case, &device, false)?)?;
                    if !wanted.is_empty() {
                        bench(&mut criterion, op.name, "forward+backward", case, timed(case, &device, true)?)?;
                    }
                }
                Record::Update(..) => bench(&mut criterion, op.name, "update", case, timed(case, &device, false)?)?,
            }
        }
    }
    criterion.final_summary();
    Ok(())
}

/// Times replays. What criterion calls elements are floating-point operations; where there are none, it shows bytes.
fn bench(criterion: &mut Criterion, op: &str, pass: &str, case: &Case, planned: (Store, Plan)) -> Result<()> {
    let (mut store, plan) = planned;
    let work = plan.work();
    let mut group = criterion.benchmark_group(op);
    group.throughput(if work.flops > 0 { Throughput::Elements(work.flops) } else { Throughput::Bytes(work.bytes) });
    let mut outcome = Ok(());
    group.bench_function(BenchmarkId::new(pass, &case.label), |bencher| {
        bencher.iter(|| outcome = plan.replay(black_box(&mut store)));
    });
    group.finish();
    outcome
}

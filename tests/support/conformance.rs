//! What every GPU backend must show on its devices: each op's cases against the f64 oracle, gradients, whole trainings and
//! attacks beside the CPU's.
#![allow(clippy::unwrap_used, dead_code, reason = "the bodies of tests; each suite has some of them")]

use engine::device::timing::Flush;
use engine::{DType, Device, Phase, Result, Role, Store, Tape, Tensor};
use kernels::advance::advance;
use kernels::cases::{Case, Draw, IN_BF16, adding_error, check, gradient_bound, gradient_error, in_bf16, reproducible};
use kernels::linear::linear;
use models::{Activation, Distribution, Sharing, Stochastic, StochasticLayer, VitConfig};

use crate::expectations::{EXPECTED_FAILURES, judge};
use crate::support::vit::{Net, config, images, lively};

/// Devices with the names that messages give them.
pub type Devices<'d> = &'d [(&'static str, &'d Device)];

/// Runs `test` on every case, random shapes included, on all devices, and fails with all that is not as expected.
fn for_every_case(devices: Devices, test: impl Fn(&Case, &Device) -> Result<Option<String>>) {
    for (name, device) in devices {
        let mut problems = Vec::new();
        for op in kernels::registry() {
            let random = (0..4).map(|seed| (op.random)(&mut Draw::new(seed)));
            let cases: Vec<Case> = op.cases.iter().cloned().chain(random).collect();
            let stored = cases.iter().filter(|_| IN_BF16.contains(&op.name)).filter_map(in_bf16);
            for case in cases.iter().cloned().chain(stored).filter(|case| device.computes(case.storage)) {
                let failure = test(&case, device).unwrap_or_else(|error| Some(error.to_string()));
                problems.extend(judge(EXPECTED_FAILURES, &device.description(), op.name, &case.label, failure));
            }
        }
        assert!(problems.is_empty(), "{name}, {device:?}:\n{}", problems.join("\n"));
    }
}

pub fn every_case_is_within_twice_the_naive_error(devices: Devices) {
    for_every_case(devices, |case, device| {
        let verdict = check(case, device)?;
        Ok((!verdict.passes()).then(|| format!("{verdict:?}")))
    });
}

pub fn every_second_contribution_to_a_gradient_is_added(devices: Devices) {
    for_every_case(devices, |case, device| {
        let error = adding_error(case, device)?;
        // Twice the gradient is exact in f32; sums that begin with what is there round once more.
        let bound = if case.storage == DType::F32 { 1e-5 } else { 1.0 / 128.0 };
        Ok((error.is_nan() || error > bound).then(|| format!("relative error {error:e}")))
    });
}

pub fn every_gradient_agrees_with_central_differences(devices: Devices) {
    for_every_case(devices, |case, device| {
        let error = gradient_error(case, device)?;
        Ok((error.is_nan() || error > gradient_bound(device).1).then(|| format!("relative error {error:e}")))
    });
}

pub fn every_case_gives_the_same_bits_in_every_run(devices: Devices) {
    for_every_case(devices, |case, device| {
        Ok((!reproducible(case, device, device)?).then(|| "other bits in the second run".to_owned()))
    });
}

/// Models that together use every part of the architecture.
fn models() -> Vec<(&'static str, VitConfig)> {
    let layer = |layer, sharing| Some(Stochastic { layer, distribution: Distribution::Normal { std: 0.1 }, sharing });
    let small = || config(24, 2, 3);
    vec![
        ("plain", small()),
        ("relu, layer scale", VitConfig { activation: Activation::Relu, layer_scale: true, ..small() }),
        ("drop path", VitConfig { drop_path: 0.5, ..small() }),
        ("scale", VitConfig { stochastic: layer(StochasticLayer::Scale, Sharing::PerImage), ..small() }),
        ("matrix", VitConfig { stochastic: layer(StochasticLayer::Linear, Sharing::Batch), ..small() }),
    ]
}

fn net(device: &Device, config: &VitConfig, dtype: DType, count: usize) -> Result<Net> {
    let labels: Vec<i32> = (0..count).map(|at| i32::try_from(at % 5).unwrap_or(0)).collect();
    Net::new(device.clone(), config, &lively(config, 1)?, dtype, &images(count, config, 3)?, &labels)
}

/// Losses of `steps` steps of training.
fn course(device: &Device, config: &VitConfig, dtype: DType, steps: usize) -> Result<Vec<f64>> {
    let mut net = net(device, config, dtype, 7)?;
    let (plan, loss) = net.training(0.02, 0.9, 1e-4, 1.0, false)?;
    (0..steps)
        .map(|_| {
            plan.replay(&mut net.store)?;
            Ok(plan.read(&net.store, loss)?.to_f64()[0])
        })
        .collect()
}

/// The largest distance of two curves.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    engine::check::max_error(a, b)
}

/// The bound of a curve in f32: four times what the CPU's f32 deviates from f64, and a few units in the last place.
///
/// Both accumulate the rounding of every step, in another order; a wrong kernel is off by more after one step.
fn bound(narrow: &[f64], wide: &[f64]) -> f64 {
    let largest = wide.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    4.0 * distance(narrow, wide) + 16.0 * f64::from(f32::EPSILON) * largest
}

pub fn training_follows_the_cpu(devices: Devices, steps: u8) {
    let count = usize::from(steps);
    let cpu = Device::cpu(Some(2)).unwrap();
    for (name, config) in models() {
        let wide = course(&cpu, &config, DType::F64, count).unwrap();
        let narrow = course(&cpu, &config, DType::F32, count).unwrap();
        assert!(wide[count - 1] < (1.0 - 0.01 * f64::from(steps)) * wide[0], "{name}: it learns on the CPU: {wide:?}");
        for (kind, device) in devices {
            let ours = course(device, &config, DType::F32, count).unwrap();
            let (error, bound) = (distance(&ours, &wide), bound(&narrow, &wide));
            assert!(error <= bound, "{name}, {kind}: {error:e} exceeds {bound:e}\n{ours:?}\n{wide:?}");
        }
    }
}

/// Where activations have 8 bits, losses of a training differ from the CPU's by a few of their last places, and no more.
pub fn training_stays_near_the_cpus(device: &Device, steps: usize) {
    let cpu = Device::cpu(Some(2)).unwrap();
    for (name, config) in models() {
        let wide = course(&cpu, &config, DType::F64, steps).unwrap();
        let ours = course(device, &config, DType::F32, steps).unwrap();
        let error = distance(&ours, &wide) / wide[0].abs();
        assert!(error < 4.0 / 128.0, "{name}: relative error {error:e}\n{ours:?}\n{wide:?}");
        assert!(error > 1e-7, "{name}: nothing was rounded to 8 bits");
    }
}

/// Losses of an attack's steps, and the perturbation after them.
fn trajectory(device: &Device, config: &VitConfig, dtype: DType) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut net = net(device, config, dtype, 5)?;
    let (plan, loss, delta) = net.attack(8.0 / 255.0, 2.0 / 255.0, false)?;
    let losses = (0..6).map(|_| {
        plan.replay(&mut net.store)?;
        Ok(plan.read(&net.store, loss)?.to_f64()[0])
    });
    Ok((losses.collect::<Result<_>>()?, net.store.read(delta)?.to_f64()))
}

pub fn an_attack_takes_the_cpus_path(devices: Devices) {
    let cpu = Device::cpu(Some(2)).unwrap();
    // Pixels whose gradient is nearly 0 step up here and down there; all others agree.
    let differing = |a: &[f64], b: &[f64]| a.iter().zip(b).filter(|(a, b)| (*a - *b).abs() > 0.5 / 255.0).count();
    for (name, config) in models() {
        let (wide_losses, wide) = trajectory(&cpu, &config, DType::F64).unwrap();
        let (narrow_losses, narrow) = trajectory(&cpu, &config, DType::F32).unwrap();
        assert!(wide_losses[5] > wide_losses[0], "{name}: it ascends: {wide_losses:?}");
        for (kind, device) in devices {
            let (losses, delta) = trajectory(device, &config, DType::F32).unwrap();
            let few = 4 * differing(&narrow, &wide) + wide.len() / 1000;
            let found = differing(&delta, &wide);
            assert!(found <= few, "{name}, {kind}: {found} of {} pixels differ, {few} may", wide.len());
            let (error, bound) = (distance(&losses, &wide_losses), bound(&narrow_losses, &wide_losses).max(1e-4));
            assert!(error <= bound, "{name}, {kind}: {error:e} exceeds {bound:e}");
        }
    }
}

pub fn checked_replays_find_nothing_and_give_the_same_bits(devices: Devices) {
    for (kind, device) in devices {
        let config = config(24, 2, 3);
        let run = |checks: bool| -> Result<(Tensor, Tensor)> {
            let mut net = net(device, &config, DType::F32, 3)?;
            let (plan, loss) = net.training(0.02, 0.9, 1e-4, 1.0, checks)?;
            plan.replay(&mut net.store)?;
            plan.replay(&mut net.store)?;
            Ok((plan.read(&net.store, loss)?, net.store.read(net.store.flat(net.vit.params()))?))
        };
        assert!(run(true).unwrap() == run(false).unwrap(), "{kind}: canaries and poison change the result");
    }
}

/// Timing one phase runs all of a plan once, and what comes right before that phase once.
pub fn timing_a_phase_replays_the_whole_plan(devices: Devices) {
    let inputs = [[5, 7], [3, 7], [5, 3]].map(|dims| engine::check::random::<f32>(&dims, 3, "timing").unwrap());
    let counter = Tensor::new(&[1], &[0_u32]).unwrap();
    // Values, and two counters at both ends of the plan, after a replay or two timed ones.
    let outcome = |device: &Device, timed: Option<Option<Phase>>| {
        let mut store = Store::new(device.clone()).unwrap();
        let mut constant = |name: &str, tensor| store.constant(name, Role::Data, tensor).unwrap();
        let [x, weight, seed] = [("x", 0), ("weight", 1), ("seed", 2)].map(|(name, at)| constant(name, &inputs[at]));
        let [first, last] = ["first", "last"].map(|name| constant(name, &counter));
        let mut tape = Tape::new();
        let [x, weight, seed] = [x, weight, seed].map(|var| tape.var(&store, var).unwrap());
        advance(&mut tape, &store, &[first]).unwrap();
        let y = linear(&mut tape, x, weight, None, Some(kernels::activation::Activation::Gelu)).unwrap();
        let gradients = tape.backward(y, Some(seed), &[x, weight], &[]).unwrap().values;
        advance(&mut tape, &store, &[last]).unwrap();
        let kept = [&[y], gradients.as_slice()].concat();
        let plan = tape.plan_with(&mut store, &kept, false).unwrap();
        let mut flush = Flush::new(device, 1 << 10).unwrap();
        let replays = if let Some(phase) = timed {
            let mut calls = 0;
            for _ in 0..2 {
                let before = || {
                    calls += 1;
                    flush.as_mut().map_or(Ok(()), Flush::run)
                };
                assert!(!plan.time(&mut store, phase, before).unwrap().is_zero());
            }
            assert!(calls == 2 && plan.works(phase).count() > 0);
            2
        } else {
            plan.replay(&mut store).unwrap();
            1
        };
        for counter in [first, last] {
            assert_eq!(store.read(counter).unwrap().to_f64(), [f64::from(replays)], "{timed:?}");
        }
        kept.iter().map(|&value| plan.read(&store, value).unwrap()).collect::<Vec<_>>()
    };
    for (name, device) in devices {
        let expected = outcome(device, None);
        for phase in [None, Some(Phase::Forward), Some(Phase::Backward), Some(Phase::Update)] {
            assert!(outcome(device, Some(phase)) == expected, "{name}: {phase:?}");
        }
    }
}

//! A whole network: its gradient against differences in f64, its loss when it may memorise, its bits on other threads.

mod support;

use std::sync::Arc;

use engine::check::random;
use engine::{DType, Device, Result, Tape, Tensor};
use models::init::init;
use models::vit::Run;
use models::{Activation, Distribution, Pool, Sharing, Stochastic, StochasticLayer, VitConfig};
use support::vit::{Net, config, images, lively};
use train::data::{Augment, Options, Split, open};
use train::recipe::{Optimizer, Recipe, Schedule};
use train::trainer::Trainer;

/// Models that together use every part of the architecture.
fn models() -> Vec<(&'static str, VitConfig)> {
    let tiny = || config(6, 2, 2);
    let layer =
        |layer, sharing| Some(Stochastic { layer, distribution: Distribution::Uniform { half_width: 0.5 }, sharing });
    vec![
        ("plain", tiny()),
        ("distilled", VitConfig { distilled: true, ..tiny() }),
        ("layer scale, no qkv bias", VitConfig { layer_scale: true, qkv_bias: false, ..tiny() }),
        ("mean pool", VitConfig { pool: Pool::Mean, class_token: false, ..tiny() }),
        ("registers, no_embed_class", VitConfig { register_tokens: 2, no_embed_class: true, ..tiny() }),
        ("wide heads", VitConfig { head_width: 5, heads: 1, ..tiny() }),
        ("drop path", VitConfig { drop_path: 0.5, ..tiny() }),
        ("scale", VitConfig { stochastic: layer(StochasticLayer::Scale, Sharing::Batch), ..tiny() }),
        ("matrix", VitConfig { stochastic: layer(StochasticLayer::Linear, Sharing::PerImage), ..tiny() }),
    ]
}

fn net(config: &VitConfig, dtype: DType, threads: usize, count: usize) -> Result<Net> {
    let labels: Vec<i32> = (0..count).map(|at| i32::try_from(at % 5).unwrap_or(0)).collect();
    Net::new(Device::cpu(Some(threads))?, config, &lively(config, 1)?, dtype, &images(count, config, 3)?, &labels)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn gradients_of_whole_networks_agree_with_differences() {
    for (name, config) in models() {
        let mut net = net(&config, DType::F64, 2, 3).unwrap();
        let mut tape = Tape::new();
        let pixels = tape.var(&net.store, net.images).unwrap();
        let random_parts = Some(net.random(&mut tape).unwrap());
        let run = Run { random: random_parts, drop_path: true, stochastic: true, ..Run::default() };
        let (_, loss) = net.loss(&mut tape, pixels, &run).unwrap();
        let params = net.vit.params();
        let gradients = tape.backward(loss, None, &[pixels], &[(&net.store, params)]).unwrap();
        let plan = tape.plan(&mut net.store, &[loss, gradients.values[0], gradients.groups[0]]).unwrap();
        plan.replay(&mut net.store).unwrap();
        for (what, var, gradient) in
            [("pixels", net.images, gradients.values[0]), ("parameters", net.store.flat(params), gradients.groups[0])]
        {
            plan.replay(&mut net.store).unwrap();
            let gradient = plan.read(&net.store, gradient).unwrap().to_f64();
            let base = net.store.read(var).unwrap();
            for seed in 0..3 {
                let u = random::<f64>(base.dims(), seed, "direction").unwrap().to_f64();
                let mut moved = |step: f64| {
                    let mut tensor = base.clone();
                    tensor.values_mut::<f64>().unwrap().iter_mut().zip(&u).for_each(|(x, u)| *x += step * u);
                    net.store.write(var, &tensor).unwrap();
                    plan.replay(&mut net.store).unwrap();
                    plan.read(&net.store, loss).unwrap().to_f64()[0]
                };
                let h = 1e-4;
                let numeric = (8.0 * (moved(h) - moved(-h)) - (moved(2.0 * h) - moved(-2.0 * h))) / (12.0 * h);
                let exact = dot(&gradient, &u);
                let scale = exact.abs().max(1e-2 * (dot(&gradient, &gradient) * dot(&u, &u)).sqrt());
                let error = (numeric - exact).abs() / scale;
                assert!(scale > 1e-6 && error < 1e-6, "{name}, {what}: {numeric} and {exact}");
            }
            net.store.write(var, &base).unwrap();
        }
    }
}

#[test]
fn f32_follows_f64() {
    for (name, config) in models() {
        let logits = |dtype| {
            let mut net = net(&config, dtype, 2, 3).unwrap();
            let mut tape = Tape::new();
            let pixels = tape.var(&net.store, net.images).unwrap();
            let random = Some(net.random(&mut tape).unwrap());
            let run = Run { random, drop_path: true, stochastic: true, ..Run::default() };
            let logits = net.vit.forward(&mut tape, &net.store, pixels, &run).unwrap().logits;
            let plan = tape.plan(&mut net.store, &[logits]).unwrap();
            plan.replay(&mut net.store).unwrap();
            plan.read(&net.store, logits).unwrap().to_f64()
        };
        let error = engine::check::nmse(&logits(DType::F32), &logits(DType::F64));
        assert!(error < 1e-11, "{name}: {error:e}");
    }
}

#[test]
fn a_step_has_the_same_bits_on_any_number_of_threads() {
    let config = VitConfig { activation: Activation::Relu, ..config(48, 2, 3) };
    let step = |threads| {
        let mut net = net(&config, DType::F32, threads, 13).unwrap();
        let (plan, loss) = net.training(0.05, 0.9, 1e-4, 1.0, true).unwrap();
        plan.replay(&mut net.store).unwrap();
        plan.replay(&mut net.store).unwrap();
        let weights = net.store.read(net.store.flat(net.vit.params())).unwrap();
        (plan.read(&net.store, loss).unwrap(), weights)
    };
    let one = step(1);
    for threads in [2, 3, 5] {
        assert!(step(threads) == one, "{threads} threads");
    }
}

#[test]
fn a_small_network_memorises_a_few_images() {
    let config = VitConfig { image: [32, 32], patch: 8, classes: 10, ..config(32, 2, 2) };
    let data = Arc::new(open("synthetic", Split::Train, &Options { limit: Some(16), ..Options::default() }).unwrap());
    for (optimizer, lr) in [(Optimizer::ADAMW, 3e-3), (Optimizer::SGD, 3e-2)] {
        let recipe = Recipe {
            epochs: 60,
            batch: 16,
            lr,
            optimizer,
            schedule: Schedule::Constant,
            augment: Augment::default(),
            ..Recipe::default()
        };
        let device = Device::cpu(Some(2)).unwrap();
        let tensors: Vec<(String, Tensor)> = init(&config, 1).unwrap();
        let mut trainer = Trainer::new(&device, &config, &tensors, Arc::clone(&data), recipe).unwrap();
        let mut losses = Vec::new();
        while !trainer.is_done() {
            trainer
                .run_epoch(&mut |_, report| {
                    losses.push(report.loss);
                    Ok(true)
                })
                .unwrap();
        }
        let mean = |range: std::ops::Range<usize>| losses[range].iter().sum::<f64>() / 10.0;
        let course: Vec<f64> = (0..6).map(|tenth| mean(10 * tenth..10 * tenth + 10)).collect();
        assert!((losses[0] - 10.0_f64.ln()).abs() < 0.3, "it starts ignorant: {}", losses[0]);
        assert!(course.windows(2).all(|pair| pair[1] < pair[0]), "{optimizer:?}: {course:?}");
        assert!(losses[59] < 0.3 * losses[0], "{optimizer:?}: {course:?}");
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_names_the_first_op() {
    let config = VitConfig { image: [32, 32], patch: 8, classes: 10, ..config(12, 2, 2) };
    let mut tensors = init(&config, 1).unwrap();
    let broken = tensors.iter_mut().find(|(name, _)| name == "blocks.1.mlp.fc2.weight").unwrap();
    broken.1.values_mut::<f32>().unwrap()[3] = f32::INFINITY;
    let data = open("synthetic", Split::Train, &Options { limit: Some(8), ..Options::default() }).unwrap();
    let recipe = Recipe { batch: 8, ..Recipe::default() };
    let device = Device::cpu(Some(1)).unwrap();
    let mut trainer = Trainer::new(&device, &config, &tensors, Arc::new(data), recipe).unwrap();
    let error = trainer.run_epoch(&mut |_, _| Ok(true)).unwrap_err().to_string();
    assert!(error.starts_with("training: the loss or its gradient is not finite"), "{error}");
    assert!(error.contains("blocks.1.mlp: linear (Forward)"), "{error}");
    assert!(trainer.weights().unwrap() == tensors, "the weights are those before the step");
}

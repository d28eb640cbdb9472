//! What attacks and training methods promise, whatever the weights: 2210.07540 (ARD, PRM), 2112.15111 (stochastic layers)
//! and projected gradient descent itself.

mod support;

use engine::{DType, Device, Result, Store, Tape, Tensor};
use models::vit::{Random, Run, Vit};
use models::{Distribution, Pool, Sharing, Stochastic, StochasticLayer, VitConfig};
use proptest::prelude::*;
use support::vit::{Net, config, images, lively};
use train::attack::{Attack, AttackConfig, Norm, Objective, Start};
use train::data::loader::{NO_SAMPLE, Samples};
use train::eps::Eps;
use train::inputs::Inputs;

const EPS: f32 = 8.0 / 255.0;
const ALPHA: f32 = 2.0 / 255.0;
const COUNT: usize = 9;

fn small() -> VitConfig {
    config(24, 2, 2)
}

fn label(sample: usize) -> i32 {
    i32::try_from(sample % 5).unwrap_or(0)
}

/// Samples `first ..` of `pixels`, padded to the batch.
fn samples(pixels: &[f32], first: usize, batch: usize) -> Samples {
    let volume = 3 * 16 * 16;
    let count = batch.min(pixels.len() / volume - first);
    let real = |at: usize| at < count;
    let mut images = pixels[first * volume..(first + count) * volume].to_vec();
    images.resize(batch * volume, 0.0);
    Samples {
        images,
        targets: (0..batch * 5)
            .map(|i| if !real(i / 5) { 0.2 } else { f32::from(u8::from(i % 5 == (first + i / 5) % 5)) })
            .collect(),
        labels: (0..batch).map(|at| if real(at) { label(first + at) } else { 0 }).collect(),
        ids: (0..batch)
            .map(|at| if real(at) { u32::try_from(100 + first + at).unwrap_or(0) } else { NO_SAMPLE })
            .collect(),
        weights: (0..batch).map(|at| f32::from(u8::from(real(at)))).collect(),
        count,
    }
}

/// The perturbations that an attack finds for all images, in batches of `batch`.
fn attack(model: &VitConfig, attack: &AttackConfig, batch: usize, keep: f32, threads: usize) -> Result<Vec<f32>> {
    let mut store = Store::new(Device::cpu(Some(threads))?)?;
    let vit = Vit::new(&mut store, "params", model.clone(), &lively(model, 1)?, DType::F32)?;
    let inputs = Inputs::new(&mut store, model, batch)?;
    let attack = Attack::new(&mut store, &vit, &inputs, attack)?;
    let x = images(COUNT, model, 3)?;
    let pixels = x.values::<f32>()?;
    let mut deltas = Vec::new();
    for first in (0..COUNT).step_by(batch) {
        let samples = samples(pixels, first, batch);
        inputs.write(&mut store, &samples)?;
        attack.run(&mut store, 5, 40, keep)?;
        let delta = store.read(inputs.delta)?;
        deltas.extend(&delta.values::<f32>()?[..samples.count * 3 * 16 * 16]);
    }
    Ok(deltas)
}

fn pgd(steps: u32) -> AttackConfig {
    AttackConfig::pgd(Eps::fraction(8, 255), Eps::fraction(2, 255), steps)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

fn stochastic(sharing: Sharing) -> VitConfig {
    let distribution = Distribution::Uniform { half_width: 1.0 };
    let layer = Stochastic { layer: StochasticLayer::Scale, distribution, sharing };
    VitConfig { stochastic: Some(layer), ..small() }
}

/// Every attack that evaluation offers.
fn attacks() -> Vec<(&'static str, VitConfig, AttackConfig)> {
    let l2 = AttackConfig { norm: Norm::L2, eps: Eps::fraction(1, 2), alpha: Eps::fraction(1, 8), ..pgd(4) };
    let eot = AttackConfig { eot: 3, stochastic: true, ..pgd(3) };
    vec![
        ("pgd", small(), pgd(5)),
        ("fgsm", small(), AttackConfig::fgsm(Eps::fraction(8, 255))),
        ("margin", small(), AttackConfig { objective: Objective::Margin, ..pgd(4) }),
        ("kl", small(), AttackConfig { objective: Objective::Kl, start: Start::Normal, ..pgd(4) }),
        ("restarts", small(), AttackConfig { restarts: 3, ..pgd(3) }),
        ("l2", small(), l2.clone()),
        ("l2 with restarts", small(), AttackConfig { restarts: 2, ..l2 }),
        ("eot, one draw for all", stochastic(Sharing::Batch), eot.clone()),
        ("eot, a draw per image", stochastic(Sharing::PerImage), eot),
        ("ard and prm", small(), AttackConfig { ard: true, prm: true, ..pgd(4) }),
    ]
}

#[test]
fn attacks_do_not_depend_on_batching_or_threads() {
    for (name, model, config) in attacks() {
        let together = attack(&model, &config, COUNT, 0.6, 1).unwrap();
        for (batch, threads) in [(1, 1), (4, 2), (64, 2)] {
            let other = attack(&model, &config, batch, 0.6, threads).unwrap();
            assert_eq!(together, other, "{name} in batches of {batch} on {threads} threads");
        }
    }
}

#[test]
fn perturbations_stay_in_ball_and_box() {
    for (name, model, config) in attacks() {
        let deltas = attack(&model, &config, COUNT, 1.0, 2).unwrap();
        let pixels = images(COUNT, &model, 3).unwrap();
        assert!(largest(&deltas) > 0.0, "{name} does something");
        for (x, delta) in pixels.values::<f32>().unwrap().chunks(768).zip(deltas.chunks(768)) {
            match config.norm {
                Norm::Linf => assert!(largest(delta) <= EPS, "{name}: {}", largest(delta)),
                Norm::L2 => {
                    let length: f64 = delta.iter().map(|&d| f64::from(d) * f64::from(d)).sum::<f64>().sqrt();
                    assert!(length <= 0.5 * (1.0 + 1e-6), "{name}: {length}");
                }
            }
            assert!(x.iter().zip(delta).all(|(x, d)| (0.0..=1.0).contains(&(x + d))), "{name} leaves the box");
        }
    }
}

#[test]
fn a_ball_of_radius_zero_is_the_clean_image() {
    let config = AttackConfig { eps: Eps::fraction(0, 255), ..pgd(3) };
    assert!(attack(&small(), &config, 4, 1.0, 1).unwrap().iter().all(|&delta| delta == 0.0));
}

#[test]
fn pgd_is_what_its_definition_says() {
    // Against the same attack put together from ops in this crate, on the mean loss of hard labels.
    let config = AttackConfig { start: Start::Zero, ..pgd(5) };
    let ours = attack(&small(), &config, COUNT, 1.0, 1).unwrap();
    let labels: Vec<i32> = (0..COUNT).map(label).collect();
    let model = small();
    let x = images(COUNT, &model, 3).unwrap();
    let device = Device::cpu(Some(1)).unwrap();
    let mut net = Net::new(device, &model, &lively(&model, 1).unwrap(), DType::F32, &x, &labels).unwrap();
    let (plan, loss, delta) = net.attack(f64::from(EPS), f64::from(ALPHA), true).unwrap();
    let mut losses = Vec::new();
    for _ in 0..5 {
        plan.replay(&mut net.store).unwrap();
        losses.push(plan.read(&net.store, loss).unwrap().to_f64()[0]);
    }
    assert!(losses.windows(2).all(|pair| pair[1] > pair[0]), "the loss rises: {losses:?}");
    let theirs = net.store.read(delta).unwrap();
    let theirs = theirs.values::<f32>().unwrap();
    let different = ours.iter().zip(theirs).filter(|(a, b)| a != b).count();
    // The two losses round differently; a gradient of about 0 may then have another sign.
    assert!(1000 * different <= ours.len(), "{different} of {} pixels", ours.len());
}

#[test]
fn restarts_take_the_best_of_each_sample() {
    let score = |deltas: &[f32]| -> Vec<f64> {
        let model = small();
        let mut x = images(COUNT, &model, 3).unwrap();
        x.values_mut::<f32>().unwrap().iter_mut().zip(deltas).for_each(|(x, d)| *x += d);
        let logits = forward(&model, &x, |_| Ok(Run::default())).unwrap();
        logits
            .chunks(5)
            .enumerate()
            .map(|(sample, z)| {
                let log_sum = z.iter().map(|z| f64::from(*z).exp()).sum::<f64>().ln();
                log_sum - f64::from(z[sample % 5])
            })
            .collect()
    };
    let one = score(&attack(&small(), &pgd(2), COUNT, 1.0, 1).unwrap());
    let many = score(&attack(&small(), &AttackConfig { restarts: 5, ..pgd(2) }, COUNT, 1.0, 1).unwrap());
    // The first of five restarts is the single run.
    assert!(one.iter().zip(&many).all(|(one, many)| *many >= one - 1e-5), "{one:?} {many:?}");
    assert!(one.iter().zip(&many).any(|(one, many)| *many > one + 1e-4), "{one:?} {many:?}");
}

/// Logits of `images`; `run` may ask for random parts.
fn forward(model: &VitConfig, images: &Tensor, run: impl Fn(&mut Gated) -> Result<Run<'static>>) -> Result<Vec<f32>> {
    let mut gated = Gated::new(model, images)?;
    let run = run(&mut gated)?;
    let images = gated.tape.var(&gated.net.store, gated.net.images)?;
    let logits = gated.net.vit.forward(&mut gated.tape, &gated.net.store, images, &run)?.logits;
    let plan = gated.tape.plan(&mut gated.net.store, &[logits])?;
    plan.replay(&mut gated.net.store)?;
    Ok(plan.read(&gated.net.store, logits)?.values::<f32>()?.to_vec())
}

/// A model with a tape, for passes with gates.
struct Gated {
    net: Net,
    tape: Tape,
}

impl Gated {
    fn new(model: &VitConfig, images: &Tensor) -> Result<Self> {
        let labels: Vec<i32> = (0..images.dims()[0]).map(label).collect();
        let net = Net::new(Device::cpu(Some(2))?, model, &lively(model, 1)?, DType::F32, images, &labels)?;
        Ok(Self { net, tape: Tape::new() })
    }

    /// A run whose attention branches pass gradients with probability `keep`.
    fn gate(&mut self, keep: f64) -> Result<Run<'static>> {
        let random: Random = self.net.random(&mut self.tape)?;
        let (_, gate) = self.net.scalar(&mut self.tape, "keep", keep)?;
        Ok(Run { random: Some(random), gate: Some(gate), ..Run::default() })
    }

    /// Gradient of the loss with respect to the pixels.
    fn d_images(mut self, run: &Run) -> Result<Vec<f32>> {
        let images = self.tape.var(&self.net.store, self.net.images)?;
        let (_, loss) = self.net.loss(&mut self.tape, images, run)?;
        let gradient = self.tape.gradients(loss, &[images])?[0];
        let plan = self.tape.plan(&mut self.net.store, &[gradient])?;
        plan.replay(&mut self.net.store)?;
        Ok(plan.read(&self.net.store, gradient)?.values::<f32>()?.to_vec())
    }
}

#[test]
fn gates_do_not_change_the_forward_pass() {
    let x = images(4, &small(), 3).unwrap();
    let plain = forward(&small(), &x, |_| Ok(Run::default())).unwrap();
    for keep in [0.0, 0.5, 1.0] {
        assert_eq!(forward(&small(), &x, |gated| gated.gate(keep)).unwrap(), plain, "keep {keep}");
    }
}

#[test]
fn closed_gates_cut_a_class_token_head_off_from_the_pixels() {
    let x = images(4, &small(), 3).unwrap();
    let gradient = |model: &VitConfig, keep: f64| {
        let mut gated = Gated::new(model, &x).unwrap();
        let run = gated.gate(keep).unwrap();
        gated.d_images(&run).unwrap()
    };
    // Positive zeros, bit for bit: whatever comes after must see nothing at all.
    assert!(gradient(&small(), 0.0).iter().all(|dx| dx.to_bits() == 0));
    let plain = Gated::new(&small(), &x).unwrap().d_images(&Run::default()).unwrap();
    assert!(plain.iter().filter(|dx| **dx != 0.0).count() > plain.len() / 2);
    assert_eq!(gradient(&small(), 1.0), plain, "open gates are the plain gradient");
    // A mean-pooled head is reached through the skip path.
    let pooled = VitConfig { pool: Pool::Mean, class_token: false, ..small() };
    assert!(largest(&gradient(&pooled, 0.0)) > 0.0);
}

#[test]
fn attention_dropping_with_all_gates_closed_never_moves_a_pixel() {
    let config = AttackConfig { ard: true, start: Start::Zero, ..pgd(5) };
    let deltas = attack(&small(), &config, 4, 0.0, 1).unwrap();
    assert!(deltas.iter().all(|delta| delta.to_bits() == 0 || *delta == 0.0));
    assert!(largest(&attack(&small(), &config, 4, 1.0, 1).unwrap()) > ALPHA);
}

#[test]
fn keeping_everything_is_plain_pgd_bit_for_bit() {
    let plain = attack(&small(), &pgd(6), 4, 1.0, 1).unwrap();
    for (ard, prm) in [(true, false), (false, true), (true, true)] {
        let config = AttackConfig { ard, prm, ..pgd(6) };
        assert_eq!(attack(&small(), &config, 4, 1.0, 1).unwrap(), plain, "ard {ard}, prm {prm}");
        assert_ne!(attack(&small(), &config, 4, 0.4, 1).unwrap(), plain, "ard {ard}, prm {prm}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn masking_every_patch_allows_a_single_step(steps in 1_u32..12) {
        let config = AttackConfig { prm: true, ..pgd(steps) };
        prop_assert!(largest(&attack(&small(), &config, 4, 0.0, 1).unwrap()) <= ALPHA);
    }

    #[test]
    fn the_masked_share_is_exact_and_common_to_the_batch(keep in 0.0_f32..1.0) {
        // After one step from a random start only masked patches are within one step of the image everywhere.
        let config = AttackConfig { prm: true, ..pgd(1) };
        let deltas = attack(&small(), &config, COUNT, keep, 1).unwrap();
        let quiet = |sample: usize, patch: usize| {
            (0..3 * 16).all(|at| {
                let (channel, y, x) = (at / 16, patch / 4 * 4 + at % 16 / 4, patch % 4 * 4 + at % 4);
                deltas[sample * 768 + channel * 256 + y * 16 + x].abs() <= ALPHA
            })
        };
        let masked: Vec<usize> = (0..16).filter(|&patch| quiet(0, patch)).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 16")]
        let expected = (16.0 * (1.0 - f64::from(keep)) + 1e-5) as usize;
        prop_assert_eq!(masked.len(), expected);
        for sample in 1..COUNT {
            prop_assert_eq!(&(0..16).filter(|&patch| quiet(sample, patch)).collect::<Vec<_>>(), &masked);
        }
    }
}

#[test]
fn the_mean_network_is_the_deterministic_one() {
    let x = images(4, &small(), 3).unwrap();
    let plain = forward(&small(), &x, |_| Ok(Run::default())).unwrap();
    for sharing in [Sharing::Batch, Sharing::PerImage, Sharing::PerToken] {
        assert_eq!(forward(&stochastic(sharing), &x, |_| Ok(Run::default())).unwrap(), plain);
        let draw = |gated: &mut Gated| {
            let random = Some(gated.net.random(&mut gated.tape)?);
            Ok(Run { random, stochastic: true, ..Run::default() })
        };
        let drawn = forward(&stochastic(sharing), &x, draw).unwrap();
        assert_ne!(drawn, plain);
        assert_eq!(drawn, forward(&stochastic(sharing), &x, draw).unwrap(), "the same seed and step: the same draw");
    }
}

#[test]
fn stochastic_parts_need_a_random_state() {
    let x = images(1, &small(), 3).unwrap();
    let error = forward(&stochastic(Sharing::Batch), &x, |_| Ok(Run { stochastic: true, ..Run::default() }));
    assert!(error.unwrap_err().to_string().contains("a stochastic part needs a random state"));
}

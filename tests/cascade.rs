//! Attacks of a cascade: their arithmetic against the public implementation's in f64, and what must not depend on batch size, order or
//! interruptions.

mod support;

use std::sync::Arc;

use engine::{Device, Result, Role, Store, Tape, Tensor, Var};
use kernels::apgd_check::{Schedule, apgd_check};
use kernels::apgd_step::{Iterates, apgd_step};
use kernels::common::progress::Ball;
use kernels::cross_entropy::cross_entropy_labels;
use kernels::dlr::dlr;
use kernels::fab_look::{self, fab_look};
use kernels::fab_step::{self, fab_step};
use kernels::square_try;
use kernels::targeted::{Scale, targeted};
use models::VitConfig;
use models::tensor_file::TensorFile;
use proptest::prelude::*;
use support::vit::{config, images, lively};
use train::attack::cascade::{Apgd, ApgdLoss, Campaign, Fab, Options, Robust, Square, Stage, Targets, Version, verify};
use train::attack::{AttackConfig, Norm};
use train::data::Dataset;
use train::eps::Eps;
use train::eval::accuracy::Evaluator;

fn cpu() -> Device {
    Device::cpu(Some(2)).unwrap_or_else(|error| unreachable!("{error}"))
}

/// What the public implementation did (`goldens/make_cascade.py`).
struct Golden(TensorFile);

impl Golden {
    fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/cascade_golden.safetensors");
        Self(TensorFile::open(path).unwrap_or_else(|error| unreachable!("{error}")))
    }

    fn tensor(&self, key: &str) -> Tensor {
        self.0.read(key).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn f64(&self, key: &str) -> Vec<f64> {
        self.tensor(key).to_f64()
    }
}

/// A variable of f64 or of i32.
fn var(store: &mut Store, name: &str, tensor: &Tensor) -> Result<Var> {
    let spec = tensor.spec();
    let var = store.single(name, Role::Data, spec)?;
    store.write(var, tensor)?;
    Ok(var)
}

fn zeros(store: &mut Store, name: &str, dims: &[usize]) -> Result<Var> {
    var(store, name, &Tensor::new(dims, &vec![0.0_f64; dims.iter().product()])?)
}

/// Largest absolute difference.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |most, d| if d.is_nan() { f64::NAN } else { d.max(most) })
}

const STEPS: u32 = 100;

/// Plays a recorded run of Auto-PGD: given the losses and gradients that were seen, the iterates must be those that were.
fn replay_apgd(golden: &Golden, norm: &str, ball: Ball, eps: f64, loss: &str) -> Result<()> {
    let key = |name: &str| format!("apgd.{norm}.{loss}.{name}");
    let images = golden.tensor("images");
    let (dims, x) = (images.dims().to_vec(), images.to_f64());
    let (b, volume) = (dims[0], x.len());
    let (seen, losses) = (golden.f64(&key("seen")), golden.f64(&key("losses")));
    let (gradients, correct) = (golden.f64(&key("gradients")), golden.f64(&key("correct")));
    let mut store = Store::new(cpu())?;
    let start: Vec<f64> = seen[..volume].iter().zip(&x).map(|(seen, x)| seen - x).collect();
    let iterates = Iterates {
        delta: var(&mut store, "delta", &Tensor::new(&dims, &start)?)?,
        before: zeros(&mut store, "before", &dims)?,
        best: zeros(&mut store, "best", &dims)?,
        best_gradient: zeros(&mut store, "best gradient", &dims)?,
        fooling: zeros(&mut store, "fooling", &dims)?,
    };
    let schedule = Schedule { steps: STEPS, rho: 0.75, stop: false };
    let rows: Vec<f64> = (0..b).flat_map(|_| schedule.start(eps)).collect();
    let progress = var(&mut store, "progress", &Tensor::new(&[b, rows.len() / b], &rows)?)?;
    let (gradient, at) = (zeros(&mut store, "gradient", &dims)?, var(&mut store, "images", &images)?);
    let (loss_var, margin) = (zeros(&mut store, "loss", &[b])?, zeros(&mut store, "margin", &[b])?);
    let mut tape = Tape::new();
    let (loss_value, margin_value) = (tape.var(&store, loss_var)?, tape.var(&store, margin)?);
    apgd_check(&mut tape, &store, schedule, progress, loss_value, margin_value)?;
    let values = [gradient, at, progress].map(|one| tape.var(&store, one));
    let [g, x_value, row] = values;
    apgd_step(&mut tape, &store, ball, iterates, g?, x_value?, row?)?;
    let plan = tape.plan(&mut store, &[])?;
    let mut halved = false;
    for step in 0..=STEPS as usize {
        let delta = store.read(iterates.delta)?.to_f64();
        let there: Vec<f64> = delta.iter().zip(&x).map(|(delta, x)| delta + x).collect();
        let error = apart(&there, &seen[step * volume..(step + 1) * volume]);
        assert!(error < 1e-6, "{norm} {loss}: iterate {step} is off by {error}");
        store.write_values(gradient, &gradients[step * volume..(step + 1) * volume])?;
        store.write_values(loss_var, &losses[step * b..(step + 1) * b])?;
        let margins: Vec<f64> = correct[step * b..(step + 1) * b].iter().map(|right| 0.5 - right).collect();
        store.write_values(margin, &margins)?;
        plan.replay(&mut store)?;
        halved |= store.read(progress)?.to_f64().chunks(12).any(|row| row[3] < 2.0 * eps);
    }
    assert!(halved, "no checkpoint was reached");
    let moved = |var: Var| -> Result<Vec<f64>> {
        Ok(store.read(var)?.to_f64().iter().zip(&x).map(|(delta, x)| delta + x).collect())
    };
    let error = apart(&moved(iterates.best)?, &golden.f64(&key("best")));
    assert!(error < 1e-6, "{norm} {loss}: the best iterate is off by {error}");
    // The public implementation starts that result with the random start, where nothing fools.
    let fooled: Vec<bool> =
        (0..b).map(|sample| (0..=STEPS as usize).any(|step| correct[step * b + sample] == 0.0)).collect();
    assert!(fooled.contains(&true) && fooled.contains(&false), "{fooled:?}");
    let (ours, theirs) = (moved(iterates.fooling)?, golden.f64(&key("fooling")));
    for (sample, _) in fooled.iter().enumerate().filter(|(_, fooled)| **fooled) {
        let range = sample * volume / b..(sample + 1) * volume / b;
        assert!(apart(&ours[range.clone()], &theirs[range]) < 1e-6, "{norm} {loss}: sample {sample}");
    }
    Ok(())
}

#[test]
fn auto_pgd_goes_where_the_public_implementation_goes() {
    let golden = Golden::open();
    for loss in ["ce", "dlr", "dlr-targeted"] {
        replay_apgd(&golden, "Linf", Ball::Linf, 0.01, loss).unwrap();
    }
    replay_apgd(&golden, "L2", Ball::L2, 0.03, "ce").unwrap();
}

#[test]
fn losses_are_those_of_the_public_implementation() {
    let golden = Golden::open();
    for loss in ["ce", "dlr", "dlr-targeted"] {
        let key = |name: &str| format!("apgd.Linf.{loss}.{name}");
        let mut store = Store::new(cpu()).unwrap();
        let logits = var(&mut store, "logits", &golden.tensor(&key("logits"))).unwrap();
        let labels = var(&mut store, "labels", &golden.tensor("labels")).unwrap();
        let target = var(&mut store, "target", &golden.tensor(&key("target"))).unwrap();
        let mut tape = Tape::new();
        let [z, y, t] = [logits, labels, target].map(|one| tape.var(&store, one).unwrap());
        let value = match loss {
            "ce" => cross_entropy_labels(&mut tape, z, y, 0.0),
            "dlr" => dlr(&mut tape, z, y),
            _ => targeted(&mut tape, z, y, t, Scale::Dlr),
        };
        let value = value.unwrap();
        let plan = tape.plan(&mut store, &[value]).unwrap();
        plan.replay(&mut store).unwrap();
        let ours = plan.read(&store, value).unwrap().to_f64();
        let error = apart(&ours, &golden.f64(&key("losses"))[..ours.len()]);
        assert!(error < 1e-9, "{loss} is off by {error}");
    }
}

/// Plays a recorded run of FAB-T for one sample.
fn replay_fab(golden: &Golden, norm: &str, ball: Ball, sample: usize) -> Result<()> {
    let key = |name: &str| format!("fab.{norm}.{name}");
    let images = golden.tensor("images");
    let b = images.dims()[0];
    let volume = images.spec().elements() / b;
    let dims = [1, volume];
    let x = &images.to_f64()[sample * volume..(sample + 1) * volume];
    let (from, to) = (golden.f64(&key("from")), golden.f64(&key("to")));
    let (f, gradients, fools) = (golden.f64(&key("f")), golden.f64(&key("gradient")), golden.f64(&key("fools")));
    let steps = f.len() / b;
    let at = |all: &[f64], step: usize| all[(step * b + sample) * volume..][..volume].to_vec();
    let mut store = Store::new(cpu())?;
    let (delta, nearest) = (zeros(&mut store, "delta", &dims)?, zeros(&mut store, "nearest", &dims)?);
    let row = fab_look::start(1e9);
    let progress = var(&mut store, "progress", &Tensor::new(&[1, row.len()], &row)?)?;
    let (gradient, image) = (zeros(&mut store, "gradient", &dims)?, var(&mut store, "image", &Tensor::new(&dims, x)?)?);
    let (difference, margin) = (zeros(&mut store, "difference", &[1])?, zeros(&mut store, "margin", &[1])?);
    let mut tape = Tape::new();
    let origin = fab_step::Origin {
        gradient: tape.var(&store, gradient)?,
        difference: tape.var(&store, difference)?,
        images: tape.var(&store, image)?,
        progress: tape.var(&store, progress)?,
    };
    fab_step(&mut tape, &store, ball, delta, origin)?;
    let step_plan = tape.plan(&mut store, &[])?;
    let mut tape = Tape::new();
    let limit = fab_look::Limit { steps: u32::try_from(steps).unwrap_or(0), stop: false };
    let margin_value = tape.var(&store, margin)?;
    fab_look(&mut tape, &store, ball, limit, [delta, nearest, progress], margin_value)?;
    let look_plan = tape.plan(&mut store, &[])?;
    let expect = |store: &Store, var: Var, want: &[f64], what: &str| -> Result<()> {
        let have: Vec<f64> = store.read(var)?.to_f64().iter().zip(x).map(|(delta, x)| delta + x).collect();
        let error = apart(&have, want);
        assert!(error < 1e-6, "{norm}, sample {sample}, {what}: off by {error}");
        Ok(())
    };
    for step in 0..steps {
        expect(&store, delta, &at(&from, step), &format!("before step {step}"))?;
        store.write_values(gradient, &at(&gradients, step))?;
        store.write_values(difference, &[f[step * b + sample]])?;
        step_plan.replay(&mut store)?;
        expect(&store, delta, &at(&to, step), &format!("after step {step}"))?;
        store.write_values(margin, &[fools[step * b + sample] - 0.5])?;
        look_plan.replay(&mut store)?;
    }
    expect(&store, nearest, &at(&golden.f64(&key("nearest")), 0), "nearest")
}

#[test]
fn fab_goes_where_the_public_implementation_goes() {
    let golden = Golden::open();
    for sample in 0..4 {
        replay_fab(&golden, "Linf", Ball::Linf, sample).unwrap();
        replay_fab(&golden, "L2", Ball::L2, sample).unwrap();
    }
}

#[test]
fn squares_shrink_as_in_the_public_implementation() {
    let golden = Golden::open();
    for (norm, ball) in [("Linf", Ball::Linf), ("L2", Ball::L2)] {
        for size in [8, 28, 32, 224] {
            let changes = golden.tensor(&format!("square.{norm}.{size}"));
            let changes = changes.values::<i32>().unwrap();
            let sides = square_try::sides(ball, size, size);
            for proposal in 0..10_000_i32 {
                let theirs = changes.chunks(2).rfind(|change| change[0] <= proposal).map_or(0, |change| change[1]);
                let phase = square_try::ENDS.iter().filter(|&&end| i64::from(proposal) > i64::from(end)).count();
                assert_eq!(i32::try_from(sides[phase]), Ok(theirs), "{norm} {size}, proposal {proposal}");
            }
        }
    }
    // A 65-pixel image has tiles of 13 and, in later phases, the least side.
    let ours = square_try::pyramids(65, 65);
    let theirs = golden.f64("pyramid.13");
    assert!(apart(&ours[..theirs.len()], &theirs) < 1e-12);
    let theirs = golden.f64("pyramid.3");
    assert!(apart(&ours[ours.len() - theirs.len()..], &theirs) < 1e-12);
    assert!(apart(&square_try::pyramids(32, 32)[..36], &golden.f64("pyramid.6")) < 1e-12);
}

/// A small model whose labels are its own predictions, so that most samples are attacked.
struct Small {
    config: VitConfig,
    tensors: Vec<(String, Tensor)>,
    data: Arc<Dataset>,
}

impl Small {
    fn new(count: usize) -> Result<Self> {
        let config = config(16, 2, 2);
        let tensors = lively(&config, 3)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels of 8 bits")]
        let pixels: Vec<u8> =
            images(count, &config, 4)?.values::<f32>()?.iter().map(|&pixel| (pixel * 255.0) as u8).collect();
        let names: Vec<String> = (0..config.classes).map(|class| format!("class {class}")).collect();
        let dims = [3, 16, 16];
        let unlabelled = Arc::new(Dataset::new("drawn", dims, pixels.clone(), vec![0; count], names.clone())?);
        let mut evaluator = Evaluator::new(&cpu(), &config, &tensors, count, 0, 0)?;
        let outputs = evaluator.outputs(&unlabelled)?;
        let labels = outputs.probabilities.chunks(config.classes).enumerate().map(|(index, row)| {
            let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
            // One of them is wrong without an attack.
            i32::try_from(if index == 2 { (best + 1) % row.len() } else { best }).unwrap_or(0)
        });
        let data = Arc::new(Dataset::new("drawn", dims, pixels, labels.collect(), names)?);
        Ok(Self { config, tensors, data })
    }

    fn run(&self, device: &Device, stages: &[Stage], options: Options) -> Result<Vec<Robust>> {
        let mut evaluator = Evaluator::new(device, &self.config, &self.tensors, self.data.len(), 0, 0)?;
        let clean = evaluator.outputs(&self.data)?;
        let (config, tensors) = (&self.config, self.tensors.as_slice());
        let targets = Targets { device, config, tensors, data: &self.data, clean: &clean };
        let mut campaign = Campaign::new(targets, options)?;
        campaign.run(stages, &mut |_, _, _| {})?;
        Ok(campaign.samples)
    }
}

#[test]
fn labels_that_are_no_class_of_the_model_are_refused() -> Result<()> {
    let Small { config, tensors, data } = Small::new(3)?;
    let names = (0..=config.classes).map(|class| format!("class {class}")).collect();
    let labels = vec![0, i32::try_from(config.classes).unwrap_or(0), 0];
    let other = Arc::new(Dataset::new("drawn", data.dims(), vec![0; 3 * data.volume()], labels, names)?);
    let device = cpu();
    let mut evaluator = Evaluator::new(&device, &config, &tensors, 3, 0, 0)?;
    let clean = evaluator.outputs(&data)?;
    let targets = Targets { device: &device, config: &config, tensors: &tensors, data: &other, clean: &clean };
    let campaign = Campaign::new(targets, Options::default()).err();
    let attack = evaluator.attacked(&other, &AttackConfig::default(), &mut |_| Ok(())).err();
    for error in [campaign, attack] {
        let text = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("a label is no class of the model") && text.contains("sample"), "{text}");
    }
    Ok(())
}

/// All attacks, short, of which every one leaves some samples and fools with others.
fn stages(norm: Norm) -> Vec<Stage> {
    let eps = |levels: u32| Eps::fraction(levels * if norm == Norm::L2 { 26 } else { 1 }, 255);
    let apgd = |loss| Apgd { steps: 12, targets: 2, ..Apgd::new(norm, eps(11), loss) };
    let pgd = AttackConfig { norm, restarts: 2, ..AttackConfig::pgd(eps(10), eps(3), 6) };
    vec![
        Stage::Pgd(pgd),
        Stage::Apgd(Apgd { restarts: 2, ..apgd(ApgdLoss::Ce) }),
        Stage::Apgd(apgd(ApgdLoss::Dlr)),
        Stage::Square(Square { queries: 40, restarts: 2, ..Square::new(norm, eps(16)) }),
        Stage::Apgd(Apgd { eps: eps(13), ..apgd(ApgdLoss::Targeted) }),
        Stage::Fab(Fab { steps: 5, targets: 2, ..Fab::new(norm, eps(15)) }),
        Stage::Fab(Fab { steps: 4, targets: 0, restarts: 2, ..Fab::new(norm, eps(17)) }),
    ]
}

fn bits(samples: &[Robust]) -> Vec<(bool, Option<usize>, Option<Vec<u32>>)> {
    let bits = |delta: &Vec<f32>| delta.iter().map(|d| d.to_bits()).collect();
    samples.iter().map(|one| (one.clean, one.stage, one.delta.as_ref().map(bits))).collect()
}

#[test]
fn batches_of_any_size_give_the_same_adversarial_bytes() {
    let small = Small::new(24).unwrap();
    for norm in [Norm::Linf, Norm::L2] {
        let stages = stages(norm);
        let of = |batch| small.run(&cpu(), &stages, Options { batch, ..Options::default() }).unwrap();
        let whole = of(64);
        assert_eq!(whole.iter().filter(|one| !one.clean).count(), 1);
        let by = |stage: usize| whole.iter().filter(|one| one.stage == Some(stage)).count();
        let counts: Vec<usize> = (0..stages.len()).map(by).collect();
        assert!(counts.iter().filter(|&&count| count > 0).count() >= 4, "{norm:?}: {counts:?}");
        for batch in [1, 7] {
            assert_eq!(bits(&of(batch)), bits(&whole), "{norm:?}, batch {batch}");
        }
    }
}

#[test]
fn what_fools_lies_in_its_ball_and_in_the_box_and_fools_again() {
    let small = Small::new(24).unwrap();
    for norm in [Norm::Linf, Norm::L2] {
        let stages = stages(norm);
        let samples = small.run(&cpu(), &stages, Options::default()).unwrap();
        let mut image = vec![0.0; small.data.volume()];
        for (index, sample) in samples.iter().enumerate() {
            assert_eq!(sample.stage.is_some(), sample.delta.is_some());
            let (Some(stage), Some(delta)) = (sample.stage, &sample.delta) else { continue };
            small.data.image_f32(index, &mut image).unwrap();
            assert!(image.iter().zip(delta).all(|(x, d)| (0.0..=1.0).contains(&(x + d))), "{}", stages[stage].name());
            let size = match norm {
                Norm::Linf => delta.iter().fold(0.0, |most, d| f64::from(d.abs()).max(most)),
                Norm::L2 => delta.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>().sqrt(),
            };
            let eps = stages[stage].eps().value();
            assert!(size <= eps * (1.0 + 1e-5), "{}: {size} > {eps}", stages[stage].name());
        }
        let mut evaluator = Evaluator::new(&cpu(), &small.config, &small.tensors, 5, 0, 0).unwrap();
        let verified = verify(&mut evaluator, &small.data, &samples).unwrap();
        assert!(verified.found > 8 && verified.confirmed == verified.found, "{verified:?}");
    }
}

#[test]
fn a_killed_run_goes_on_inside_the_attack() {
    let small = Small::new(12).unwrap();
    let stages = stages(Norm::Linf);
    let whole = bits(&small.run(&cpu(), &stages, Options::default()).unwrap());
    let folder = std::env::temp_dir().join(format!("vitrum-cascade-{}", std::process::id()));
    let options =
        || Options { batch: 5, save_every: 1, state: Some((folder.clone(), "same".into())), ..Options::default() };
    small.run(&cpu(), &stages, options()).unwrap();
    // A run that was killed has only a part of its journal, and slots of a moment that may be earlier.
    let journal = std::fs::read(folder.join("journal.bin")).unwrap();
    for part in [0, 1, 3, 7, 9] {
        std::fs::write(folder.join("journal.bin"), &journal[..journal.len() * part / 10]).unwrap();
        let again = small.run(&cpu(), &stages, options()).unwrap();
        assert_eq!(bits(&again), whole, "after {part} tenths of the journal");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn larger_radii_leave_fewer_and_the_nearest_distance_agrees_with_them() {
    let small = Small::new(16).unwrap();
    let of =
        |eps: u32| Stage::Apgd(Apgd { steps: 20, ..Apgd::new(Norm::Linf, Eps::fraction(eps, 2550), ApgdLoss::Ce) });
    let curve = small.run(&cpu(), &[of(10), of(100), of(400), of(2550)], Options::default()).unwrap();
    assert!(curve.iter().all(|one| !one.clean || one.stage.is_some()), "an unbounded attack succeeds");
    let fab = Fab { nearest: true, steps: 30, targets: 4, ..Fab::new(Norm::Linf, Eps::length("1e9").unwrap()) };
    let nearest = small.run(&cpu(), &[Stage::Fab(fab)], Options::default()).unwrap();
    let radii = [10.0, 100.0, 400.0, 2550.0].map(|levels| levels / 2550.0);
    for (fooled, near) in curve.iter().zip(&nearest).filter(|(one, _)| one.clean) {
        let distance = near.delta.iter().flatten().fold(0.0_f64, |most, d| f64::from(d.abs()).max(most));
        let radius = fooled.stage.map_or(f64::INFINITY, |stage| radii[stage]);
        // What a ball of that radius holds can't be much nearer than what FAB found.
        assert!(distance > 0.0 && distance <= 1.5 * radius, "nearest {distance}, but fooled within {radius}");
    }
}

#[test]
fn a_stage_that_makes_no_attack_is_refused_by_name() {
    let small = Small::new(4).unwrap();
    let of = |stage: Stage| small.run(&cpu(), &[stage], Options::default()).unwrap_err().to_string();
    let eps = || Eps::fraction(8, 255);
    let nine = of(Stage::Apgd(Apgd::new(Norm::Linf, eps(), ApgdLoss::Targeted)));
    assert!(nine.contains("apgd-t") && nine.contains("5 classes"), "{nine}");
    let none = of(Stage::Square(Square { queries: 0, ..Square::new(Norm::Linf, eps()) }));
    assert!(none.contains("square") && none.contains("queries"), "{none}");
    let weak = AttackConfig { ard: true, ..AttackConfig::default() };
    assert!(of(Stage::Pgd(weak)).contains("ARD"));
}

#[test]
fn autoattack_runs_on_this_machines_adapter_as_on_the_cpu() {
    let Some(adapter) = support::gpu::device() else { return };
    let small = Small::new(6).unwrap();
    let (stages, _) = Version::Standard.stages(Norm::Linf, &Eps::fraction(2, 255), 5);
    let short: Vec<Stage> = stages
        .into_iter()
        .map(|stage| match stage {
            Stage::Apgd(apgd) => Stage::Apgd(Apgd { steps: 10, targets: apgd.targets.min(2), ..apgd }),
            Stage::Fab(fab) => Stage::Fab(Fab { steps: 5, targets: 2, ..fab }),
            Stage::Square(square) => Stage::Square(Square { queries: 20, ..square }),
            stage => stage,
        })
        .collect();
    let on = |device: &Device, batch| small.run(device, &short, Options { batch, ..Options::default() }).unwrap();
    let here = on(adapter, 6);
    // Rounding differs between devices, so that a sample near a boundary may fall to another stage; on one device nothing may.
    assert_eq!(bits(&on(adapter, 2)), bits(&here), "batches of 2 and of 6 on the adapter");
    let fates = |samples: &[Robust]| samples.iter().filter(|one| one.clean && one.stage.is_none()).count();
    assert!(fates(&here).abs_diff(fates(&on(&cpu(), 6))) <= 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn a_seed_decides_where_attempts_start(seed in 0..u64::MAX) {
        let small = Small::new(6).unwrap();
        // Short steps: where an attempt ends tells where it started.
        let config = AttackConfig::pgd(Eps::fraction(128, 255), Eps::fraction(1, 255), 40);
        let stage = [Stage::Pgd(config)];
        let of = |seed| small.run(&cpu(), &stage, Options { seed, ..Options::default() }).unwrap();
        let (one, other) = (of(seed), of(seed + 1));
        prop_assert_eq!(bits(&one), bits(&of(seed)));
        let fooled: Vec<_> = one.iter().zip(&other).filter_map(|(a, b)| Some((a.delta.as_ref()?, b.delta.as_ref()?))).collect();
        prop_assert!(!fooled.is_empty() && fooled.iter().all(|(a, b)| a != b));
    }
}

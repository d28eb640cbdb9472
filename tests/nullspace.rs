//! Nullspaces, exact and approximate (2403.10476): what their definitions promise, on random matrices and in a model.

mod support;

use std::sync::Arc;

use engine::check::random;
use engine::{DType, Device, Result, Store, Tape, Tensor, Var};
use kernels::softmax_distance::softmax_distance;
use kernels::weighted_mean::{Reduction, weighted_mean};
use models::vit::{Run, Vit};
use models::{Normalisation, VitConfig};
use proptest::prelude::*;
use support::vit::{config, images, lively};
use train::data::{Dataset, Loader, Options, Split, open};
use train::inputs::Inputs;
use train::nullspace::approximate::{Noise, NullspaceConfig, Synthesis, Synthesiser};
use train::nullspace::exact::{Nullspace, Tolerance, permuted};

/// A matrix `[rows, columns]` of the given rank at most: a product of two random ones.
fn matrix(rows: usize, columns: usize, rank: usize, seed: u64) -> Vec<f64> {
    let draw = |dims: [usize; 2], name| random::<f64>(&dims, seed, name).map(|tensor| tensor.to_f64());
    let (a, b) = (draw([rows, rank], "a").unwrap_or_default(), draw([rank, columns], "b").unwrap_or_default());
    let entry = |at: usize| (0..rank).map(|k| a[at / columns * rank + k] * b[k * columns + at % columns]).sum();
    (0..rows * columns).map(entry).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_basis_is_null_orthonormal_and_complete(
        seed in any::<u64>(), rows in 1_usize..30, channels in 1_usize..4, patch in 1_usize..5, share in 0.0_f64..1.0,
    ) {
        let columns = channels * patch * patch;
        let full = rows.min(columns);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small count")]
        let rank = if share > 0.5 { full } else { 1 + (share * (full as f64)) as usize }.min(full);
        let weight = matrix(rows, columns, rank, seed);
        let nullspace = Nullspace::full(&weight, [rows, channels, patch, patch], Tolerance::F64).unwrap();
        prop_assert_eq!((nullspace.rank(), nullspace.nullity()), (rank, columns - rank));
        let norm = weight.iter().map(|w| w * w).sum::<f64>().sqrt();
        prop_assert!(nullspace.residual(&weight).unwrap() <= 1e-13 * norm);
        let basis = nullspace.basis().unwrap().to_f64();
        let nullity = nullspace.nullity();
        for i in 0..nullity {
            for j in 0..nullity {
                let dot: f64 = (0..columns).map(|row| basis[row * nullity + i] * basis[row * nullity + j]).sum();
                prop_assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12, "N'N at {i}, {j}: {dot}");
            }
        }
        // Channel by channel the nullspace is a part of the full one.
        let parts = Nullspace::per_channel(&weight, [rows, channels, patch, patch], Tolerance::F64).unwrap();
        prop_assert_eq!(parts.rank() + parts.nullity(), columns);
        prop_assert!(parts.nullity() <= nullity);
        prop_assert!(parts.residual(&weight).unwrap() <= 1e-13 * norm);
        if nullity > 0 {
            let v = nullspace.sample(seed, 0, 0.7).unwrap();
            let largest = v.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            prop_assert!((largest - 0.7).abs() < 1e-12);
            for row in weight.chunks_exact(columns) {
                let product: f64 = row.iter().zip(&v).map(|(w, v)| w * v).sum();
                prop_assert!(product.abs() < 1e-12 * norm);
            }
        } else {
            prop_assert!(nullspace.sample(seed, 0, 0.7).is_err());
        }
    }
}

/// A model in a store, with inputs and a plan that gives logits.
fn logits(config: &VitConfig, tensors: &[(String, Tensor)], images: &Tensor) -> Result<Vec<f64>> {
    let mut store = Store::new(Device::cpu(Some(2))?)?;
    let vit = Vit::new(&mut store, "params", config.clone(), tensors, DType::F32)?;
    let images = store.constant("images", engine::Role::Data, images)?;
    let mut tape = Tape::new();
    let images = tape.var(&store, images)?;
    let logits = vit.forward(&mut tape, &store, images, &Run::default())?.logits;
    let plan = tape.plan(&mut store, &[logits])?;
    plan.replay(&mut store)?;
    Ok(plan.read(&store, logits)?.to_f64())
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    engine::check::max_error(a, b)
}

#[test]
fn null_noise_leaves_the_logits_and_permuted_noise_does_not() {
    // 192 columns and width 96, as the demo's model.
    let config = VitConfig { patch: 8, image: [32, 32], normalisation: Normalisation::imagenet(), ..config(96, 2, 3) };
    let tensors = lively(&config, 4).unwrap();
    let weight = tensors.iter().find(|(name, _)| name == "patch_embed.proj.weight").unwrap().1.to_f64();
    let x = images(4, &config, 9).unwrap();
    let clean = logits(&config, &tensors, &x).unwrap();
    let spread = clean.iter().fold(0.0_f64, |most, z| most.max(z.abs()));
    let noisy = |noise: &dyn Fn(u32) -> Vec<f32>| {
        let mut moved = x.clone();
        let pixels = moved.values_mut::<f32>().unwrap();
        for (index, image) in (0..).zip(pixels.chunks_exact_mut(3 * 32 * 32)) {
            image.iter_mut().zip(noise(index)).for_each(|(x, v)| *x += v);
        }
        largest_difference(&logits(&config, &tensors, &moved).unwrap(), &clean)
    };
    for nullspace in [
        Nullspace::full(&weight, [96, 3, 8, 8], Tolerance::F32).unwrap(),
        Nullspace::full(&weight, [96, 3, 8, 8], Tolerance::F64).unwrap(),
    ] {
        assert_eq!((nullspace.rank(), nullspace.nullity()), (96, 96));
        for linf in [0.1, 1.0] {
            let draw = |index| nullspace.image_noise(5, index, linf, [32, 32], &config.normalisation.std).unwrap();
            let null = noisy(&draw);
            let control = noisy(&|index| permuted(&draw(index), 5, index));
            assert!(null < 1e-4 * spread, "noise of {linf}: logits of {spread} move by {null}");
            assert!(control > 1000.0 * null, "noise of {linf}: null {null}, permuted {control}");
        }
    }
}

#[test]
fn noise_in_normalised_space_must_be_scaled_by_the_deviations() {
    // What forgetting to leave normalised space would do: a null vector of one deviation is none of another per channel.
    let config = VitConfig {
        patch: 8,
        image: [16, 16],
        normalisation: Normalisation { mean: vec![0.5; 3], std: vec![0.1, 0.5, 2.0] },
        ..config(96, 1, 3)
    };
    let tensors = lively(&config, 4).unwrap();
    let weight = tensors.iter().find(|(name, _)| name == "patch_embed.proj.weight").unwrap().1.to_f64();
    let nullspace = Nullspace::full(&weight, [96, 3, 8, 8], Tolerance::F32).unwrap();
    let x = images(1, &config, 9).unwrap();
    let clean = logits(&config, &tensors, &x).unwrap();
    let moved = |std: &[f32]| {
        let mut moved = x.clone();
        let noise = nullspace.image_noise(1, 0, 0.5, [16, 16], std).unwrap();
        moved.values_mut::<f32>().unwrap().iter_mut().zip(noise).for_each(|(x, v)| *x += v);
        largest_difference(&logits(&config, &tensors, &moved).unwrap(), &clean)
    };
    let (right, wrong) = (moved(&config.normalisation.std), moved(&[1.0; 3]));
    assert!(wrong > 1000.0 * right, "{right} {wrong}");
}

/// Synthesis on a random model.
struct Bench {
    store: Store,
    vit: Vit,
    inputs: Inputs,
    loader: Loader,
}

fn bench() -> Result<Bench> {
    let config = VitConfig { image: [32, 32], patch: 8, classes: 10, ..config(24, 2, 2) };
    let data = open("synthetic", Split::Train, &Options { limit: Some(32), ..Options::default() })?;
    let data: Arc<Dataset> = Arc::new(data);
    let mut store = Store::new(Device::cpu(Some(2))?)?;
    let vit = Vit::new(&mut store, "params", config.clone(), &lively(&config, 2)?, DType::F32)?;
    let inputs = Inputs::new(&mut store, &config, 16)?;
    Ok(Bench { store, vit, inputs, loader: Loader::train(data, 16, 1, train::data::Augment::default())? })
}

/// Mean squared distance of probabilities with and without `noise`, over all batches of an epoch.
fn influence(bench: &mut Bench, noise: &[f32]) -> Result<f64> {
    let Bench { store, vit, inputs, loader } = bench;
    let var: Var = store.data_var("probe", DType::F32, &[1, vit.config().patches(), vit.config().width])?;
    store.write_values(var, noise)?;
    let mut tape = Tape::new();
    let images = tape.var(store, inputs.images)?;
    let weights = tape.var(store, inputs.weights)?;
    let noise = tape.var(store, var)?;
    let patches = vit.embed(&mut tape, store, images)?;
    let clean = vit.encode(&mut tape, store, patches, &Run::default())?.logits;
    let noisy = vit.encode(&mut tape, store, patches, &Run { noise: Some(noise), ..Run::default() })?.logits;
    let distance = softmax_distance(&mut tape, clean, noisy)?;
    let mean = weighted_mean(&mut tape, distance, weights, Reduction::Mean)?;
    let plan = tape.plan(store, &[mean])?;
    let (mut sum, mut count) = (0.0, 0.0);
    for batch in loader.start(0, 0)? {
        let batch = batch?;
        inputs.write(store, &batch)?;
        plan.replay(store)?;
        sum += plan.read(store, mean)?.to_f64()[0];
        count += 1.0;
    }
    Ok(sum / count)
}

/// Synthesises noise; gives the report and the noise.
fn synthesise(bench: &mut Bench, config: &NullspaceConfig) -> Result<(Synthesis, Vec<f32>)> {
    let synthesiser = Synthesiser::new(&mut bench.store, &bench.vit, &bench.inputs, config)?;
    let report = synthesiser.run(&mut bench.store, &bench.inputs, &bench.loader, 3, 0)?;
    let noise = bench.store.read(synthesiser.noise(&bench.store)?)?;
    assert_eq!(noise.dims(), [1, 16, 24], "one token noise for all images, patch tokens only");
    Ok((report, noise.values::<f32>()?.to_vec()))
}

#[test]
fn learned_noise_changes_less_than_the_same_values_permuted() {
    let mut bench = bench().unwrap();
    let config = NullspaceConfig { eps: 1e-3, rounds: 60, share: 1.0, ..NullspaceConfig::default() };
    let (report, noise) = synthesise(&mut bench, &config).unwrap();
    let start = synthesise(&mut bench, &NullspaceConfig { eps: 1e9, ..config.clone() }).unwrap();
    assert!(report.reached && report.influence < 1e-3, "{report:?}");
    assert!(start.0.reached && start.0.steps == 0, "tested before the first update: {:?}", start.0);
    assert!(
        start.1.iter().all(|x| x.abs() <= 3.0) && start.1.iter().any(|x| x.abs() > 2.5),
        "uniform within the limit"
    );
    let [learned, before, control] =
        [noise.clone(), start.1, permuted(&noise, 3, 0)].map(|noise| influence(&mut bench, &noise).unwrap());
    assert!(learned < 0.2 * before, "learned {learned}, at the start {before}");
    assert!(control > 5.0 * learned, "learned {learned}, permuted {control}");
    assert!(report.norm > 0.3 * report.start_norm, "it is large: {report:?}");
}

#[test]
fn controls_do_what_they_say() {
    let mut bench = bench().unwrap();
    let config = NullspaceConfig { eps: 1e-3, rounds: 60, share: 1.0, ..NullspaceConfig::default() };
    let (learned, noise) = synthesise(&mut bench, &config).unwrap();
    let with = |noise| NullspaceConfig { noise, ..config.clone() };
    let (report, shuffled) = synthesise(&mut bench, &with(Noise::Permuted)).unwrap();
    let sorted = |values: &[f32]| {
        let mut values = values.to_vec();
        values.sort_by(f32::total_cmp);
        values
    };
    assert_ne!(noise, shuffled);
    assert_eq!(sorted(&noise), sorted(&shuffled), "the same values in another order");
    assert!((report.norm - learned.norm).abs() < 1e-6 * learned.norm);
    let (report, none) = synthesise(&mut bench, &with(Noise::None)).unwrap();
    assert!(none.iter().all(|&x| x == 0.0) && report.steps == 0);
    let (report, scaled) = synthesise(&mut bench, &with(Noise::Random)).unwrap();
    assert!(report.reached && influence(&mut bench, &scaled).unwrap() < 2e-3, "{report:?}");
    let stubborn = NullspaceConfig { early_stop: false, rounds: 2, eps: 1e9, ..config };
    assert_eq!(synthesise(&mut bench, &stubborn).unwrap().0.steps, 4, "two rounds of two batches");
}

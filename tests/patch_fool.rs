//! MIM and Patch-Fool against what their public implementations compute (`goldens/attacks.py`), and what Patch-Fool promises
//! whatever the weights.

mod support;

use std::path::Path;

use engine::check::max_error;
use engine::{DType, Device, Result, Store};
use models::tensor_file::TensorFile;
use models::{LoadOptions, Loaded, Vit, VitConfig, load};
use support::vit::{config, images, lively};
use train::attack::patch_fool::{PatchFool, PatchFoolConfig, Selection};
use train::attack::{Attack, AttackConfig};
use train::data::loader::{NO_SAMPLE, Samples};
use train::eps::Eps;
use train::inputs::Inputs;

const VOLUME: usize = 3 * 16 * 16;
const COUNT: usize = 9;

fn golden() -> Result<(Loaded, TensorFile)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens");
    let options = LoadOptions {
        heads: Some(2),
        norm_eps: Some(1e-6),
        normalise: Some("imagenet".to_owned()),
        ..LoadOptions::default()
    };
    Ok((
        load(folder.join("attacks.safetensors"), &options)?,
        TensorFile::open(folder.join("attacks_golden.safetensors"))?,
    ))
}

/// The CPU, and this machine's adapter where there is one.
fn devices() -> Result<Vec<Device>> {
    Ok([Device::cpu(Some(2))?].into_iter().chain(support::gpu::device().cloned()).collect())
}

/// Samples `first ..` of images with labels, padded to a batch; `ids` count from 100.
fn samples(pixels: &[f32], labels: &[i32], first: usize, batch: usize) -> Samples {
    let count = batch.min(labels.len() - first);
    let mut images = pixels[first * VOLUME..(first + count) * VOLUME].to_vec();
    images.resize(batch * VOLUME, 0.0);
    let label = |at: usize| if at < count { labels[first + at] } else { 0 };
    Samples {
        images,
        targets: (0..batch * 5)
            .map(|i| f32::from(u8::from(usize::try_from(label(i / 5)).is_ok_and(|label| label == i % 5))))
            .collect(),
        labels: (0..batch).map(label).collect(),
        ids: (0..batch)
            .map(|at| if at < count { u32::try_from(100 + first + at).unwrap_or(0) } else { NO_SAMPLE })
            .collect(),
        weights: (0..batch).map(|at| f32::from(u8::from(at < count))).collect(),
        count,
    }
}

/// A model in a store with the golden images as one batch.
fn prepared(device: Device, loaded: &Loaded, file: &TensorFile) -> Result<(Store, Vit, Inputs)> {
    let mut store = Store::new(device)?;
    let vit = Vit::new(&mut store, "params", loaded.config.clone(), &loaded.tensors, DType::F32)?;
    let inputs = Inputs::new(&mut store, &loaded.config, 3)?;
    let (images, labels) = (file.read("images")?, file.read("labels")?);
    inputs.write(&mut store, &samples(images.values()?, labels.values()?, 0, 3))?;
    inputs.clear_delta(&mut store)?;
    Ok((store, vit, inputs))
}

#[test]
fn mim_ends_where_torch_ends() {
    let (loaded, file) = golden().unwrap();
    for device in devices().unwrap() {
        let (mut store, vit, inputs) = prepared(device, &loaded, &file).unwrap();
        let config = AttackConfig::mim(Eps::fraction(8, 255), Eps::fraction(2, 255), 10);
        Attack::new(&mut store, &vit, &inputs, &config).unwrap().run(&mut store, 1, 0, 1.0).unwrap();
        let delta = store.read(inputs.delta).unwrap().to_f64();
        let ours: Vec<f64> = file.read("images").unwrap().to_f64().iter().zip(delta).map(|(x, d)| x + d).collect();
        let error = max_error(&ours, &file.read("mim.adversarial").unwrap().to_f64());
        assert!(error < 3e-7, "{}: {error:e}", store.device().name());
    }
}

/// The places of the three largest of each row.
fn order(scores: &[f64], width: usize) -> Vec<Vec<usize>> {
    scores
        .chunks(width)
        .map(|row| {
            let mut places: Vec<usize> = (0..width).collect();
            places.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            places.truncate(3);
            places
        })
        .collect()
}

#[test]
fn patches_are_chosen_as_torch_chooses_them() {
    let (loaded, file) = golden().unwrap();
    for (select, key) in [(Selection::Attention, "patch.received"), (Selection::Saliency, "patch.saliency")] {
        let expected = order(&file.read(key).unwrap().to_f64(), 16);
        for device in devices().unwrap() {
            let (mut store, vit, inputs) = prepared(device, &loaded, &file).unwrap();
            let config = PatchFoolConfig { select, patches: 3, ..PatchFoolConfig::default() };
            let attack = PatchFool::new(&mut store, &vit, &inputs, &config).unwrap();
            assert_eq!(attack.choose(&mut store, 1, 0).unwrap(), expected, "{select:?} {}", store.device().name());
        }
    }
}

#[test]
fn patch_fool_ends_where_torch_ends() {
    let (loaded, file) = golden().unwrap();
    let chosen: Vec<Vec<usize>> = order(&file.read("patch.received").unwrap().to_f64(), 16)
        .into_iter()
        .map(|places| places[..1].to_vec())
        .collect();
    let expected = file.read("patch.pixels").unwrap().to_f64();
    let start = file.read("patch.start").unwrap();
    for (published, expected) in [false, true].into_iter().zip(expected.chunks(3 * VOLUME)) {
        for device in devices().unwrap() {
            let (mut store, vit, inputs) = prepared(device, &loaded, &file).unwrap();
            let config = PatchFoolConfig {
                steps: 12,
                attention_weight: 0.5,
                published_projection: published,
                early_stop: false,
                ..PatchFoolConfig::default()
            };
            let attack = PatchFool::new(&mut store, &vit, &inputs, &config).unwrap();
            attack.start(&mut store, &chosen, 1, 0).unwrap();
            attack.run_from(&mut store, start.values().unwrap()).unwrap();
            let ours = attack.patch(&store).unwrap().to_f64();
            let first = start.to_f64();
            let mut inside = 0;
            for ((ours, first), &expected) in ours.iter().zip(first).zip(expected) {
                // The file has zeros outside of the patch, where nothing moves.
                let expected = if expected == 0.0 { first } else { expected };
                inside += usize::from(expected != first);
                let error = (ours - expected).abs();
                // Ten times the error of torch's own f32.
                assert!(error < 1.5e-5, "published {published}, {}: {error:e}", store.device().name());
            }
            assert_eq!(inside, 3 * 48, "the patches are 4 x 4 pixels of three channels");
        }
    }
}

fn small() -> VitConfig {
    config(24, 6, 2)
}

/// Perturbations of all images in batches of `batch`.
fn attacked(config: &PatchFoolConfig, batch: usize, threads: usize) -> Result<Vec<f32>> {
    let model = small();
    let mut store = Store::new(Device::cpu(Some(threads))?)?;
    let vit = Vit::new(&mut store, "params", model.clone(), &lively(&model, 1)?, DType::F32)?;
    let inputs = Inputs::new(&mut store, &model, batch)?;
    let attack = PatchFool::new(&mut store, &vit, &inputs, config)?;
    let pixels = images(COUNT, &model, 3)?;
    let labels: Vec<i32> = (0..COUNT).map(|at| i32::try_from(at % 5).unwrap_or(0)).collect();
    let mut deltas = Vec::new();
    for first in (0..COUNT).step_by(batch) {
        let samples = samples(pixels.values()?, &labels, first, batch);
        inputs.write(&mut store, &samples)?;
        attack.run(&mut store, 5, 40)?;
        deltas.extend(&store.read(inputs.delta)?.values::<f32>()?[..samples.count * VOLUME]);
    }
    Ok(deltas)
}

fn variants() -> Vec<PatchFoolConfig> {
    let short = PatchFoolConfig { steps: 5, attention_weight: 0.1, ..PatchFoolConfig::default() };
    vec![
        short.clone(),
        PatchFoolConfig { select: Selection::Random, patches: 2, early_stop: false, ..short.clone() },
        PatchFoolConfig { select: Selection::Saliency, mild: Some(Eps::fraction(8, 255)), ..short.clone() },
        PatchFoolConfig { pixels: Some(7), published_projection: true, ..short },
    ]
}

#[test]
fn patch_fool_does_not_depend_on_batching_or_threads() {
    for config in variants() {
        let together = attacked(&config, COUNT, 1).unwrap();
        for (batch, threads) in [(1, 1), (7, 2), (64, 2)] {
            assert_eq!(together, attacked(&config, batch, threads).unwrap(), "{} in batches of {batch}", config.name());
        }
    }
}

#[test]
fn only_the_chosen_pixels_change_and_stay_in_range() {
    let pixels = images(COUNT, &small(), 3).unwrap();
    for config in variants() {
        let deltas = attacked(&config, COUNT, 2).unwrap();
        for (x, delta) in pixels.values::<f32>().unwrap().chunks(VOLUME).zip(deltas.chunks(VOLUME)) {
            let touched: Vec<usize> = (0..256).filter(|at| (0..3).any(|c| delta[c * 256 + at] != 0.0)).collect();
            let mut patches: Vec<usize> = touched.iter().map(|at| at / 16 / 4 * 4 + at % 16 / 4).collect();
            patches.dedup();
            patches.sort_unstable();
            patches.dedup();
            let most = usize::try_from(config.patches).unwrap();
            assert_eq!(patches.len(), most, "{}: patches", config.name());
            let pixels = config.pixels.map_or(most * 16, |count| usize::try_from(count).unwrap());
            // A pixel may happen to keep its value, though hardly in all channels.
            assert_eq!(touched.len(), pixels, "{}: pixels", config.name());
            assert!(x.iter().zip(delta).all(|(x, d)| (0.0..=1.0).contains(&(x + d))), "{}: range", config.name());
            if let Some(eps) = &config.mild {
                let most = delta.iter().fold(0.0_f32, |most, d| most.max(d.abs()));
                assert!(f64::from(most) <= eps.value() + 1e-6, "{}: {most}", config.name());
            }
        }
    }
}

/// The largest wrong logit minus the right one, of images plus perturbations.
fn margins(deltas: &[f32]) -> Result<Vec<f32>> {
    use engine::Tape;
    use models::vit::Run;
    let model = small();
    let mut store = Store::new(Device::cpu(Some(1))?)?;
    let vit = Vit::new(&mut store, "params", model.clone(), &lively(&model, 1)?, DType::F32)?;
    let attacked: Vec<f32> =
        images(COUNT, &model, 3)?.values::<f32>()?.iter().zip(deltas).map(|(x, d)| x + d).collect();
    let x = store.data_var("x", DType::F32, &[COUNT, 3, 16, 16])?;
    store.write_values(x, &attacked)?;
    let mut tape = Tape::new();
    let x = tape.var(&store, x)?;
    let logits = vit.forward(&mut tape, &store, x, &Run::default())?.logits;
    let plan = tape.plan(&mut store, &[logits])?;
    plan.replay(&mut store)?;
    let logits = plan.read(&store, logits)?;
    let rows = logits.values::<f32>()?.chunks(5).enumerate();
    Ok(rows
        .map(|(at, row)| {
            let others = row.iter().enumerate().filter(|&(class, _)| class != at % 5);
            others.fold(f32::NEG_INFINITY, |most, (_, &z)| most.max(z)) - row[at % 5]
        })
        .collect())
}

#[test]
fn more_steps_never_lose_what_was_found() {
    let margin = |steps, early_stop| {
        let config = PatchFoolConfig { steps, early_stop, ..PatchFoolConfig::default() };
        margins(&attacked(&config, COUNT, 2).unwrap()).unwrap()
    };
    let (few, many, stopped) = (margin(3, false), margin(30, false), margin(30, true));
    let clean = margins(&vec![0.0; COUNT * VOLUME]).unwrap();
    let grown = few.iter().zip(&many).filter(|(few, many)| many > few).count();
    assert!(grown > COUNT / 2, "{few:?} {many:?}");
    for at in 0..COUNT {
        // Judged with the pixels as the attack made them; here they are a rounding away.
        assert!(many[at] >= few[at] - 1e-4, "sample {at}: {} after {}", many[at], few[at]);
        assert_eq!(stopped[at] > 0.0, many[at] > 0.0, "sample {at}: stopping early changes no success");
    }
    let fooled = |margins: &[f32]| margins.iter().filter(|&&margin| margin > 0.0).count();
    assert!(fooled(&stopped) > fooled(&clean), "{clean:?} {stopped:?}");
}

//! Two small models of random weights against PyTorch and timm (`goldens/README.md`).
//!
//! In f32 the bound is ten times the error of PyTorch's own f32; in f64 what remains is that gradients lie in the files as f32,
//! and that means and deviations of the normalisation are f32 here.
#![allow(clippy::unwrap_used, dead_code, reason = "the bodies of tests; each suite has some of them")]

use std::path::{Path, PathBuf};

use engine::check::{evaluate, max_error, nmse};
use engine::{DType, Device, Result, Tape, Tensor, Value};
use kernels::combine::combine;
use kernels::common::attack::Step;
use kernels::linf_step::linf_step;
use kernels::mart::mart;
use kernels::weighted_mean::{Reduction, weighted_mean};
use models::tensor_file::TensorFile;
use models::vit::Run;
use models::{LoadOptions, Loaded, load};
use train::losses::trades;

use super::vit::{Net, to};

/// Devices, and the types in which they compute.
pub type Places<'p> = &'p [(Device, DType)];

struct Golden {
    name: &'static str,
    loaded: Loaded,
    file: TensorFile,
    labels: Vec<i32>,
}

fn folder() -> PathBuf {
    // A bundle for machines without Rust carries them elsewhere.
    let folder = std::env::var_os("VITRUM_GOLDENS").map(PathBuf::from);
    folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens"))
}

fn golden(name: &'static str, heads: usize) -> Result<Golden> {
    let folder = folder();
    let options = LoadOptions {
        heads: Some(heads),
        norm_eps: Some(1e-6),
        normalise: Some("imagenet".to_owned()),
        ..LoadOptions::default()
    };
    let loaded = load(folder.join(format!("{name}.safetensors")), &options)?;
    let file = TensorFile::open(folder.join(format!("{name}_golden.safetensors")))?;
    let labels = file.read("labels")?.values::<i32>()?.to_vec();
    Ok(Golden { name, loaded, file, labels })
}

fn goldens() -> Result<[Golden; 2]> {
    Ok([golden("vit", 2)?, golden("deit", 3)?])
}

impl Golden {
    fn net(&self, device: &Device, dtype: DType, images: &Tensor) -> Result<Net> {
        Net::new(device.clone(), &self.loaded.config, &self.loaded.tensors, dtype, images, &self.labels)
    }

    fn read(&self, key: &str) -> Result<Tensor> {
        self.file.read(key)
    }

    /// Largest relative error of losses.
    fn losses(&self, key: &str, ours: &[f64]) -> Result<f64> {
        let theirs = self.read(key)?.to_f64();
        assert_eq!(theirs.len(), ours.len());
        Ok(ours.iter().zip(theirs).map(|(a, b)| ((a - b) / b).abs()).fold(0.0, f64::max))
    }
}

/// Bound on |a - b|^2 / |b|^2, by type.
fn bound(dtype: DType) -> f64 {
    if dtype == DType::F32 { 5e-12 } else { 1e-13 }
}

pub fn logits_features_and_every_gradient(places: Places) {
    for golden in goldens().unwrap() {
        for (device, dtype) in places {
            let mut net = golden.net(device, *dtype, &golden.read("images").unwrap()).unwrap();
            let mut tape = Tape::new();
            let images = tape.var(&net.store, net.images).unwrap();
            let (output, loss) = net.loss(&mut tape, images, &Run::default()).unwrap();
            let names: Vec<String> = golden.loaded.tensors.iter().map(|(name, _)| name.clone()).collect();
            let leaves = names.iter().map(|name| {
                let var = net.store.find(net.vit.params(), name).unwrap();
                tape.var(&net.store, var).unwrap()
            });
            let mut leaves: Vec<_> = leaves.collect();
            leaves.push(images);
            let gradients = tape.gradients(loss, &leaves).unwrap();
            let mut keep = vec![output.logits, output.features, loss];
            keep.extend(&gradients);
            let plan = tape.plan(&mut net.store, &keep).unwrap();
            plan.replay(&mut net.store).unwrap();

            let mut pairs = vec![("logits".to_owned(), output.logits), ("features".to_owned(), output.features)];
            pairs.push(("loss".to_owned(), loss));
            pairs.extend(names.iter().map(|name| format!("grad.{name}")).zip(gradients.iter().copied()));
            pairs.push(("d_images".to_owned(), gradients[names.len()]));
            assert_eq!(
                golden.file.names().iter().filter(|key| key.starts_with("grad.")).count(),
                names.len(),
                "the goldens hold as many gradients as the model has parameters"
            );
            for (key, value) in pairs {
                let error = nmse(&plan.read(&net.store, value).unwrap().to_f64(), &golden.read(&key).unwrap().to_f64());
                assert!(error < bound(*dtype), "{} {} {dtype} {key}: {error:e}", golden.name, device.name());
            }
        }
    }
}

pub fn ten_steps_of_sgd(places: Places) {
    for golden in goldens().unwrap() {
        for (device, dtype) in places {
            let bound = if *dtype == DType::F32 { 1e-5 } else { 1e-6 };
            let mut net = golden.net(device, *dtype, &golden.read("images").unwrap()).unwrap();
            let (plan, loss) = net.training(0.05, 0.9, 1e-4, f64::INFINITY, true).unwrap();
            let mut losses = Vec::new();
            for _ in 0..=10 {
                plan.replay(&mut net.store).unwrap();
                losses.push(plan.read(&net.store, loss).unwrap().to_f64()[0]);
            }
            let error = golden.losses("sgd.losses", &losses).unwrap();
            assert!(error < bound, "{} {} {dtype}: {error:e}", golden.name, device.name());
            assert!(losses[10] < 0.7 * losses[0], "{losses:?}");
        }
    }
}

pub fn five_steps_of_pgd(places: Places) {
    for golden in goldens().unwrap() {
        for (device, dtype) in places {
            let (loss_bound, image_bound) = if *dtype == DType::F32 { (1e-6, 2e-7) } else { (1e-7, 1e-7) };
            let clean = golden.read("images").unwrap();
            let noise = golden.read("pgd.noise").unwrap();
            let mut net = golden.net(device, *dtype, &clean).unwrap();
            let mut tape = Tape::new();
            let images = tape.var(&net.store, net.images).unwrap();
            let delta = net.store.single("delta", engine::Role::Data, net.store.spec(net.images).unwrap()).unwrap();
            let start = clean.to_f64().into_iter().zip(noise.to_f64()).map(|(x, n)| (x + n).clamp(0.0, 1.0) - x);
            let start = Tensor::new(clean.dims(), &start.collect::<Vec<f64>>()).unwrap();
            net.store.write(delta, &to(*dtype, &start).unwrap()).unwrap();
            let moved = tape.var(&net.store, delta).unwrap();
            let adversarial = combine(&mut tape, &[(1.0, images), (1.0, moved)]).unwrap();
            let (_, loss) = net.loss(&mut tape, adversarial, &Run::default()).unwrap();
            let gradient = tape.gradients(loss, &[adversarial]).unwrap()[0];
            let (_, eps) = net.scalar(&mut tape, "eps", 8.0 / 255.0).unwrap();
            let (_, alpha) = net.scalar(&mut tape, "alpha", 2.0 / 255.0).unwrap();
            let step = Step { delta, gradient, images, eps, alpha, active: None };
            linf_step(&mut tape, &net.store, step).unwrap();
            let plan = tape.plan(&mut net.store, &[loss, adversarial]).unwrap();
            let mut losses = Vec::new();
            for _ in 0..=5 {
                plan.replay(&mut net.store).unwrap();
                losses.push(plan.read(&net.store, loss).unwrap().to_f64()[0]);
            }
            // The sixth replay computed the loss of the fifth iterate before it stepped on.
            let last = plan.read(&net.store, adversarial).unwrap().to_f64();
            let error = golden.losses("pgd.losses", &losses).unwrap();
            assert!(error < loss_bound, "{} {} {dtype}: loss {error:e}", golden.name, device.name());
            let error = engine::check::max_error(&last, &golden.read("pgd.adversarial").unwrap().to_f64());
            assert!(error < image_bound, "{} {} {dtype}: last iterate {error:e}", golden.name, device.name());
        }
    }
}

/// Largest difference, of the largest value.
fn relative(ours: &Tensor, theirs: &Tensor) -> f64 {
    let theirs = theirs.to_f64();
    max_error(&ours.to_f64(), &theirs) / theirs.iter().fold(0.0_f64, |most, value| most.max(value.abs()))
}

/// TRADES and MART: values, and gradients to the logits of both branches.
pub fn trades_and_mart(places: Places) {
    const BETA: f32 = 6.0;
    let file = TensorFile::open(folder().join("losses_golden.safetensors")).unwrap();
    let config = file.metadata("config").unwrap();
    for (device, dtype) in places {
        for (set, loss) in [("mild", "trades"), ("mild", "mart"), ("confident", "trades"), ("confident", "mart")] {
            let read = |key: &str| file.read(&format!("{set}.{key}")).unwrap();
            let labels = read("labels");
            let classes = read("clean").dims()[1];
            let targets = Tensor::from_fn::<f64>(read("clean").dims(), |at| {
                f64::from(u8::from(labels.to_f64()[at / classes] == (at % classes) as f64))
            });
            let weights = Tensor::new(labels.dims(), &vec![1.0; labels.dims()[0]]).unwrap();
            let floats = [read("clean"), read("attacked"), targets.unwrap(), weights].map(|x| to(*dtype, &x).unwrap());
            let inputs: Vec<Tensor> = floats.into_iter().chain([labels]).collect();
            let build = |tape: &mut Tape, x: &[Value]| match loss {
                "trades" => trades(tape, x[0], x[1], x[2], x[3], BETA),
                _ => {
                    let losses = mart(tape, x[0], x[1], x[4], f64::from(BETA))?;
                    weighted_mean(tape, losses, x[3], Reduction::Mean)
                }
            };
            let found = evaluate(device, &build, &inputs, &[0, 1], None).unwrap();
            let parts =
                [("loss", &found.output), ("d_clean", &found.gradients[0]), ("d_attacked", &found.gradients[1])];
            for (part, ours) in parts {
                let key = format!("{set}.{loss}.{part}");
                // Where PyTorch's own f32 is far off, twice of that is allowed; constants of the loss are f32 here.
                let theirs = single(config, &key);
                let bound = if *dtype == DType::F64 { 1e-10 } else { 1e-6_f64.max(2.0 * theirs) };
                let error = relative(ours, &file.read(&key).unwrap());
                assert!(error < bound, "{key} on {}, {dtype:?}: {error:e} exceeds {bound:e}", device.description());
            }
        }
    }
}

/// The error of PyTorch's f32 that the file states for `key`.
fn single(config: &str, key: &str) -> f64 {
    let after = config.split(&format!("\"{key}\": ")).nth(1).unwrap();
    after.split([',', '}']).next().unwrap().parse().unwrap()
}

//! Against PyTorch and timm: two small models of random weights (`goldens/`), and a real one that others trained.
//!
//! In f32 the bound is ten times the error of PyTorch's own f32 (see `goldens/README.md`); in f64 what remains is that
//! gradients lie in the files as f32, and that means and deviations of the normalisation are f32 here.

mod support;

use std::path::Path;

use engine::check::nmse;
use engine::{DType, Device, Result, Tape, Tensor};
use kernels::combine::combine;
use kernels::common::attack::Step;
use kernels::linf_step::linf_step;
use models::tensor_file::TensorFile;
use models::vit::Run;
use models::{LoadOptions, Loaded, load};
use support::vit::{Net, to};

struct Golden {
    name: &'static str,
    loaded: Loaded,
    file: TensorFile,
    labels: Vec<i32>,
}

fn golden(name: &'static str, heads: usize) -> Result<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens");
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

/// Where and in which type the goldens are computed: on the CPU in both, on this machine's adapter in f32.
fn places() -> Vec<(Device, DType)> {
    let cpu = Device::cpu(Some(2)).unwrap_or_else(|error| unreachable!("{error}"));
    let adapter = support::gpu::device().map(|device| (device.clone(), DType::F32));
    [(cpu.clone(), DType::F32), (cpu, DType::F64)].into_iter().chain(adapter).collect()
}

/// Bound on |a - b|^2 / |b|^2, by type.
fn bound(dtype: DType) -> f64 {
    if dtype == DType::F32 { 5e-12 } else { 1e-13 }
}

#[test]
fn logits_features_and_every_gradient() {
    for golden in goldens().unwrap() {
        for (device, dtype) in places() {
            let mut net = golden.net(&device, dtype, &golden.read("images").unwrap()).unwrap();
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
                assert!(error < bound(dtype), "{} {} {dtype} {key}: {error:e}", golden.name, device.name());
            }
        }
    }
}

#[test]
fn ten_steps_of_sgd() {
    for golden in goldens().unwrap() {
        for (device, dtype) in places() {
            let bound = if dtype == DType::F32 { 1e-5 } else { 1e-6 };
            let mut net = golden.net(&device, dtype, &golden.read("images").unwrap()).unwrap();
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

#[test]
fn five_steps_of_pgd() {
    for golden in goldens().unwrap() {
        for (device, dtype) in places() {
            let (loss_bound, image_bound) = if dtype == DType::F32 { (1e-6, 2e-7) } else { (1e-7, 1e-7) };
            let clean = golden.read("images").unwrap();
            let noise = golden.read("pgd.noise").unwrap();
            let mut net = golden.net(&device, dtype, &clean).unwrap();
            let mut tape = Tape::new();
            let images = tape.var(&net.store, net.images).unwrap();
            let delta = net.store.single("delta", engine::Role::Data, net.store.spec(net.images).unwrap()).unwrap();
            let start = clean.to_f64().into_iter().zip(noise.to_f64()).map(|(x, n)| (x + n).clamp(0.0, 1.0) - x);
            let start = Tensor::new(clean.dims(), &start.collect::<Vec<f64>>()).unwrap();
            net.store.write(delta, &to(dtype, &start).unwrap()).unwrap();
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

mod real_weights {
    //! `vit-mnist`: trained by others in PyTorch, in vit-pytorch's naming.

    use std::path::PathBuf;

    use engine::{DType, Device, Error, Result, Store, Tape};
    use models::vit::{Run, Vit};
    use models::{Activation, Layout, LoadOptions, Loaded, load};
    use train::data::{Dataset, Options, Split, open};
    use train::eval::calibration::Calibration;
    use vitrum_tests::real_data;

    fn model(folder: &std::path::Path) -> Result<Loaded> {
        let options = LoadOptions {
            activation: Some(Activation::Relu),
            norm_eps: Some(1e-5),
            normalise: Some("0.1307/0.3081".to_owned()),
            ..LoadOptions::default()
        };
        load(folder.join("model.safetensors"), &options)
    }

    fn cpu() -> Device {
        Device::cpu(Some(2)).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// The f32 values of a two-dimensional npy file.
    fn npy(path: &PathBuf) -> Result<Vec<f32>> {
        let bad = || Error::new(path.display().to_string(), "not a little-endian f32 npy file of version 1");
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, "read", &error))?;
        let length = bytes.get(8..10).ok_or_else(bad)?;
        let start = 10 + usize::from(u16::from_le_bytes([length[0], length[1]]));
        let header = String::from_utf8_lossy(bytes.get(..start).ok_or_else(bad)?);
        if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
            return Err(bad());
        }
        Ok(bytes[start..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    fn logits(device: Device, loaded: &Loaded, set: &Dataset, batch: usize) -> Result<Vec<f32>> {
        let mut store = Store::new(device)?;
        let vit = Vit::new(&mut store, "params", loaded.config.clone(), &loaded.tensors, DType::F32)?;
        let [c, h, w] = set.dims();
        let images = store.data_var("images", DType::F32, &[batch, c, h, w])?;
        let mut tape = Tape::new();
        let value = tape.var(&store, images)?;
        let output = vit.forward(&mut tape, &store, value, &Run::default())?.logits;
        let plan = tape.plan_with(&mut store, &[output], false)?;
        let mut all = Vec::new();
        let (mut pixels, mut scores) = (vec![0.0; batch * set.volume()], vec![0.0_f32; batch * 10]);
        for start in (0..set.len()).step_by(batch) {
            let count = batch.min(set.len() - start);
            for (at, pixels) in pixels.chunks_exact_mut(set.volume()).take(count).enumerate() {
                set.image_f32(start + at, pixels)?;
            }
            store.write_values(images, &pixels)?;
            plan.replay(&mut store)?;
            plan.read_values(&store, output, &mut scores)?;
            all.extend(&scores[..count * 10]);
        }
        Ok(all)
    }

    /// Samples whose confidence lies so close to the edge of one of 10 or 15 bins that logits off by `error` may cross it.
    fn at_edges(logits: &[f32], error: f32) -> usize {
        let near = |confidence: f64, bins: f64| {
            let place = confidence * bins;
            place < bins - 0.5 && (place - place.round()).abs() < bins * 2.0 * f64::from(error)
        };
        let confidence = |row: &[f32]| {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            1.0 / row.iter().map(|&z| f64::from(z - most).exp()).sum::<f64>()
        };
        logits.chunks_exact(10).filter(|row| near(confidence(row), 10.0) || near(confidence(row), 15.0)).count()
    }

    #[test]
    fn the_official_mnist_test_set_gives_what_pytorch_gave() {
        let (Some(folder), Some(mnist)) = (real_data("vit-mnist"), real_data("mnist")) else { return };
        let loaded = model(&folder).unwrap();
        assert_eq!(loaded.layout, Layout::VitPytorch);
        assert_eq!((loaded.config.heads, loaded.config.head_width, loaded.config.qkv_bias), (4, 64, false));
        let set = open(mnist.to_str().unwrap(), Split::Test, &Options::default()).unwrap();
        let ours = logits(cpu(), &loaded, &set, 128).unwrap();
        let theirs = npy(&folder.join("test_logits.npy")).unwrap();
        assert_eq!(ours.len(), theirs.len());
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{worst}");
        let labels: Vec<i32> = (0..set.len()).map(|i| set.label(i).unwrap()).collect();
        let calibration = Calibration::from_logits(&ours, 10, &labels).unwrap();
        assert_eq!((calibration.correct, calibration.total), (9721, 10_000));
        // A float32 forward differs in the last bits, and a confidence at the edge of a bin then falls on its other side: each
        // such sample moves a binned figure by up to 2 / n, and a bin's own gap by up to 2 over the bin's samples.
        let near = at_edges(&ours, worst);
        assert!(near <= 5, "{near} samples at the edge of a bin: the check would mean little");
        let fewest = calibration.bins.iter().map(|bin| bin.count).filter(|&count| count > 0).min().unwrap_or(1);
        let (binned, gap) = (2e-6 + 2.0 * near as f64 / 1e4, 2e-6 + 2.0 * near as f64 / fewest as f64);
        for (name, ours, published, tolerance) in [
            ("nll", calibration.nll, 0.087_130_2, 2e-6),
            ("brier", calibration.brier, 0.041_785_3, 2e-6),
            ("ece15", calibration.ece15, 0.006_941_0, binned),
            ("ece10", calibration.ece10, 0.006_690_3, binned),
            ("mce15", calibration.mce15, 0.150_444_1, gap),
            ("adaptive ece15", calibration.adaptive_ece15, 0.006_891_5, binned),
        ] {
            println!("{name}: {ours} published {published} tolerance {tolerance:e}");
            assert!((ours - published).abs() < tolerance, "{name}: {ours} and not {published} within {tolerance:e}");
        }
    }

    #[test]
    fn the_adapter_gives_the_same_logits_of_a_thousand_mnist_images() {
        let (Some(folder), Some(mnist)) = (real_data("vit-mnist"), real_data("mnist")) else { return };
        let Some(device) = crate::support::gpu::device() else { return };
        let loaded = model(&folder).unwrap();
        let options = Options { limit: Some(1000), ..Options::default() };
        let set = open(mnist.to_str().unwrap(), Split::Test, &options).unwrap();
        let ours = logits(device.clone(), &loaded, &set, 128).unwrap();
        let theirs = npy(&folder.join("test_logits.npy")).unwrap();
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(ours.len() == 10_000 && worst < 1e-3, "{worst}");
    }

    #[test]
    fn an_mnist_image_gives_the_same_logits_alone_and_in_company() {
        let (Some(folder), Some(mnist)) = (real_data("vit-mnist"), real_data("mnist")) else { return };
        let loaded = model(&folder).unwrap();
        let set =
            open(mnist.to_str().unwrap(), Split::Test, &Options { limit: Some(9), ..Options::default() }).unwrap();
        let alone = logits(cpu(), &loaded, &set, 1).unwrap();
        let together = logits(cpu(), &loaded, &set, 9).unwrap();
        let ragged = logits(cpu(), &loaded, &set, 4).unwrap();
        assert_eq!(alone, together);
        assert_eq!(alone, ragged);
    }

    #[test]
    fn saved_weights_come_back_bit_for_bit() {
        let Some(folder) = real_data("vit-mnist") else { return };
        let loaded = model(&folder).unwrap();
        let path = std::env::temp_dir().join(format!("vitrum-goldens-{}.safetensors", std::process::id()));
        models::save(&path, &loaded.config, &loaded.tensors).unwrap();
        let again = load(&path, &LoadOptions::default());
        std::fs::remove_file(&path).unwrap();
        let again = again.unwrap();
        assert_eq!((again.config, again.tensors), (loaded.config, loaded.tensors));
    }
}

//! Against PyTorch and timm: two small models of random weights (`support/goldens.rs`), and a real one that others trained.

mod support;

use engine::{DType, Device};
use support::goldens;

/// Where and in which type the goldens are computed: on the CPU in both, on this machine's adapter in f32.
fn places() -> Vec<(Device, DType)> {
    let cpu = Device::cpu(Some(2)).unwrap_or_else(|error| unreachable!("{error}"));
    let adapter = support::gpu::device().map(|device| (device.clone(), DType::F32));
    [(cpu.clone(), DType::F32), (cpu, DType::F64)].into_iter().chain(adapter).collect()
}

#[test]
fn logits_features_and_every_gradient() {
    goldens::logits_features_and_every_gradient(&places());
}

#[test]
fn ten_steps_of_sgd() {
    goldens::ten_steps_of_sgd(&places());
}

#[test]
fn five_steps_of_pgd() {
    goldens::five_steps_of_pgd(&places());
}

#[test]
fn trades_and_mart() {
    goldens::trades_and_mart(&places());
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

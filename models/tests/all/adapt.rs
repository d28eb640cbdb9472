//! Adapting weights: against timm's goldens, and by what the adapted kernels compute.

use std::path::Path;

use crate::common::{parameters, small};
use engine::Tensor;
use proptest::prelude::*;
use vitrum_models::{Layout, Loaded, Normalisation, VitConfig, adapt, init, tensor_file::TensorFile};

fn loaded(config: VitConfig) -> Loaded {
    let tensors = parameters(&config);
    Loaded { config, tensors, layout: Layout::Timm, assumed: Vec::new() }
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    a.to_f64().iter().zip(b.to_f64()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn goldens_of_timm_are_met() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/adapt_golden.safetensors");
    let file = TensorFile::open(path).unwrap();
    let read = |name: &str| file.read(name).unwrap();
    // The goldens were computed in f64 and rounded to f32, as ours are: one unit in the last place of values up to 4.
    let down = adapt::resample_positions(&read("down.pos_embed"), 1, [14, 14], [8, 8]).unwrap();
    assert!(largest_difference(&down, &read("down.resampled")) < 5e-7);
    let up = adapt::resample_positions(&read("up.pos_embed"), 2, [5, 5], [8, 8]).unwrap();
    assert!(largest_difference(&up, &read("up.resampled")) < 5e-7);
    let kernel = adapt::shrink_patch(&read("patch.kernel"), 4).unwrap();
    assert!(largest_difference(&kernel, &read("patch.adapted")) < 2e-6);
}

/// `F.interpolate(arange(12.).reshape(1, 1, 3, 4) ** 1.5, size, mode="bicubic", antialias=True)` of torch 2.15, in f32.
#[test]
fn uneven_grids_are_resampled_as_torch_does() {
    let values: Vec<f32> = (0..12_u8).map(|i| f32::from(i).powf(1.5)).collect();
    let tensor = Tensor::new(&[1, 12, 1], &values).unwrap();
    let smaller = adapt::resample_positions(&tensor, 0, [3, 4], [2, 3]).unwrap();
    let expected = [2.500_395, 5.075_426, 8.572_808, 18.582_985, 24.006_578, 29.852_371_f32];
    assert!(largest_difference(&smaller, &Tensor::new(&[1, 6, 1], &expected).unwrap()) < 1e-5);
    let larger = adapt::resample_positions(&tensor, 0, [3, 4], [5, 7]).unwrap();
    let [first, last] = [0, 34].map(|i| larger.values::<f32>().unwrap()[i]);
    assert!((first + 0.670_046_8).abs() < 1e-5 && (last - 38.230_28).abs() < 1e-5, "{first} {last}");
}

#[test]
fn a_model_is_adapted_to_image_patch_and_channels_at_once() {
    let from = VitConfig { image: [32, 32], patch: 8, ..small() };
    let target = VitConfig {
        image: [12, 20],
        patch: 4,
        channels: 1,
        norm_eps: 1e-5,
        normalisation: Normalisation::none(1),
        ..from.clone()
    };
    let before = loaded(from);
    let after = adapt::adapt(before.clone(), &target).unwrap();
    assert_eq!(after.config, target);
    let shapes: Vec<_> = after.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
    assert_eq!(shapes, target.parameters());
    // The class token keeps its position.
    let row = |loaded: &Loaded| loaded.tensor("pos_embed").unwrap().values::<f32>().unwrap()[..128].to_vec();
    assert_eq!(row(&after), row(&before));
    // Nothing to do is nothing done.
    assert_eq!(adapt::adapt(before.clone(), &before.config).unwrap(), before);
}

#[test]
fn what_cannot_be_adapted_is_listed() {
    let before = loaded(small());
    let target = VitConfig { classes: 7, depth: 3, ..small() };
    let text = adapt::adapt(before.clone(), &target).unwrap_err().to_string();
    assert!(text.contains("classes") && text.contains("5, wanted 7") && text.contains("depth"), "{text}");
    for patch in [3, 8] {
        let target = VitConfig { image: [24, 24], patch, ..small() };
        assert!(adapt::adapt(before.clone(), &target).unwrap_err().to_string().contains("divides 4"));
    }
}

#[test]
fn heads_are_replaced_only_when_asked() {
    let before = loaded(VitConfig { distilled: true, ..small() });
    let text = adapt::check_classes(&before.config, 10, "cifar-10").unwrap_err().to_string();
    assert!(text.contains("5 classes") && text.contains("cifar-10  10 classes"), "{text}");
    let after = adapt::adapt_head(before.clone(), 10, 3).unwrap();
    adapt::check_classes(&after.config, 10, "cifar-10").unwrap();
    let shapes: Vec<_> = after.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
    assert_eq!(shapes, after.config.parameters());
    let fresh = init::init(&after.config, 3).unwrap();
    for (name, tensor) in &after.tensors {
        let source = if name.starts_with("head") { &fresh } else { &before.tensors };
        assert!(source.contains(&(name.clone(), tensor.clone())), "{name}");
    }
    // A backbone gets its first head.
    let backbone = adapt::adapt_head(before, 0, 0).unwrap();
    assert!(!backbone.tensors.iter().any(|(name, _)| name.starts_with("head")));
    assert_eq!(adapt::adapt_head(backbone, 10, 3).unwrap(), after);
}

/// A strided patch product in f64: `[d]` for the patch at the origin of an image `[c, h, w]`.
fn product(kernel: &Tensor, image: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
    let [d, c, p, _] = kernel.spec().array("test", "kernel").unwrap();
    let weights = kernel.to_f64();
    let value = |i: usize| weights[i] * image((i / (p * p)) % c, (i / p) % p, i % p);
    (0..d).map(|row| (row * c * p * p..(row + 1) * c * p * p).map(value).sum()).collect()
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4)
}

proptest! {
    #[test]
    fn a_shrunk_kernel_sees_the_image_as_if_enlarged(patch in 1..5_usize, factor in 1..5_usize, c in 1..4_usize) {
        let p = patch * factor;
        let config = VitConfig { patch: p, image: [p, p], channels: c, width: 3, ..small() };
        let kernel = parameters(&config).into_iter().find(|(name, _)| name == "patch_embed.proj.weight").unwrap().1;
        let small = adapt::shrink_patch(&kernel, patch).unwrap();
        let pixel = |channel: usize, y: usize, x: usize| f64::from(u32::try_from(channel * 7 + y * 3 + x * 5).unwrap()).sin();
        prop_assert!(close(&product(&small, pixel), &product(&kernel, |c, y, x| pixel(c, y / factor, x / factor))));
    }

    #[test]
    fn grey_images_look_the_same_to_any_number_of_channels(c in 1..5_usize, channels in 1..5_usize) {
        let config = VitConfig { channels: c, width: 3, ..small() };
        let kernel = parameters(&config).into_iter().find(|(name, _)| name == "patch_embed.proj.weight").unwrap().1;
        let changed = adapt::change_channels(&kernel, channels).unwrap();
        prop_assert_eq!(changed.dims(), &[3, channels, 4, 4]);
        let grey = |_: usize, y: usize, x: usize| f64::from(u32::try_from(y * 3 + x).unwrap()).cos();
        // Equal where every channel is used equally often: always for one channel, else when c divides the new number.
        if channels == 1 || channels.is_multiple_of(c) {
            prop_assert!(close(&product(&changed, grey), &product(&kernel, grey)));
        }
    }

    #[test]
    fn constant_grids_stay_constant_and_prefix_rows_stay(
        from in prop::array::uniform2(1..9_usize), to in prop::array::uniform2(1..9_usize), prefix in 0..3_usize,
    ) {
        let rows = prefix + from[0] * from[1];
        let tensor = Tensor::from_fn(&[1, rows, 2], |i| if i < 2 * prefix { -5.0 } else { 1.5_f32 }).unwrap();
        let out = adapt::resample_positions(&tensor, prefix, from, to).unwrap();
        prop_assert_eq!(out.dims(), &[1, prefix + to[0] * to[1], 2]);
        let values = out.values::<f32>().unwrap();
        prop_assert!(values[..2 * prefix].iter().all(|v| *v == -5.0) && values[2 * prefix..].iter().all(|v| (v - 1.5).abs() < 1e-6));
    }
}

#[test]
fn a_truncated_model_has_the_parameters_of_its_depth() {
    let loaded = loaded(small());
    let depth = loaded.config.depth;
    for blocks in 1..=depth {
        let cut = adapt::truncate(loaded.clone(), blocks).unwrap();
        let expected: Vec<String> = cut.config.parameters().into_iter().map(|(name, _)| name).collect();
        assert_eq!((cut.config.depth, cut.tensors.len()), (blocks, expected.len()));
        for (name, tensor) in &cut.tensors {
            assert!(
                expected.contains(name) && loaded.tensors.iter().any(|(other, old)| other == name && old == tensor)
            );
        }
    }
    for blocks in [0, depth + 1] {
        let error = adapt::truncate(loaded.clone(), blocks).err().unwrap().to_string();
        assert!(error.contains("--blocks") && error.contains(&blocks.to_string()), "{error}");
    }
}

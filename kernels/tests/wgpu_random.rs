//! Random values on wgpu have the CPU's bits: the same masks, the same starts, the same scales.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a failure is to stop the test")]

use engine::check::evaluate;
use engine::device::webgpu::Options;
use engine::rng::Philox;
use engine::{Device, Role, Store, Tape, Tensor};
use vitrum_kernels::cases::{Draw, reproducible};
use vitrum_kernels::patch_mask::patch_mask;
use vitrum_kernels::random_start::{Origin, Start, random_start};
use vitrum_kernels::registry;
use vitrum_kernels::stochastic_scale::{Distribution, Sharing, stochastic_scale};

/// The CPU and the adapter; `None`, and a line that says so, where there is no adapter.
fn devices() -> Option<(Device, Device)> {
    match Device::wgpu(&Options::default()) {
        Ok(gpu) => Some((Device::cpu(Some(2)).unwrap(), gpu)),
        Err(error) => {
            vitrum_tests::skipped(format_args!("random values on wgpu: {error}").to_string().replace('\n', ";"));
            None
        }
    }
}

/// Bits of an f32 tensor.
fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.values::<f32>().unwrap().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn ops_that_draw_give_the_same_bits() {
    let Some((cpu, gpu)) = devices() else { return };
    let names = ["random_start", "patch_mask", "drop_path", "grad_gate", "stochastic_scale"];
    for op in registry().into_iter().filter(|op| names.contains(&op.name)) {
        let random = (0..4).map(|seed| (op.random)(&mut Draw::new(seed)));
        // A direction in the L2 ball is divided by a norm, which the CPU sums in f64.
        for case in op.cases.iter().cloned().chain(random).filter(|case| !case.label.contains(" L2 ")) {
            assert!(reproducible(&case, &cpu, &gpu).unwrap(), "{}", case.label);
        }
    }
}

/// The perturbation that an update of variable `delta` leaves, with float, words and ids at hand.
fn updated(
    device: &Device,
    delta: &Tensor,
    float: f32,
    ids: &[u32],
    state: [u32; 4],
    record: impl Fn(&mut Tape, &Store, engine::Var, [engine::Value; 4]),
) -> Tensor {
    let mut store = Store::new(device.clone()).unwrap();
    let mut add = |name: &str, tensor: &Tensor| store.constant(name, Role::Data, tensor).unwrap();
    let target = add("delta", delta);
    let images = Tensor::from_fn(delta.dims(), |i| if i % 2 == 0 { 0.0_f32 } else { 1.0 }).unwrap();
    let vars = [
        add("images", &images),
        add("ids", &Tensor::new(&[ids.len()], ids).unwrap()),
        add("float", &Tensor::new(&[1], &[float]).unwrap()),
        add("state", &Tensor::new(&[4], &state).unwrap()),
    ];
    let mut tape = Tape::new();
    let values = vars.map(|var| tape.var(&store, var).unwrap());
    record(&mut tape, &store, target, values);
    tape.plan(&mut store, &[]).unwrap().replay(&mut store).unwrap();
    store.read(target).unwrap()
}

#[test]
fn half_a_million_normal_values_give_the_same_bits() {
    let Some((cpu, gpu)) = devices() else { return };
    // Where launches are divided, parts begin within samples.
    let divided = Device::wgpu(&Options { max_binding: Some(64 << 10), ..Options::default() }).unwrap();
    let ids = [0, 1, u32::MAX];
    let delta = Tensor::from_fn(&[3, 200_003], |_| 9.0_f32).unwrap();
    let start = |device: &Device| {
        updated(device, &delta, 0.0, &ids, [0xDEAD_BEEF, 0x0123_4567, u32::MAX, 0], |tape, store, delta, x| {
            let origin = Origin { images: x[0], ids: x[1], eps: x[2], state: x[3] };
            random_start(tape, store, delta, origin, Start::Normal(0.15), "start").unwrap();
        })
    };
    let expected = bits(&start(&cpu));
    for device in [&gpu, &divided] {
        let differing = expected.iter().zip(bits(&start(device))).filter(|&(&a, b)| a != b).count();
        assert_eq!(differing, 0, "of {}", expected.len());
    }
    // Below the edge of the box, which cuts off the half that points out of it.
    let tail = start(&gpu).to_f64().into_iter().fold(0.0, f64::max);
    assert!(tail > 0.15 * 4.0, "the tail is reached: {tail}");
}

#[test]
fn products_that_are_not_exact_are_rounded_before_they_are_added() {
    let Some((cpu, gpu)) = devices() else { return };
    let x = Tensor::from_fn(&[2, 37, 193], |_| 1.0_f32).unwrap();
    let inputs = [x, Tensor::new(&[4], &Philox::state(11, 3)).unwrap(), Tensor::new(&[2], &[7_u32, 1]).unwrap()];
    let laws = [Distribution::Uniform { half_width: 0.3 }, Distribution::Normal { std: 0.123 }];
    for law in laws {
        for sharing in [Sharing::Batch, Sharing::PerImage, Sharing::PerToken] {
            let build =
                |tape: &mut Tape, x: &[engine::Value]| stochastic_scale(tape, x[0], x[1], x[2], law, sharing, "scale");
            let scales = |device: &Device| evaluate(device, &build, &inputs, &[], None).unwrap().output;
            assert_eq!(bits(&scales(&cpu)), bits(&scales(&gpu)), "{law:?} {sharing:?}");
        }
    }
}

#[test]
fn as_many_patches_are_masked_whatever_the_keep_probability() {
    let Some((cpu, gpu)) = devices() else { return };
    // Near multiples of 1/P and at the ends, where rounding decides about a patch.
    let near = [0.1_f32, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0 / 49.0, 1.0 / 3.0, f32::EPSILON, 3.0e-7, 1.0, 0.0];
    let mut keeps: Vec<f32> = near.iter().flat_map(|&q| [q.next_down(), q, q.next_up()]).collect();
    keeps.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.5, 7.0]);
    for side in [1, 7, 10] {
        let delta = Tensor::from_fn(&[1, 2, side, side], |_| 1.0_f32).unwrap();
        for &keep in &keeps {
            let mask = |device: &Device| {
                updated(device, &delta, keep, &[0], Philox::state(5, 8), |tape, store, delta, x| {
                    patch_mask(tape, store, delta, x[2], x[3], 1, "mask").unwrap();
                })
            };
            assert_eq!(bits(&mask(&cpu)), bits(&mask(&gpu)), "{side} x {side} patches, keep {keep:e}");
        }
    }
}

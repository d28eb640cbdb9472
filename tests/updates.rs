//! What optimizers and attack steps promise beyond one step's arithmetic.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use engine::rng::Philox;
use engine::{Device, Result, Role, Store, Tape, Tensor, Value, Var};
use kernels::adamw::{AdamW, AdamWStep, adamw};
use kernels::advance::advance;
use kernels::common::attack::Step;
use kernels::common::decay::Decay;
use kernels::correct::correct;
use kernels::cross_entropy::cross_entropy_labels;
use kernels::global_norm::global_norm;
use kernels::l2_step::l2_step;
use kernels::linf_step::linf_step;
use kernels::margin::margin;
use kernels::patch_mask::patch_mask;
use kernels::random_start::{Origin, Start, random_start};
use kernels::sgd::{Sgd, SgdStep, sgd};
use proptest::prelude::*;

/// A store and a tape, and a shorthand for variables.
struct Bench {
    store: Store,
    tape: Tape,
}

impl Bench {
    fn new() -> Self {
        Self { store: Store::new(Device::cpu(Some(2)).unwrap()).unwrap(), tape: Tape::new() }
    }

    fn var(&mut self, tensor: &Tensor) -> Var {
        self.store.constant("var", Role::Data, tensor).unwrap()
    }

    fn floats(&mut self, values: &[f32]) -> Var {
        self.var(&Tensor::new(&[values.len()], values).unwrap())
    }

    fn value(&mut self, tensor: &Tensor) -> Value {
        let var = self.var(tensor);
        self.tape.var(&self.store, var).unwrap()
    }

    fn scalar(&mut self, value: f32) -> Value {
        self.value(&Tensor::new(&[1], &[value]).unwrap())
    }

    fn random_state(&mut self) -> (Var, Value) {
        let var = self.var(&Tensor::new(&[4], &Philox::state(9, 0)).unwrap());
        (var, self.tape.var(&self.store, var).unwrap())
    }

    fn replay(&mut self, times: usize) -> Result<()> {
        let plan = self.tape.plan_with(&mut self.store, &[], true)?;
        (0..times).try_for_each(|_| plan.replay(&mut self.store))
    }

    fn read(&self, var: Var) -> Vec<f32> {
        self.store.read(var).unwrap().values::<f32>().unwrap().to_vec()
    }
}

fn normal(dims: &[usize], name: &str) -> Tensor {
    engine::check::random::<f32>(dims, 1, name).unwrap()
}

fn images(dims: &[usize], name: &str) -> Tensor {
    let philox = Philox::new(2, 0, engine::rng::Stream::named(name));
    // Black and white pixels too: there the box is tight.
    Tensor::from_fn(dims, |i| (1.4 * philox.uniform(0, i) - 0.2).clamp(0.0, 1.0)).unwrap()
}

#[test]
fn a_gradient_that_is_not_finite_leaves_every_bit_of_the_optimizers_alone() {
    for poison in [f32::NAN, f32::INFINITY, 1e38] {
        let mut bench = Bench::new();
        let mut gradients = vec![0.5_f32; 50];
        gradients[17] = poison;
        gradients[18] = poison;
        let params = normal(&[50], "params");
        let states: Vec<Var> = (0..5).map(|_| bench.var(&params)).collect();
        let steps = bench.var(&Tensor::new(&[1], &[3_u32]).unwrap());
        let gradients = bench.value(&Tensor::new(&[50], &gradients).unwrap());
        let lr = bench.scalar(0.1);
        let clip = global_norm(&mut bench.tape, &[gradients], f64::INFINITY).unwrap();
        let options = Sgd { momentum: 0.9, nesterov: false, decay: Decay::uniform(1e-4) };
        let step = SgdStep { params: states[0], momentum: Some(states[1]), gradients, lr, clip };
        sgd(&mut bench.tape, &bench.store, options, step).unwrap();
        let step = AdamWStep {
            params: states[2],
            first_moment: states[3],
            second_moment: states[4],
            steps,
            gradients,
            lr,
            clip,
        };
        adamw(&mut bench.tape, &bench.store, AdamW::default(), step).unwrap();
        bench.replay(2).unwrap();
        let unchanged = states.iter().all(|&var| bench.store.read(var).unwrap() == params);
        let steps = bench.store.read(steps).unwrap().values::<u32>().unwrap()[0];
        // Squares of 1e38 overflow f32 but not f64, and the norm 1.4e38 fits f32: that step is taken.
        assert_eq!((unchanged, steps), if poison == 1e38 { (false, 5) } else { (true, 3) }, "{poison}");
    }
}

#[test]
fn clipping_scales_the_step_to_the_largest_norm() {
    let mut bench = Bench::new();
    let params = bench.floats(&[0.0; 4]);
    let gradients = bench.value(&Tensor::new(&[4], &[30.0_f32, 0.0, -40.0, 0.0]).unwrap());
    let lr = bench.scalar(1.0);
    let clip = global_norm(&mut bench.tape, &[gradients], 5.0).unwrap();
    let options = Sgd { momentum: 0.0, nesterov: false, decay: Decay::uniform(0.0) };
    let step = SgdStep { params, momentum: None, gradients, lr, clip };
    sgd(&mut bench.tape, &bench.store, options, step).unwrap();
    bench.replay(1).unwrap();
    let moved = bench.read(params);
    assert!((moved[0] + 3.0).abs() < 1e-5 && (moved[2] - 4.0).abs() < 1e-5 && moved[1] == 0.0, "{moved:?}");
}

#[test]
fn a_confident_sample_still_has_a_gradient() {
    let mut bench = Bench::new();
    let logits = bench.value(&Tensor::new(&[1, 2], &[30.0_f32, 0.0]).unwrap());
    let labels = bench.value(&Tensor::new(&[1], &[0_i32]).unwrap());
    let loss = cross_entropy_labels(&mut bench.tape, logits, labels, 0.0).unwrap();
    let gradient = bench.tape.gradients(loss, &[logits]).unwrap()[0];
    let plan = bench.tape.plan(&mut bench.store, &[gradient]).unwrap();
    plan.replay(&mut bench.store).unwrap();
    let gradient = plan.read(&bench.store, gradient).unwrap();
    let expected = (-30.0_f64).exp();
    for (&g, sign) in gradient.values::<f32>().unwrap().iter().zip([-1.0, 1.0]) {
        assert!((f64::from(g) - sign * expected).abs() < 1e-2 * expected, "{gradient:?} {g}");
    }
}

#[test]
fn a_label_that_names_no_class_is_refused() {
    for label in [-1, 3] {
        let mut bench = Bench::new();
        let logits = bench.value(&normal(&[2, 3], "logits"));
        let labels = bench.value(&Tensor::new(&[2], &[0_i32, label]).unwrap());
        let loss = margin(&mut bench.tape, logits, labels, None).unwrap();
        let plan = bench.tape.plan(&mut bench.store, &[loss]).unwrap();
        let error = plan.replay(&mut bench.store).unwrap_err().to_string();
        assert!(error.contains("names no class") && error.contains(&label.to_string()), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_positive_margin_is_a_wrong_prediction(b in 1_usize..9, k in 2_usize..12, seed in 0_u64..1000) {
        let mut bench = Bench::new();
        let logits = bench.value(&normal(&[b, k], &format!("logits {seed}")));
        let labels = Tensor::from_fn(&[b], |i| i32::try_from((i * 7 + 3) % k).unwrap()).unwrap();
        let labels = bench.value(&labels);
        let lead = margin(&mut bench.tape, logits, labels, None).unwrap();
        let right = correct(&mut bench.tape, logits, labels).unwrap();
        let plan = bench.tape.plan(&mut bench.store, &[lead, right]).unwrap();
        plan.replay(&mut bench.store).unwrap();
        let (lead, right) = (plan.read(&bench.store, lead).unwrap(), plan.read(&bench.store, right).unwrap());
        for (&lead, &right) in lead.values::<f32>().unwrap().iter().zip(right.values::<f32>().unwrap()) {
            prop_assert_eq!(lead < 0.0, right == 1.0);
        }
    }

    #[test]
    fn steps_never_leave_the_ball_or_the_box(eps in 0.0_f32..0.6, alpha in 0.0_f32..0.8, euclidean in any::<bool>()) {
        let mut bench = Bench::new();
        let dims = [3, 2, 9, 7];
        let pixels = images(&dims, "images");
        let delta = bench.var(&normal(&dims, "start"));
        let gradient = bench.value(&normal(&dims, "gradient"));
        let x = bench.value(&pixels);
        let (eps_value, alpha) = (bench.scalar(eps), bench.scalar(alpha));
        let step = Step { delta, gradient, images: x, eps: eps_value, alpha, active: None };
        if euclidean {
            l2_step(&mut bench.tape, &bench.store, step).unwrap();
        } else {
            linf_step(&mut bench.tape, &bench.store, step).unwrap();
        }
        bench.replay(3).unwrap();
        let delta = bench.read(delta);
        for (&d, &x) in delta.iter().zip(pixels.values::<f32>().unwrap()) {
            prop_assert!((0.0..=1.0).contains(&(x + d)), "{x} + {d}");
            prop_assert!(euclidean || d.abs() <= eps);
        }
        for sample in delta.chunks(126) {
            let norm = sample.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>().sqrt();
            prop_assert!(!euclidean || norm <= f64::from(eps) * (1.0 + 1e-6), "{norm} beyond {eps}");
        }
    }

    #[test]
    fn a_start_does_not_depend_on_the_batch(law in prop::sample::select(vec![Start::Uniform, Start::Normal(0.1), Start::L2])) {
        let dims = [4, 3, 5, 5];
        let (ids, pixels) = ([40_u32, 7, 1_000_000, 8], images(&dims, "images"));
        let start = |samples: &[usize]| {
            let mut bench = Bench::new();
            let dims = [samples.len(), 3, 5, 5];
            let pick = |sample: &usize| pixels.values::<f32>().unwrap()[75 * sample..75 * (sample + 1)].to_vec();
            let x: Vec<f32> = samples.iter().flat_map(pick).collect();
            let ids: Vec<u32> = samples.iter().map(|&sample| ids[sample]).collect();
            let x = bench.value(&Tensor::new(&dims, &x).unwrap());
            let ids = bench.value(&Tensor::new(&[ids.len()], &ids).unwrap());
            let (eps, (_, state)) = (bench.scalar(0.3), bench.random_state());
            let delta = bench.var(&normal(&dims, "before"));
            let origin = Origin { images: x, ids, eps, state };
            random_start(&mut bench.tape, &bench.store, delta, origin, law, "start").unwrap();
            bench.replay(1).unwrap();
            bench.read(delta)
        };
        let (whole, parts) = (start(&[0, 1, 2, 3]), [start(&[3, 0]), start(&[2, 1])]);
        for (part, at, sample) in [(0, 0, 3), (0, 1, 0), (1, 0, 2), (1, 1, 1)] {
            prop_assert_eq!(&parts[part][75 * at..75 * (at + 1)], &whole[75 * sample..75 * (sample + 1)]);
        }
    }
}

#[test]
fn masks_are_shared_exact_in_number_fresh_each_step_and_fair() {
    let (b, c, patches, side) = (2, 3, 16, 8);
    let dims = [b, c, side, side];
    let mut bench = Bench::new();
    let delta = bench.var(&Tensor::zeros(normal(&dims, "delta").spec()));
    let (keep, (state, words)) = (bench.scalar(0.7), bench.random_state());
    patch_mask(&mut bench.tape, &bench.store, delta, keep, words, 2, "mask").unwrap();
    advance(&mut bench.tape, &bench.store, &[state]).unwrap();
    let plan = bench.tape.plan(&mut bench.store, &[]).unwrap();
    let (draws, ones) = (1000, Tensor::from_fn(&dims, |_| 1.0_f32).unwrap());
    let mut counts = vec![0_u32; patches];
    for _ in 0..draws {
        bench.store.write(delta, &ones).unwrap();
        plan.replay(&mut bench.store).unwrap();
        let masked = bench.read(delta);
        let plane = &masked[..side * side];
        assert!(masked.chunks(side * side).all(|other| other == plane), "samples and channels share the mask");
        let mut zeroed = 0;
        for (patch, count) in counts.iter_mut().enumerate() {
            let (y, x) = (patch / 4 * 2, patch % 4 * 2);
            let inside = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| plane[(y + dy) * side + x + dx]);
            assert!(inside.iter().all(|&d| d == inside[0]), "a patch is masked whole");
            zeroed += usize::from(inside[0] == 0.0);
            *count += u32::from(inside[0] == 0.0);
        }
        assert_eq!(zeroed, 4, "floor(16 * .3)");
    }
    // Each patch is masked in a quarter of the draws: 250, standard deviation 13.7; five of them.
    assert!(counts.iter().all(|&count| (182..=318).contains(&count)), "{counts:?}");
}

//! What the random and gating ops promise, whatever their values: methods of 2112.15111 and 2210.07540.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use engine::check::{Outcome, evaluate};
use engine::rng::{Philox, STATE_WORDS};
use engine::{Device, Result, Tape, Tensor, Value};
use kernels::combine::combine;
use kernels::drop_path::drop_path;
use kernels::grad_gate::grad_gate;
use kernels::stochastic_linear::{Entries, Matrix, Mean, stochastic_linear};
use kernels::stochastic_scale::{Distribution, Sharing, stochastic_scale};
use proptest::prelude::*;

fn state(seed: u64, step: u32) -> Tensor {
    Tensor::new(&[STATE_WORDS], &Philox::state(seed, step)).unwrap()
}

fn ids(ids: &[u32]) -> Tensor {
    Tensor::new(&[ids.len()], ids).unwrap()
}

fn ones(dims: &[usize]) -> Tensor {
    Tensor::from_fn(dims, |_| 1.0_f32).unwrap()
}

/// Output, and gradient of the first input under `dy`.
fn run(build: &dyn Fn(&mut Tape, &[Value]) -> Result<Value>, inputs: &[Tensor], dy: Option<&Tensor>) -> Outcome {
    let wanted: &[usize] = if dy.is_some() { &[0] } else { &[] };
    evaluate(&Device::cpu(Some(2)).unwrap(), build, inputs, wanted, dy).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.values::<f32>().unwrap().to_vec()
}

/// The scales of `[ids, n, h]`: what ones become.
fn scales(law: Distribution, sharing: Sharing, seed: u64, step: u32, id: &[u32], [n, h]: [usize; 2]) -> Vec<f32> {
    let build = |tape: &mut Tape, v: &[Value]| stochastic_scale(tape, v[0], v[1], v[2], law, sharing, "blocks.0.scale");
    values(&run(&build, &[ones(&[id.len(), n, h]), state(seed, step), ids(id)], None).output)
}

/// (mean, standard deviation).
fn moments(values: &[f32]) -> (f64, f64) {
    let count = f64::from(u32::try_from(values.len()).unwrap());
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[test]
fn scales_have_mean_one_and_the_papers_deviations() {
    let uniform = |half_width| Distribution::Uniform { half_width };
    let variance = 0.25 / 3.0;
    // (name, law, standard deviation, kurtosis)
    let arms = [
        ("a01", uniform(0.1), 0.057_735, 1.8),
        ("a05", uniform(0.5), 0.288_675, 1.8),
        ("a10", uniform(1.0), 0.577_350, 1.8),
        ("n05", Distribution::Normal { std: 0.288_675 }, 0.288_675, 3.0),
        ("b05", Distribution::Bernoulli { variance }, 0.288_675, 11.1),
    ];
    for (name, law, expected, kurtosis) in arms {
        let (mean, std) = moments(&scales(law, Sharing::PerToken, 11, 0, &[0], [100, 1000]));
        // Five standard errors at 1e5 draws.
        assert!((mean - 1.0).abs() < 5.0 * expected / 1e5_f64.sqrt(), "{name}: mean {mean}");
        assert!((std / expected - 1.0).abs() < 5.0 * ((kurtosis - 1.0) / 4e5_f64).sqrt(), "{name}: std {std}");
    }
}

#[test]
fn a_bernoulli_scale_is_zero_or_one_over_q() {
    let q = 1.0_f32 / (1.0 + 1.0 / 3.0);
    let drawn = scales(Distribution::Bernoulli { variance: 1.0 / 3.0 }, Sharing::Batch, 3, 1, &[9], [1, 4000]);
    assert!(drawn.iter().all(|&s| s == 0.0 || s == 1.0 / q));
    let kept = drawn.iter().filter(|&&s| s > 0.0).count();
    assert!((2860..=3140).contains(&kept), "{kept} of 4000 kept at q = 0.75"); // five standard errors of 27
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sharing_says_which_values_have_one_scale(seed in any::<u64>(), n in 2_usize..6, h in 2_usize..80) {
        let id = [4, 9, 2];
        let drawn = |sharing, step| scales(Distribution::Uniform { half_width: 0.5 }, sharing, seed, step, &id, [n, h]);
        let token = |all: &[f32], image: usize, token: usize| all[(image * n + token) * h..][..h].to_vec();

        let batch = drawn(Sharing::Batch, 0);
        prop_assert!(batch.chunks(h).all(|row| row == &batch[..h]), "one scale for all tokens of all images");
        prop_assert!(batch != drawn(Sharing::Batch, 1), "another step draws another");

        let image = drawn(Sharing::PerImage, 0);
        for i in 0..id.len() {
            prop_assert!((0..n).all(|t| token(&image, i, t) == token(&image, i, 0)));
        }
        prop_assert!(token(&image, 0, 0) != token(&image, 1, 0));

        let each = drawn(Sharing::PerToken, 0);
        prop_assert!(token(&each, 0, 0) != token(&each, 0, 1) && token(&each, 0, 0) != token(&each, 1, 0));
    }

    #[test]
    fn draws_follow_the_sample_id_and_not_its_place(seed in any::<u64>(), step in 0_u32..1000) {
        let (order, other) = ([7_u32, 1, 30, 12], [12_u32, 30, 7, 1]);
        let place = |id: u32| other.iter().position(|&o| o == id).unwrap();
        let dropped = |id: &[u32]| {
            let build = |tape: &mut Tape, v: &[Value]| drop_path(tape, v[0], v[1], v[2], 0.5, "blocks.1.drop_path");
            values(&run(&build, &[ones(&[4, 3]), state(seed, step), ids(id)], None).output)
        };
        let law = Distribution::Normal { std: 0.3 };
        let matrix = Matrix { width: 3, entries: Entries::Normal, mean: Mean::Zero, sigma: 1.0, sharing: Sharing::PerImage };
        let multiplied = |id: &[u32]| {
            let build = |tape: &mut Tape, v: &[Value]| stochastic_linear(tape, v[0], v[1], v[2], matrix, "m");
            values(&run(&build, &[ones(&[4, 1, 3]), state(seed, step), ids(id)], None).output)
        };
        let pairs = [
            (dropped(&order), dropped(&other)),
            (scales(law, Sharing::PerImage, seed, step, &order, [1, 3]), scales(law, Sharing::PerImage, seed, step, &other, [1, 3])),
            (scales(law, Sharing::PerToken, seed, step, &order, [1, 3]), scales(law, Sharing::PerToken, seed, step, &other, [1, 3])),
            (multiplied(&order), multiplied(&other)),
        ];
        for (one, two) in pairs {
            for (at, &id) in order.iter().enumerate() {
                prop_assert_eq!(&one[at * 3..][..3], &two[place(id) * 3..][..3]);
            }
        }
    }
}

#[test]
fn drop_path_keeps_the_expected_share_and_its_gradient_has_the_same_mask() {
    let many: Vec<u32> = (0..4000).collect();
    let build = |tape: &mut Tape, v: &[Value]| drop_path(tape, v[0], v[1], v[2], 0.25, "blocks.1.drop_path");
    // A dropped sample stops even what is not finite, in both directions.
    let dy = Tensor::from_fn(&[4000], |i| if i % 2 == 0 { f32::NAN } else { 1.0 }).unwrap();
    let outcome = run(&build, &[ones(&[4000]), state(5, 2), ids(&many)], Some(&dy));
    let (y, dx) = (values(&outcome.output), values(&outcome.gradients[0]));
    let kept = y.iter().filter(|&&y| y != 0.0).count();
    assert!((2860..=3140).contains(&kept), "{kept} of 4000 kept at 0.75"); // five standard errors of 27
    for (at, (&y, &dx)) in y.iter().zip(&dx).enumerate() {
        match (y == 0.0, at % 2 == 0) {
            (true, _) => assert_eq!(dx, 0.0),
            (false, true) => assert!(dx.is_nan()),
            (false, false) => assert_eq!((y, dx), (1.0 / 0.75, 1.0 / 0.75)),
        }
    }
}

/// Gradient of one gate with the given keep probability.
fn gated(keep: f32, step: u32, dy: &Tensor) -> Vec<f32> {
    let build = |tape: &mut Tape, v: &[Value]| grad_gate(tape, v[0], v[1], v[2], "blocks.3.ard");
    let keep = Tensor::new(&[1], &[keep]).unwrap();
    let outcome = run(&build, &[ones(dy.dims()), state(1, step), keep], Some(dy));
    assert!(values(&outcome.output).iter().all(|&y| y == 1.0), "the identity forward");
    values(&outcome.gradients[0])
}

#[test]
fn a_closed_gate_gives_zero_whatever_comes() {
    let dy = Tensor::new(&[5], &[1.0_f32, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -2.0]).unwrap();
    for step in 0..20 {
        // Positive zero: the sign step of an attack must see nothing.
        assert!(gated(-1.0, step, &dy).iter().all(|dx| dx.to_bits() == 0));
        let open = gated(1.0, step, &dy);
        assert!(open[0] == 1.0 && open[1].is_nan() && open[2] == f32::INFINITY && open[4] == -2.0);
    }
}

#[test]
fn a_gate_opens_with_its_probability_for_the_whole_batch_at_once() {
    let dy = ones(&[3, 2]);
    let mut open = 0;
    for step in 0..400 {
        let dx = gated(0.3, step, &dy);
        assert!(dx.iter().all(|&d| d == dx[0]), "one draw for the batch");
        open += u32::from(dx[0] == 1.0);
    }
    assert!((74..=166).contains(&open), "{open} of 400 open at 0.3"); // five standard errors of 9.2
}

#[test]
fn a_closed_gate_adds_nothing_to_other_contributions() {
    // y = MAX * MAX * gate(x) + x at x = 0: the gradient that reaches the gate is infinite, that of the skip path is 1.
    let build = |tape: &mut Tape, v: &[Value]| {
        let branch = grad_gate(tape, v[0], v[1], v[2], "blocks.3.ard")?;
        let large = combine(tape, &[(f32::MAX, branch)])?;
        combine(tape, &[(f32::MAX, large), (1.0, v[0])])
    };
    let keep = Tensor::new(&[1], &[-1.0_f32]).unwrap();
    let x = Tensor::from_fn(&[4], |_| 0.0_f32).unwrap();
    let outcome = run(&build, &[x, state(1, 0), keep], Some(&ones(&[4])));
    assert_eq!(values(&outcome.gradients[0]), [1.0; 4]);
}

#[test]
fn a_random_matrix_has_the_stated_mean_and_deviation() {
    let (k, sigma) = (200, 0.5_f32);
    let identity = Tensor::from_fn(&[1, k, k], |i| if i / k == i % k { 1.0_f32 } else { 0.0 }).unwrap();
    for entries in [Entries::Uniform, Entries::Normal, Entries::Sign] {
        let matrix = Matrix { width: k, entries, mean: Mean::Identity, sigma, sharing: Sharing::Batch };
        let build = |tape: &mut Tape, v: &[Value]| stochastic_linear(tape, v[0], v[1], v[2], matrix, "m");
        let mut w = values(&run(&build, &[identity.clone(), state(8, 3), ids(&[0])], None).output);
        (0..k).for_each(|i| w[i * k + i] -= 1.0);
        let (mean, std) = moments(&w);
        let expected = f64::from(sigma) / 200.0_f64.sqrt();
        // Standard errors at 4e4 draws: 1/200 of the mean's unit, at most 1/283 of the deviation: five of them.
        assert!(mean.abs() < expected / 40.0 && (std / expected - 1.0).abs() < 0.018, "{entries:?}: {mean} {std}");
    }
}

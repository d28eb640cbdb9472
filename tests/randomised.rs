//! What the evaluation of randomised models promises (definition B.9), whatever the weights.

mod support;

use std::sync::Arc;

use engine::{Device, Result};
use models::{Distribution, Sharing, Stochastic, StochasticLayer, VitConfig};
use support::vit::{config, images, lively};
use train::attack::{AttackConfig, EotLoss};
use train::data::Dataset;
use train::eps::Eps;
use train::eval::accuracy::Evaluator;
use train::eval::randomised::{Randomised, RandomisedConfig, RandomisedReport};

const COUNT: usize = 9;

fn deterministic() -> VitConfig {
    config(24, 2, 2)
}

fn noisy(sharing: Sharing) -> VitConfig {
    let layer =
        Stochastic { layer: StochasticLayer::Scale, distribution: Distribution::Bernoulli { variance: 1.0 }, sharing };
    VitConfig { stochastic: Some(layer), ..deterministic() }
}

/// Images whose labels are what the mean network says, but for one.
fn data() -> Result<Arc<Dataset>> {
    let model = deterministic();
    let pixels = images(COUNT, &model, 3)?;
    #[expect(clippy::cast_possible_truncation, reason = "pixels lie in 0..=255")]
    let bytes: Vec<u8> = pixels.values::<f32>()?.iter().map(|&x| (255.0 * x).round() as u8).collect();
    let clean: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let mut judge = Evaluator::new(&Device::cpu(Some(1))?, &model, &lively(&model, 1)?, COUNT, 0, 0)?;
    let ids: Vec<u32> = (0..COUNT).map(|id| u32::try_from(id).unwrap_or(0)).collect();
    let (logits, _) = judge.predict(&clean, &ids)?;
    let class = |row: &[f32]| (0..5).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
    let mut labels: Vec<i32> =
        logits.values::<f32>()?.chunks(5).map(|row| i32::try_from(class(row)).unwrap_or(0)).collect();
    labels[0] = (labels[0] + 1) % 5;
    let classes = (0..5).map(|class| class.to_string()).collect();
    Ok(Arc::new(Dataset::new("random", [3, 16, 16], bytes, labels, classes)?))
}

fn protocol() -> RandomisedConfig {
    let attack = AttackConfig::pgd(Eps::fraction(4, 255), Eps::fraction(1, 255), 5);
    RandomisedConfig { eot: vec![1, 6], draws: 15, votes: vec![1, 7, 15], ..RandomisedConfig::new(attack) }
}

fn evaluate(model: &VitConfig, config: &RandomisedConfig, batch: usize, threads: usize) -> Result<RandomisedReport> {
    let device = Device::cpu(Some(threads))?;
    Randomised::new(&device, model, &lively(model, 1)?, batch, 5)?.evaluate(&data()?, config, &mut |_, _| ())
}

#[test]
fn a_deterministic_model_has_one_accuracy_by_any_count() {
    let (model, protocol) = (deterministic(), protocol());
    let report = evaluate(&model, &protocol, 4, 2).unwrap();
    assert_eq!((report.samples, report.shared.as_deref()), (COUNT, None));
    let eight_ninths = 8.0 / 9.0;
    assert!((report.clean.single - eight_ninths).abs() < 1e-12, "{:?}", report.clean);
    let all = [&report.clean].into_iter().chain(report.attacks.iter().map(|attack| &attack.judgement));
    for found in all {
        assert_eq!((found.worst_draw, found.best_draw), (found.single, found.single));
        assert!(found.votes.iter().all(|vote| vote.accuracy == found.single), "{found:?}");
    }
    // The attack is the evaluator's, and so is its result.
    let mut judge =
        Evaluator::new(&Device::cpu(Some(1)).unwrap(), &model, &lively(&model, 1).unwrap(), 4, 0, 5).unwrap();
    for attack in &report.attacks {
        let expected = judge.attacked(&data().unwrap(), &attack.config, &mut |_| Ok(())).unwrap();
        assert!((attack.judgement.single - expected.accuracy).abs() < 1e-12, "{}: {expected:?}", attack.name);
        assert!(expected.accuracy < eight_ninths, "{} does something", attack.name);
    }
    assert_eq!(report.fixed.accuracy, report.fixed.twin);
    assert!(report.fixed.passes && report.warnings.is_empty(), "{:?}", report.warnings);
    assert!(report.worst_case <= report.strongest_single);
}

#[test]
fn a_randomised_model_is_judged_by_draws_in_any_batching() {
    for sharing in [Sharing::Batch, Sharing::PerImage] {
        let model = noisy(sharing);
        let report = evaluate(&model, &protocol(), COUNT, 2).unwrap();
        for (batch, threads) in [(1, 1), (4, 2)] {
            assert_eq!(report, evaluate(&model, &protocol(), batch, threads).unwrap(), "{sharing:?} by {batch}");
        }
        let all = [&report.clean].into_iter().chain(report.attacks.iter().map(|attack| &attack.judgement));
        for found in all {
            assert!(found.worst_draw < found.single && found.single < found.best_draw, "{found:?}");
            assert!(found.pooled.low < found.single && found.single < found.pooled.high, "{found:?}");
            assert!(found.over_samples.low <= found.single && found.single <= found.over_samples.high, "{found:?}");
            // The vote of one is the first draw.
            assert!((found.worst_draw..=found.best_draw).contains(&found.votes[0].accuracy), "{found:?}");
        }
        let attacked = |kind: &str| {
            let found = report.attacks.iter().find(|attack| attack.kind == kind);
            found.map(|attack| attack.judgement.single).unwrap()
        };
        assert!(attacked("eot6") < report.clean.single && attacked("twin") < report.clean.single, "{report:?}");
        assert!(report.worst_case <= report.strongest_single && report.strongest_single <= attacked("twin"));
        let warned = report.warnings.iter().any(|warning| warning.problem.contains("NOT robustness"));
        assert!(warned, "{:?}", report.warnings);
    }
}

#[test]
fn an_attack_on_a_fixed_draw_beats_that_draw() {
    let model = noisy(Sharing::PerImage);
    let tensors = lively(&model, 1).unwrap();
    let mut judge = Randomised::new(&Device::cpu(Some(2)).unwrap(), &model, &tensors, 4, 5).unwrap();
    let strong = AttackConfig::pgd(Eps::fraction(16, 255), Eps::fraction(2, 255), 20);
    let fixed = judge.fixed_noise(&data().unwrap(), &strong, 3).unwrap();
    assert!(fixed.clean > 0.3, "{fixed:?}");
    assert!(fixed.passes && fixed.accuracy <= 1.0 / 9.0, "{fixed:?}");
}

const SEEDS: [u64; 4] = [0, 1, 2, 3];

/// An attack so weak that it matters which draw it knows.
fn weak() -> AttackConfig {
    AttackConfig { fixed_draw: Some(0), ..AttackConfig::pgd(Eps::fraction(1, 255), Eps::fraction(1, 1020), 20) }
}

#[test]
fn an_attack_knows_the_draw_that_it_was_fixed_to_and_no_other() {
    let model = noisy(Sharing::PerImage);
    let (data, tensors) = (data().unwrap(), lively(&model, 1).unwrap());
    let accuracy = |config: &AttackConfig| -> f64 {
        let of = |seed| {
            // One draw of the evaluator is the draw of number 0.
            let mut judge = Evaluator::new(&Device::cpu(Some(2)).unwrap(), &model, &tensors, COUNT, 1, seed).unwrap();
            judge
                .attacked(&data, &AttackConfig { stochastic: true, ..config.clone() }, &mut |_| Ok(()))
                .unwrap()
                .accuracy
        };
        SEEDS.into_iter().map(of).sum()
    };
    let known = accuracy(&weak());
    for other in [Some(1), Some(2), None] {
        let unknown = accuracy(&AttackConfig { fixed_draw: other, ..weak() });
        assert!(known < unknown, "draw 0: {known} when known, {unknown} by an attack on {other:?}");
    }
}

#[test]
fn fresh_draws_are_none_that_an_attack_has_seen() {
    let model = noisy(Sharing::PerImage);
    let (data, tensors) = (data().unwrap(), lively(&model, 1).unwrap());
    let config = RandomisedConfig { attack: weak(), eot: vec![1], draws: 1, votes: vec![1], ..protocol() };
    let (mut known, mut fresh) = (0.0, 0.0);
    for seed in SEEDS {
        let mut judge = Randomised::new(&Device::cpu(Some(2)).unwrap(), &model, &tensors, COUNT, seed).unwrap();
        let report = judge.evaluate(&data, &config, &mut |_, _| ()).unwrap();
        known += report.fixed.accuracy;
        fresh += report.attacks[0].judgement.single;
    }
    assert!(known < fresh, "{known} {fresh}");
}

#[test]
fn acceptance_and_averaged_probabilities_are_attacks() {
    let model = noisy(Sharing::PerImage);
    let clean = evaluate(&model, &protocol(), COUNT, 2).unwrap().clean.single;
    for changed in [
        AttackConfig { accept: 8, ..protocol().attack },
        AttackConfig { eot_loss: EotLoss::MeanProbability, ..protocol().attack },
    ] {
        let protocol = RandomisedConfig { attack: changed, eot: vec![6], ..protocol() };
        let report = evaluate(&model, &protocol, COUNT, 2).unwrap();
        assert!(report.attacks[0].judgement.single < clean, "{:?}", report.attacks[0]);
    }
}

#[test]
fn what_makes_no_evaluation_is_refused() {
    for bad in [
        RandomisedConfig { draws: 0, votes: Vec::new(), ..protocol() },
        RandomisedConfig { votes: vec![16], ..protocol() },
        RandomisedConfig { votes: vec![0], ..protocol() },
        RandomisedConfig { eot: vec![0], ..protocol() },
        RandomisedConfig { confidence: 1.0, ..protocol() },
    ] {
        assert!(evaluate(&deterministic(), &bad, COUNT, 1).is_err(), "{bad:?}");
    }
}
